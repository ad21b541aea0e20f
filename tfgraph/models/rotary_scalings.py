"""Which rule of `tfgraph.dsl.layers.rotary_scaling` a configuration asks for, for rotary positions beyond its lengths.

Where in a configuration the settings are is in `rotary_settings.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tfgraph.dsl.layers.rotary_scaling import LinearScaling, Llama3Scaling, RotaryScaling, YarnScaling
from tfgraph.errors import ConfigError
from tfgraph.models.rotary_settings import DEFAULT, RotarySettings

SCALINGS = (DEFAULT, "linear", "llama3", "yarn")
"""The kinds of scaling that are read here. `dynamic` is none: its frequencies depend on the length of the text."""


def read_scaling(rotary: RotarySettings, given: Mapping[str, Any], source: str) -> RotaryScaling | None:
    """The rule that a configuration's rotary settings, of a kind among `SCALINGS`, ask for; None for none.

    The length that a model was trained with first is `original_max_position_embeddings`, or else that of the
    configuration.

    Raises:
        ConfigError: a setting of the rule is missing, of a wrong type or out of its range.
    """
    if rotary.kind == DEFAULT:
        return None
    numbers = _Numbers(rotary)
    try:
        if rotary.kind == "linear":
            return LinearScaling(numbers.read("factor"))
        name = "original_max_position_embeddings"
        outside = next((given[key] for key in (name, "max_position_embeddings") if given.get(key) is not None), None)
        original = numbers.read(name, outside)
        if rotary.kind == "llama3":
            low, high = numbers.read("low_freq_factor"), numbers.read("high_freq_factor")
            return Llama3Scaling(numbers.read("factor"), low, high, int(original))
        return _read_yarn(numbers, original, given)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


class _Numbers:
    """The numbers among a rule's settings."""

    def __init__(self, rotary: RotarySettings) -> None:
        self.settings, self.kind = rotary.scaling, rotary.kind

    def read(self, name: str, default: object = None) -> float:
        """The setting `name`, or `default` where it is absent or null."""
        value = self.settings.get(name)
        return self.check(name, default if value is None else value)

    def check(self, name: str, value: object) -> float:
        """`value`, if it is a number."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            found = "missing" if value is None else repr(value)
            raise ConfigError(f"'{name}' is {found}: rotary positions scaled by {self.kind!r} need a number")
        return value

    def find(self, name: str) -> float | None:
        """The setting `name`, if there is one."""
        return None if self.settings.get(name) is None else self.read(name)


def _read_yarn(numbers: _Numbers, original: float, given: Mapping[str, Any]) -> YarnScaling:
    """YaRN's settings. Without `attention_factor` it is `0.1 ln(factor) + 1`, the paper's equation 22.

    Where both `mscale` and `mscale_all_dim` are given (DeepSeek), it is the ratio of that sum with either as the
    weight of the logarithm.
    """
    longest = numbers.check("max_position_embeddings", given.get("max_position_embeddings"))
    factor = numbers.read("factor", longest / original)

    def magnitude(weight: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

    attention_factor = numbers.find("attention_factor")
    if attention_factor is None:
        one, all_dim = numbers.find("mscale"), numbers.find("mscale_all_dim")
        attention_factor = magnitude(one) / magnitude(all_dim) if one and all_dim else magnitude(1.0)
    truncate = numbers.settings.get("truncate", True)
    if not isinstance(truncate, bool):
        raise ConfigError(f"'truncate' of the rotary positions is {truncate!r}: expected true or false")
    return YarnScaling(
        factor,
        int(original),
        attention_factor,
        beta_fast=numbers.find("beta_fast") or 32.0,
        beta_slow=numbers.find("beta_slow") or 1.0,
        truncate=truncate,
    )
