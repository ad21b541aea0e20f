"""`Quantization`: what was chosen and what was measured, for reports and manifests.

The same model, calibration and settings give the same outcome: nothing in it depends on time or chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tfgraph.passes.quantise.plan import Plan
from tfgraph.quantization.schemes import FLOAT

ROUNDED: Final = "HQQ; 8 bits rounded to nearest"
CALIBRATED: Final = "GPTQ; blocks of 8 bits rounded to nearest"


@dataclass(frozen=True)
class TrialRow:
    """A line of the trade-off: how many sites had which scheme, what was measured, and what the weights took."""

    schemes: Mapping[str, int]
    value: float
    within: bool
    megabytes: float

    def as_dict(self) -> dict[str, Any]:
        """The line as plain data, for JSON."""
        rounded = {"value": _rounded({"": self.value})[""], "megabytes": round(self.megabytes, 3)}
        return {"schemes": dict(sorted(self.schemes.items())), "within": self.within, **rounded}


@dataclass(frozen=True)
class Quantization:
    """How a model was quantised.

    Attributes:
        precision: the profile that was asked for.
        schemes: the name of the scheme of each site; `fp32` for those left alone.
        plan: what is done to the graph for it, by site.
        smoothing: the exponents of sites whose activations are smoothed.
        budget: the error budget; "" for none.
        metric: which metric `trials` and the budget are about; "" where nothing was measured.
        measured: metrics on the calibration inputs.
        held_out: metrics on inputs that the search did not see.
        num_cases, num_held_out: how many runs those are.
        overrides: the user's own schemes, by pattern.
        trials: what was measured on the way.
        megabytes: of the weights of the sites, quantised.
        float_megabytes: of the same weights in float32.
        method: how integers were chosen.
    """

    precision: str
    schemes: Mapping[str, str]
    plan: Plan = field(default_factory=dict, repr=False)
    smoothing: Mapping[str, float] = field(default_factory=dict)
    budget: str = ""
    metric: str = ""
    measured: Mapping[str, float] = field(default_factory=dict)
    held_out: Mapping[str, float] = field(default_factory=dict)
    num_cases: int = 0
    num_held_out: int = 0
    overrides: Mapping[str, str] = field(default_factory=dict)
    trials: tuple[TrialRow, ...] = field(default=(), repr=False)
    megabytes: float = 0.0
    float_megabytes: float = 0.0
    method: str = ROUNDED

    @property
    def counts(self) -> Counter[str]:
        """How many sites have each scheme."""
        return Counter(self.schemes.values())

    @property
    def kept(self) -> tuple[str, ...]:
        """The sites that stay in floating point."""
        return tuple(name for name, scheme in self.schemes.items() if scheme == FLOAT)

    def as_dict(self) -> dict[str, Any]:
        """What a manifest records: enough to see what was done, and to ask for it again with `sites=`."""
        return {
            "precision": self.precision,
            "sites": dict(self.schemes),
            "smoothing": {name: round(value, 3) for name, value in self.smoothing.items()},
            "method": self.method,
            "budget": self.budget,
            "measured": _rounded(self.measured),
            "held_out": _rounded(self.held_out),
            "cases": {"calibration": self.num_cases, "held_out": self.num_held_out},
            "overrides": dict(self.overrides),
            "tried": [trial.as_dict() for trial in self.trials],
            "megabytes": round(self.megabytes, 3),
            "float_megabytes": round(self.float_megabytes, 3),
        }

    def __str__(self) -> str:
        counts = ", ".join(f"{count} x {name}" for name, count in sorted(self.counts.items()))
        sizes = f"{self.float_megabytes:.1f} MB of weights became {self.megabytes:.1f}"
        if not self.held_out:
            return f"{self.precision}: {counts}; {sizes}; the error was not measured, since no calibration was given"
        found = ", ".join(f"{name} {value:.5f}" for name, value in self.held_out.items())
        bound = f" (budget {self.budget})" if self.budget else ""
        return f"{self.precision}: {counts}; {sizes}; on held-out inputs {found}{bound}"


def _rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: round(value, 6) if abs(value) < float("inf") else None for name, value in values.items()}
