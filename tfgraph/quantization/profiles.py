"""What "int8" and "int4" mean: the schemes that are tried for each kind of site, the fastest first.

A model that predicts one token after another runs its products on one row at a time, where reading weights is all that
takes time; others run them on many rows. "bf16" and "auto" quantise nothing, and are not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from tfgraph.errors import ConfigError
from tfgraph.passes.quantise.sites import Site
from tfgraph.quantization.schemes import FLOAT

Precision: TypeAlias = Literal["fp32", "bf16", "int8", "int4", "auto"]
PRECISIONS: Final = ("fp32", "bf16", "int8", "int4", "auto")
QUANTISED: Final = ("int8", "int4")
"""Those that quantise weights."""

SMALL: Final = 1 << 10
"""Sites of fewer parameters stay in floating point: nothing is gained."""


@dataclass(frozen=True)
class Profile:
    """What is tried.

    Attributes:
        name: the precision.
        decoder: the model predicts one token after another.
        linear, embedding: the names of schemes to try, the fastest first; `fp32` ends both lists.
        unbudgeted: the scheme of linear sites where there are calibration inputs, and no budget to search for.
        uncalibrated: their scheme where there are no calibration inputs.
        smooth: whether activations may be smoothed.
    """

    name: str
    decoder: bool
    linear: tuple[str, ...]
    embedding: tuple[str, ...]
    unbudgeted: str
    uncalibrated: str
    smooth: bool

    def candidates(self, site: Site) -> tuple[str, ...]:
        """The names of the schemes to try for a site."""
        if site.num_parameters < SMALL:
            return (FLOAT,)
        return self.linear if site.kind == "linear" else self.embedding


def check_precision(precision: str) -> None:
    """Refuse an unknown precision.

    Raises:
        ConfigError: it is none of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"no precision is called {precision!r}: expected one of {', '.join(PRECISIONS)}")


def profile_for(precision: str, *, decoder: bool) -> Profile:
    """What `precision` means for a model.

    Raises:
        ConfigError: an unknown precision, or one that quantises nothing.
    """
    check_precision(precision)
    if precision not in QUANTISED:
        raise ConfigError(f"precision {precision!r} quantises no weights: expected {' or '.join(QUANTISED)}")
    if precision == "int8":
        if decoder:
            return Profile(
                "int8", True, ("int8-b128", "int8-b32", FLOAT), ("int8-b128", FLOAT), "int8-b128", "int8-b128", False
            )
        dynamic = ("dynamic", "dynamic-rows", "int8-b128", "int8-b32", FLOAT)
        return Profile("int8", False, dynamic, ("int8-b128", FLOAT), "dynamic-rows", "int8-b128", True)
    linear = ("int4-b128", "int4-b64", "int4-b32", "int8-b128", "int8-b32", FLOAT)
    return Profile("int4", decoder, linear, ("int8-b128", FLOAT), "int4-b32", "int4-b32", False)
