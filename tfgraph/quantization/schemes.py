"""The schemes by their short names, and what each costs: what a user overrides, and what a manifest records.

What is tried for a profile is in `profiles.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tfgraph.errors import ConfigError
from tfgraph.passes.quantise.plan import Scheme

FLOAT: Final = "fp32"
"""The name of not being quantised."""

SCHEMES: Final[Mapping[str, Scheme]] = {
    "dynamic": Scheme("dynamic"),
    "dynamic-rows": Scheme("dynamic"),
    "int8-b128": Scheme("weight_only", 8, 128),
    "int8-b32": Scheme("weight_only", 8, 32),
    "int4-b128": Scheme("weight_only", 4, 128, symmetric=False),
    "int4-b64": Scheme("weight_only", 4, 64, symmetric=False),
    "int4-b32": Scheme("weight_only", 4, 32, symmetric=False),
}
"""Short name to scheme. `dynamic-rows` is `dynamic` over activations whose rows are scaled first."""

_ROUNDED_BITS: Final = 8
"""Blocks with so many bits are rounded to nearest: there is nothing to gain."""

SCALES_ROWS: Final = frozenset({"dynamic-rows"})
"""The schemes that scale rows."""

_MANY_ROWS: Final[Mapping[str, float]] = {
    "dynamic": 0.29, "dynamic-rows": 0.42, "int8-b128": 0.62, "int8-b32": 0.80,
    "int4-b128": 0.95, "int4-b64": 0.85, "int4-b32": 0.90,
}  # fmt: skip
_ONE_ROW: Final[Mapping[str, float]] = {
    "dynamic": 0.37, "dynamic-rows": 0.50, "int8-b128": 0.28, "int8-b32": 0.37,
    "int4-b128": 0.16, "int4-b64": 0.18, "int4-b32": 0.26,
}  # fmt: skip
"""Time of a product relative to float32, measured on processors with 8-bit dot products. Only the order of sites in the
search follows from them, never whether an error is accepted."""


SMOOTHABLE: Final = frozenset(name for name, scheme in SCHEMES.items() if scheme.kind == "dynamic")
"""The schemes whose error smoothing makes smaller."""


def scheme_named(name: str) -> Scheme | None:
    """The scheme called `name`; None for "fp32".

    Raises:
        ConfigError: there is no such scheme.
    """
    if name == FLOAT:
        return None
    if name not in SCHEMES:
        raise ConfigError(f"no scheme is called {name!r}: expected {FLOAT}, {', '.join(SCHEMES)}")
    return SCHEMES[name]


def uses_hessian(name: str) -> bool:
    """Whether the integers of the scheme called `name` are chosen by GPTQ: whole columns, and few bits."""
    scheme = scheme_named(name)
    return scheme is not None and (not scheme.block_size or scheme.bits < _ROUNDED_BITS)


def relative_time(name: str, *, one_row: bool) -> float:
    """Time of a product under the scheme called `name`, relative to float32."""
    return 1.0 if name == FLOAT else (_ONE_ROW if one_row else _MANY_ROWS)[name]


def bits_of(name: str) -> float:
    """Bits of a weight under the scheme called `name`, its share of scales and zero points included."""
    scheme = scheme_named(name)
    if scheme is None:
        return 32.0
    if not scheme.block_size:
        return float(scheme.bits)
    zero_point = 0 if scheme.symmetric else scheme.bits
    return scheme.bits + (32 + zero_point) / scheme.block_size
