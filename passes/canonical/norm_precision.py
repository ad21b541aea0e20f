"""Norms whose statistics are computed in a wider dtype get the casts of their definitions.

The input is cast first, statistics are float32, and the weight is applied in the dtype of the input.

    Cast(x - mean(x))               ->  Cast(x) - mean(Cast(x))
    x16 / Cast16(deviation)         ->  Cast16(Cast32(x16) / deviation)
    Cast16(x32 / deviation) * w16   ->  Cast16(x32 / deviation * Cast32(w16))
    float64(x) / deviation          ->  float64(float32(x) / deviation)

None of these rounds more than half precision does.
"""

from __future__ import annotations

import math

import numpy as np

from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.passes.canonical.precision import cast, is_wider, widened
from tfgraph.passes.rewrite import Rewriter, RuleSet, scalar_of

NORM_PRECISION = RuleSet()

_MOST_STEPS = 8


@NORM_PRECISION.rule("Cast")
def cast_before_centring(node: Node, rewriter: Rewriter) -> Value | None:
    """`Cast(x - mean(x))` to a wider dtype is `Cast(x) - mean(Cast(x))`."""
    centred = node.required(0)
    x = _centred(centred)
    if x is None or not is_wider(node.output, centred):
        return None
    mean = centred.producer and centred.producer.required(1).producer
    if mean is None:
        return None
    wide = cast(rewriter, x, node.output.dtype)
    return rewriter.emit("Sub", [wide, rewriter.emit("ReduceMean", [wide, mean.input(1)], mean.attributes)])


def _centred(value: Value) -> Value | None:
    """The x of `value = x - mean(x)`."""
    node = value.producer
    mean = None if node is None or node.key != "Sub" else node.required(1).producer
    if node is None or mean is None or mean.key != "ReduceMean" or not attribute(mean, "keepdims"):
        return None
    return node.required(0) if mean.required(0) is node.required(0) else None


def _mean_square(deviation: Value) -> tuple[Node, Value, float] | None:
    """`(mean, x, epsilon)` of `deviation = sqrt(mean + epsilon)`, with mean the mean of `x * x`."""
    root = deviation.producer
    total = None if root is None or root.key != "Sqrt" else root.required(0).producer
    epsilon = None if total is None or total.key != "Add" else scalar_of(total.input(1))
    mean = None if total is None or epsilon is None else total.required(0).producer
    square = None if mean is None or mean.key != "ReduceMean" else mean.required(0).producer
    if mean is None or epsilon is None or square is None or square.key != "Mul":
        return None
    x = square.required(0)
    return (mean, x, epsilon) if square.required(1) is x else None


@NORM_PRECISION.rule("Div", "Mul")
def divide_in_dtype_of_deviation(node: Node, rewriter: Rewriter) -> Value | None:
    """`x16 / Cast16(deviation)` and `x16 * Cast16(1 / deviation)` round the quotient, not the deviation."""
    operands = node.required(0), node.required(1)
    for x, rounded in (operands,) if node.key == "Div" else (operands, operands[::-1]):
        rounding = rounded.producer
        if rounding is None or rounding.key != "Cast" or not is_wider(rounding.required(0), rounded):
            continue
        deviation = inner = rounding.required(0)
        if node.key == "Mul":
            quotient = inner.producer
            if quotient is None or quotient.key != "Div" or scalar_of(quotient.input(0)) != 1.0:
                continue
            deviation = quotient.required(1)
        found = _mean_square(deviation)
        if found is None or _origin(found[1]) is not _origin(x):
            continue
        result = rewriter.emit(node.key, [cast(rewriter, x, inner.dtype), inner])
        return cast(rewriter, result, node.output.dtype)
    return None


def _origin(value: Value) -> Value:
    """What `value` was centred and cast from."""
    for _ in range(_MOST_STEPS):
        x = widened(value) or _centred(value)
        if x is None:
            break
        value = x
    return value


@NORM_PRECISION.rule("Div")
def statistics_in_float32(node: Node, rewriter: Rewriter) -> Value | None:
    """A norm of what was cast to float64 computes its statistics in float32, as the operators do."""
    x, found = node.required(0), _mean_square(node.required(1))
    if node.output.dtype is not DType.FLOAT64 or found is None or found[1] is not x:
        return None
    centred = _centred(x)
    source = widened(x if centred is None else centred)
    if source is None or not math.isclose(float(np.float32(found[2])), found[2], rel_tol=1e-6):
        return None
    mean, value = found[0], cast(rewriter, source, DType.FLOAT32)
    if centred is not None:
        average = rewriter.emit("ReduceMean", [value, mean.input(1)], mean.attributes)
        value = rewriter.emit("Sub", [value, average])
    square = rewriter.emit("ReduceMean", [rewriter.emit("Mul", [value, value]), mean.input(1)], mean.attributes)
    shifted = rewriter.emit("Add", [square, rewriter.scalar(found[2], square)])
    result = rewriter.emit("Div", [value, rewriter.emit("Sqrt", [shifted])])
    return cast(rewriter, result, DType.FLOAT64)


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
    x, found = node.required(0), _mean_square(node.required(1))
    if found is None or found[1] is not x:
        return False
    centred = _centred(x)
    return weighed or widened(x if centred is None else centred) is None
