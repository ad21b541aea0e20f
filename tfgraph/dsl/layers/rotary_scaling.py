"""How rotary positions are stretched beyond the lengths that a model was trained with: one class a rule.

A rule changes the frequencies of the rotation, which `rotary.py` uses; which rule a checkpoint asks for is read in
`tfgraph.models.rotary_settings`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from tfgraph.errors import ConfigError
from tfgraph.ir.constant import Array


def rotary_frequencies(rotary_dim: int, base: float) -> Array:
    """By how much pair i turns from one position to the next, `1 / base^(2i / rotary_dim)`: float64 [rotary_dim / 2].

    Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, section 3.2.2.
    """
    exponents = np.arange(0, rotary_dim, 2, dtype=np.float64) / rotary_dim
    frequencies: Array = 1.0 / base**exponents
    return frequencies


@dataclass(frozen=True)
class RotaryScaling:
    """A rule that changes the frequencies of rotary positions; this one leaves them.

    Raises:
        ConfigError: a number that is not above 0.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type != "bool" and not (isinstance(value, int | float) and 0 < value < math.inf):
                raise ConfigError(f"{field.name} of {type(self).__name__} is {value!r}: expected a number above 0")

    def frequencies(self, rotary_dim: int, base: float) -> Array:
        """The frequencies of all pairs: float64 [rotary_dim / 2]; see `rotary_frequencies`."""
        return rotary_frequencies(rotary_dim, base)

    @property
    def magnitude(self) -> float:
        """What queries and keys are multiplied by when they are turned."""
        return 1.0


@dataclass(frozen=True)
class LinearScaling(RotaryScaling):
    """Positions divided by `factor`.

    Source: Chen et al., "Extending Context Window of Large Language Models via Positional Interpolation", 2023,
    section 2.3.
    """

    factor: float

    def frequencies(self, rotary_dim: int, base: float) -> Array:
        """Each frequency divided by the factor."""
        divided: Array = rotary_frequencies(rotary_dim, base) / self.factor
        return divided


@dataclass(frozen=True)
class Llama3Scaling(RotaryScaling):
    """Slow pairs are slowed further, fast ones left alone (LLaMA 3.1).

    Pairs that turn less than `low_freq_factor` times over the original length are divided by `factor`, those that turn
    more than `high_freq_factor` times are left, and between the two the rule interpolates.

    Source: Llama Team, "The Llama 3 Herd of Models", 2024, and its reference code, function `apply_scaling`.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_positions: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.high_freq_factor <= self.low_freq_factor:
            raise ConfigError(
                f"high_freq_factor is {self.high_freq_factor}, and low_freq_factor {self.low_freq_factor}: expected "
                "the first to be above the second"
            )

    def frequencies(self, rotary_dim: int, base: float) -> Array:
        """The mixture of each frequency with itself divided by the factor."""
        whole = rotary_frequencies(rotary_dim, base)
        turns = self.original_max_positions * whole / (2 * math.pi)  # over the original length
        kept = np.clip((turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor), 0, 1)
        mixed: Array = (1 - kept) * whole / self.factor + kept * whole
        return mixed


@dataclass(frozen=True)
class YarnScaling(RotaryScaling):
    """YaRN: as `Llama3Scaling`, interpolating over the number of the pair, and with larger queries and keys.

    Pairs that turn more than `beta_fast` times over the original length are left, those that turn less than
    `beta_slow` times are divided by `factor`. With `truncate`, the pairs where that begins and ends are rounded
    outwards.

    Source: Peng et al., "YaRN: Efficient Context Window Extension of Large Language Models", 2023, sections 3.2 to 3.4.
    """

    factor: float
    original_max_positions: int
    attention_factor: float
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True

    def frequencies(self, rotary_dim: int, base: float) -> Array:
        """The mixture of each frequency with itself divided by the factor."""
        first, last = (self._pair_that_turns(times, rotary_dim, base) for times in (self.beta_fast, self.beta_slow))
        if self.truncate:
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, rotary_dim - 1)
        if first == last:
            last += 0.001
        divided = np.clip((np.arange(rotary_dim // 2) - first) / (last - first), 0, 1)
        whole = rotary_frequencies(rotary_dim, base)
        mixed: Array = divided * whole / self.factor + (1 - divided) * whole
        return mixed

    @property
    def magnitude(self) -> float:
        """`attention_factor`: both queries and keys grow, so that scores do by its square."""
        return self.attention_factor

    def _pair_that_turns(self, times: float, rotary_dim: int, base: float) -> float:
        """The number of the pair, a fraction, that turns so many times over the original length."""
        return rotary_dim * math.log(self.original_max_positions / (times * 2 * math.pi)) / (2 * math.log(base))
