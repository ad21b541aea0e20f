"""Dtypes: wider and narrower ones, casts between them, and how exactly each holds a number. The rules are elsewhere."""

from __future__ import annotations

import math

from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Value
from tfgraph.passes.rewrite import Rewriter

HALVES = frozenset({DType.FLOAT16, DType.BFLOAT16})


_TOLERANCES = {DType.FLOAT16: 2**-10, DType.BFLOAT16: 2**-7}


def are_close(number: float, other: float, like: Value) -> bool:
    """Whether two numbers are the same, up to how constants of the dtype of `like` are rounded and multiplied."""
    return math.isclose(number, other, rel_tol=_TOLERANCES.get(like.dtype, 1e-5))


def is_wider(wide: Value, narrow: Value) -> bool:
    """Whether every number of the dtype of `narrow` is one of that of `wide`, and not the other way round."""
    if narrow.dtype in HALVES:
        return wide.dtype in (DType.FLOAT32, DType.FLOAT64)
    return narrow.dtype is DType.FLOAT32 and wide.dtype is DType.FLOAT64


def cast(rewriter: Rewriter, value: Value, dtype: DType) -> Value:
    """`value` in `dtype`."""
    return value if value.dtype is dtype else rewriter.emit("Cast", [value], {"to": dtype.value})


def widened(value: Value) -> Value | None:
    """The x of `value = Cast(x)` to a wider dtype."""
    node = value.producer
    if node is None or node.key != "Cast" or not is_wider(value, node.required(0)):
        return None
    return node.required(0)
