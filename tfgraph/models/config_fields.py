"""Reading a configuration's fields out of the object in a `config.json`, with exact errors.

What the fields mean is said by the dataclass they are read into, such as `EncoderConfig`; how the file is read, in
`tfgraph.checkpoints`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import NoneType
from typing import Any, get_args, get_type_hints

from tfgraph.errors import ConfigError

_KINDS = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}
DEFAULT_NUM_LABELS = 2  # transformers' own, for a classifier whose configuration says nothing


def read_fields(
    cls: type, given: Mapping[str, Any], source: str, aliases: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The arguments for the dataclass `cls` that a configuration gives: its fields of type int, float, bool and str.

    A field that is absent or null is left to its default; keys that are no fields are left alone, and so are those of
    fields that the class fixes (`init=False`). `source` is what to call the configuration in an error. `aliases` maps
    other names that the configuration may have to those of fields.

    Raises:
        ConfigError: fields without a default that are absent, or values of a wrong type: one error that lists them all.
    """
    problems, values = [], {}
    kinds = get_type_hints(cls)
    spelling = {ours: theirs for theirs, ours in (aliases or {}).items() if theirs in given}
    for field in fields(cls):
        kind = _without_none(kinds[field.name])
        if kind not in _KINDS or not field.init:
            continue
        name = spelling.get(field.name, field.name)
        value = given.get(name)
        if value is None:
            if field.default is MISSING:
                found = "null" if name in given else "missing"
                problems.append(f"'{name}' is {found}: expected {_KINDS[kind]}")
        elif not _is_a(value, kind):
            problems.append(f"'{name}' is {value!r}: expected {_KINDS[kind]}")
        else:
            values[field.name] = kind(value)
    if problems:
        raise ConfigError(f"{source}: {'; '.join(problems)}")
    return values


def read_nullable(given: Mapping[str, Any], source: str, name: str, kind: type, default: Any) -> Any:
    """A setting for which null means something, namely None; where it is absent, it is `default`.

    Raises:
        ConfigError: the value is neither of `kind` (int, float, bool or str) nor null.
    """
    value = given.get(name, default)
    if value is not None and not _is_a(value, kind):
        raise ConfigError(f"{source}: '{name}' is {value!r}: expected {_KINDS[kind]} or null")
    return value


def _without_none(kind: Any) -> Any:
    """`int` for `int | None`; any other type as it is."""
    kinds = [each for each in get_args(kind) if each is not NoneType]
    return kinds[0] if len(kinds) == 1 and NoneType in get_args(kind) else kind


def _is_a(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind


def read_labels(given: Mapping[str, Any], source: str) -> tuple[str, ...]:
    """The names of a classifier's labels, in the order of its logits.

    They are in `id2label`; without it there are `num_labels` (2 if that is absent too), named `LABEL_0`, `LABEL_1`, …

    Raises:
        ConfigError: `id2label` does not map 0, 1, …, n - 1 to texts, or `num_labels` is not a positive integer.
    """
    labels = given.get("id2label")
    if labels is None:
        count = given.get("num_labels", DEFAULT_NUM_LABELS)
        if type(count) is not int or count < 1:
            raise ConfigError(f"{source}: 'num_labels' is {count!r}: expected a positive integer")
        return tuple(f"LABEL_{number}" for number in range(count))
    by_number = {str(number): label for number, label in labels.items()} if isinstance(labels, dict) else {}
    ordered = [by_number.get(str(number)) for number in range(len(by_number))]
    names = [label for label in ordered if isinstance(label, str)]
    if not names or len(names) != len(ordered):
        found = reprlib.repr(labels)
        raise ConfigError(
            f"{source}: 'id2label' is {found}: expected an object that maps 0, 1, … to the names of the labels"
        )
    return tuple(names)


def require_settings(given: Mapping[str, Any], source: str, built: Mapping[str, object]) -> None:
    """Refuse settings that would change the model in a way that is not built: each of `built` may have its value alone.

    A setting that is absent or null is let through.

    Raises:
        ConfigError: naming the setting, what was given, and what is built.
    """
    for name, only in built.items():
        value = given.get(name)
        if value is not None and value != only:
            raise ConfigError(f"{source}: '{name}' is {value!r}: only {only!r} is built here")
