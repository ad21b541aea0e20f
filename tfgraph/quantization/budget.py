"""`Budget`: the error that a user accepts, and reading it from a text such as "cosine>=0.999".

What the numbers mean is in `metrics.py`; what stays within a budget is found in `search.py`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from tfgraph.errors import ConfigError

MetricName: TypeAlias = Literal["cosine", "top1", "kl", "relative", "perplexity"]

AT_LEAST: Final = ("cosine", "top1")
"""Metrics of which more is better; of the others less is."""

_RANGES: Final[dict[str, tuple[float, float]]] = {
    "cosine": (-1.0, 1.0),
    "top1": (0.0, 1.0),
    "kl": (0.0, math.inf),
    "relative": (0.0, math.inf),
    "perplexity": (1.0, math.inf),
}
_EXAMPLES: Final = '"cosine>=0.999", "top1>=0.97", "kl<=0.01", "relative<=0.01" or "perplexity<=1.01"'
_FORM: Final = re.compile(r"\s*([a-z0-9]+)\s*(>=|<=)\s*([-+0-9.eE]+)\s*")


@dataclass(frozen=True)
class Budget:
    """A bound on a metric: `cosine >= 0.999`.

    Attributes:
        metric: one of cosine (the smallest cosine of two vectors), top1 (the share of tokens whose likeliest successor
            stays the same), kl (the mean divergence of the distributions, in nats), relative (the largest error of an
            output, relative to its norm) and perplexity (relative to that of the model before).
        bound: the least that is accepted of cosine and top1, the most of the others.

    Raises:
        ConfigError: an unknown metric, or a bound that the metric cannot take.
    """

    metric: MetricName
    bound: float

    def __post_init__(self) -> None:
        if self.metric not in _RANGES:
            raise ConfigError(f"no error budget for {self.metric!r}: expected one such as {_EXAMPLES}")
        low, high = _RANGES[self.metric]
        if not low <= self.bound <= high or math.isinf(self.bound):
            upper = "up" if math.isinf(high) else f"to {high:g}"
            raise ConfigError(f"the budget {self} cannot be: expected a bound from {low:g} {upper}")

    @classmethod
    def parse(cls, text: str | Budget) -> Budget:
        """The budget that `text` states: a metric, `>=` or `<=`, and a number.

        Raises:
            ConfigError: it does not read so, or bounds the metric from the wrong side.
        """
        if isinstance(text, Budget):
            return text
        found = _FORM.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ConfigError(f"the budget {text!r} was not understood: expected one such as {_EXAMPLES}")
        metric, sign, number = found.groups()
        try:
            budget = cls(metric, float(number))  # type: ignore[arg-type]  # checked by the class
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"the budget {text!r} has no number as its bound: expected {_EXAMPLES}") from None
        if sign != budget.sign:
            better = "more" if metric in AT_LEAST else "less"
            raise ConfigError(
                f"the budget {text!r} bounds the wrong side: of {metric} {better} is better; use {budget}"
            )
        return budget

    @property
    def sign(self) -> str:
        """`>=` or `<=`."""
        return ">=" if self.metric in AT_LEAST else "<="

    def met_by(self, value: float) -> bool:
        """Whether a measured value is within the budget; NaN never is."""
        return value >= self.bound if self.metric in AT_LEAST else value <= self.bound

    def __str__(self) -> str:
        return f"{self.metric}{self.sign}{self.bound:g}"


def noise(metric: str, value: float) -> float:
    """What grows in proportion to the squared error of the products, which adds up over layers."""
    found = distance(metric, value)
    return found * found if metric in ("top1", "relative") else found


def distance(metric: str, value: float) -> float:
    """How far a value is from that of an unchanged model: 0 for no error, infinite for NaN."""
    if math.isnan(value):
        return math.inf
    if metric in AT_LEAST:
        return 1.0 - value
    return value - 1.0 if metric == "perplexity" else value
