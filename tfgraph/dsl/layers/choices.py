"""Checks of settings when a model is declared: names to choose from, sizes, numbers that must divide others."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

from tfgraph.errors import ConfigError

T = TypeVar("T")


def choose(what: str, name: str, known: Mapping[str, T]) -> T:
    """The entry of `known` called `name`.

    Raises:
        ConfigError: there is none; the message suggests the nearest name and lists all.
    """
    if name in known:
        return known[name]
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}? It" if near else "it"
    raise ConfigError(f"unknown {what} {name!r}: {hint} can be {', '.join(repr(choice) for choice in known)}")


def require_positive(**settings: int | None) -> None:
    """Refuse settings that are not whole numbers of at least 1; None is let through.

    Raises:
        ConfigError: naming the setting and what was given.
    """
    for name, value in settings.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ConfigError(f"{name} is {value!r}: expected a whole number of at least 1")


def require_divides(part: str, count: int, whole: str, size: int, advice: str = "") -> None:
    """Refuse `count` parts of something of `size` that they do not divide.

    Raises:
        ConfigError: naming both, and what would divide.
    """
    if size % count:
        fitting = ", ".join(str(divisor) for divisor in range(1, size + 1) if size % divisor == 0)
        raise ConfigError(f"{part}={count} does not divide {whole}={size}: expected one of {fitting}{advice}")
