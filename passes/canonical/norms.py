"""Norms without a weight: what a layer standardises gets a weight of ones, so that one definition fits all norms."""

from __future__ import annotations

import numpy as np

from tfgraph.ir.build import add_array
from tfgraph.ir.graph import Node, Value
from tfgraph.passes.canonical.deviations import deviation, only_axis
from tfgraph.passes.rewrite import Rewriter, RuleSet, is_filled_with

NORMS = RuleSet()

_MOST_CASTS = 4


@NORMS.rule("Div")
def weigh_by_ones(node: Node, rewriter: Rewriter) -> Value | None:
    """`x / sqrt(mean(x * x) + epsilon)`, over the last axis and without a weight, has one of ones."""
    x, size = node.required(0), _width(node.output)
    found = deviation(node.required(1))
    if size is None or found is None or found.x is not x or only_axis(found.mean) != -1 or _is_weighed(node.output):
        return None
    quotient = rewriter.emit("Div", [x, node.required(1)])
    return rewriter.emit("Mul", [quotient, add_array(rewriter.graph, np.ones(size, x.dtype.numpy()), "ones")])


def _width(value: Value) -> int | None:
    """The size of the last axis of a tensor of floats, where it is fixed."""
    shape = value.type.known_shape
    size = shape[-1] if shape is not None and len(shape) > 1 and value.dtype.is_float else None
    return size if isinstance(size, int) and size > 1 else None


def _is_weighed(value: Value, casts: int = _MOST_CASTS) -> bool:
    """Whether `value` is multiplied by a vector, or cast and then multiplied by one."""
    return any(
        casts > 0 and _is_weighed(user.output, casts - 1)
        if user.key == "Cast"
        else user.key == "Mul" and _has_vector(user, value)
        for user in value.users
    )


def _has_vector(product: Node, value: Value) -> bool:
    """Whether the other factor beside `value` is a vector."""
    others = [factor for factor in product.inputs if factor is not None and factor is not value]
    return any(other.type.known_shape is not None and other.rank == 1 for other in others)


@NORMS.rule("Mul")
def drop_unit_weight(node: Node, rewriter: Rewriter) -> Value | None:
    """`(x * ones) * w` is `x * w`, for a vector w of as many."""
    inner, weight = node.required(0).producer, node.required(1)
    if inner is None or inner.key != "Mul" or weight.type.known_shape is None or weight.rank != 1:
        return None
    ones = inner.required(1)
    if ones.constant is None or ones.shape != weight.shape or not is_filled_with(ones, 1.0):
        return None
    same = inner.required(0).type.known_shape is not None and inner.required(0).type == inner.output.type
    return rewriter.emit("Mul", [inner.required(0), weight]) if same else None
