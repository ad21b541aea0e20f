"""Norms whose statistics are computed in a wider dtype get the casts of their definitions.

The input is cast first, statistics are float32, and the weight is applied in the dtype of the input.

    Cast(x - mean(x))               ->  Cast(x) - mean(Cast(x))
    x16 / Cast16(deviation)         ->  Cast16(Cast32(x16) / deviation)
    Cast16(x32 / deviation) * w16   ->  Cast16(x32 / deviation * Cast32(w16))
    float64(x16) / deviation        ->  float64(float32(x16) / deviation)

None of these rounds more than half precision does.
"""

from __future__ import annotations

import math

import numpy as np

from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Node, Value
from tfgraph.passes.canonical.deviations import centred, deviation
from tfgraph.passes.canonical.precision import HALVES, cast, is_wider, widened
from tfgraph.passes.rewrite import Rewriter, RuleSet, scalar_of

NORM_PRECISION = RuleSet()

_MOST_STEPS = 8


@NORM_PRECISION.rule("Cast")
def cast_before_centring(node: Node, rewriter: Rewriter) -> Value | None:
    """`Cast(x - mean(x))` to a wider dtype is `Cast(x) - mean(Cast(x))`."""
    found = centred(node.required(0))
    if found is None or not is_wider(node.output, node.required(0)):
        return None
    x, mean = found
    wide = cast(rewriter, x, node.output.dtype)
    return rewriter.emit("Sub", [wide, rewriter.emit("ReduceMean", [wide, mean.input(1)], mean.attributes)])


@NORM_PRECISION.rule("Div", "Mul")
def divide_in_dtype_of_deviation(node: Node, rewriter: Rewriter) -> Value | None:
    """`x16 / Cast16(deviation)` and `x16 * Cast16(1 / deviation)` round the quotient, not the deviation."""
    operands = node.required(0), node.required(1)
    for x, rounded in (operands,) if node.key == "Div" else (operands, operands[::-1]):
        rounding = rounded.producer
        if rounding is None or rounding.key != "Cast" or not is_wider(rounding.required(0), rounded):
            continue
        divisor = inner = rounding.required(0)
        if node.key == "Mul":
            quotient = inner.producer
            if quotient is None or quotient.key != "Div" or scalar_of(quotient.input(0)) != 1.0:
                continue
            divisor = quotient.required(1)
        found = deviation(divisor)
        if found is None or _origin(found.x) is not _origin(x):
            continue
        result = rewriter.emit(node.key, [cast(rewriter, x, inner.dtype), inner])
        return cast(rewriter, result, node.output.dtype)
    return None


def _origin(value: Value) -> Value:
    """What `value` was centred and cast from."""
    for _ in range(_MOST_STEPS):
        source = widened(value) or _source(value)
        if source is value:
            break
        value = source
    return value


def _source(x: Value) -> Value:
    """What x is without its mean taken off, if it was."""
    found = centred(x)
    return x if found is None else found[0]


@NORM_PRECISION.rule("Div")
def statistics_in_float32(node: Node, rewriter: Rewriter) -> Value | None:
    """A norm of half precision that was cast to float64 computes its statistics in float32, as the operators do."""
    x, found = node.required(0), deviation(node.required(1))
    if node.output.dtype is not DType.FLOAT64 or found is None or found.x is not x:
        return None
    mean, _, epsilon = found
    source = widened(_source(x))
    if source is None or source.dtype not in HALVES or not _is_rounded(node.output, _MOST_STEPS):
        return None
    if not math.isclose(float(np.float32(epsilon)), epsilon, rel_tol=1e-6):
        return None
    value = cast(rewriter, source, DType.FLOAT32)
    if centred(x) is not None:
        average = rewriter.emit("ReduceMean", [value, mean.input(1)], mean.attributes)
        value = rewriter.emit("Sub", [value, average])
    square = rewriter.emit("ReduceMean", [rewriter.emit("Mul", [value, value]), mean.input(1)], mean.attributes)
    shifted = rewriter.emit("Add", [square, rewriter.scalar(epsilon, square)])
    result = rewriter.emit("Div", [value, rewriter.emit("Sqrt", [shifted])])
    return cast(rewriter, result, DType.FLOAT64)


def _is_rounded(value: Value, steps: int) -> bool:
    """Whether nothing reads `value` but casts to a narrower dtype, perhaps after a weight and a bias."""
    if value.is_output or not value.users or steps == 0:
        return False
    return all(
        is_wider(value, user.output)
        if user.key == "Cast"
        else user.key in ("Mul", "Add") and _is_rounded(user.output, steps - 1)
        for user in value.users
    )


@NORM_PRECISION.rule("Mul", "Add")
def weigh_in_dtype_of_input(node: Node, rewriter: Rewriter) -> Value | None:
    """A norm of a wider x than its weight and bias applies these before its result is rounded to their dtype.

    Where x itself is cast from their dtype, that cast is part of the norm, and all stays.
    """
    for rounded, vector in ((node.required(0), node.required(1)), (node.required(1), node.required(0))):
        rounding = rounded.producer
        if rounding is None or rounding.key != "Cast" or rounded.num_uses != 1 or vector.type.known_shape is None:
            continue
        wide = rounding.required(0)
        if vector.rank != 1 or not is_wider(wide, vector) or not _is_norm(wide, weighed=node.key == "Add"):
            continue
        return cast(rewriter, rewriter.emit(node.key, [wide, cast(rewriter, vector, wide.dtype)]), node.output.dtype)
    return None


def _is_norm(value: Value, weighed: bool) -> bool:
    """Whether `value` is `x / deviation`, or that times a vector, for an x that is not cast from a narrower dtype."""
    node = value.producer
    if weighed:
        if node is None or node.key != "Mul" or node.required(1).type.known_shape is None or node.required(1).rank != 1:
            return False
        node = node.required(0).producer
    if node is None or node.key != "Div":
        return False
    x, found = node.required(0), deviation(node.required(1))
    if found is None or found.x is not x:
        return False
    return weighed or widened(_source(x)) is None
