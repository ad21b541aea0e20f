"""Scales in front of products: `(q * c) (k * d)^T` is written `(q k^T) * (c * d)`, so that attention has one scale.

A scale moves outward through transposes and reshapes, and out of products of two activations. It stays inside linear
layers, where the other operand is a weight.
"""

from __future__ import annotations

import math

from tfgraph.ir.graph import Node, Value
from tfgraph.passes.canonical.arithmetic import scaled
from tfgraph.passes.rewrite import Rewriter, RuleSet, scalar_of

SCALES = RuleSet()

_MOST_STEPS = 8


@SCALES.rule("Transpose", "Reshape")
def scale_after_view(node: Node, rewriter: Rewriter) -> Value | None:
    """`View(x * c)` is `View(x) * c`, on the way to a product of two activations."""
    found = scaled(node.required(0))
    if found is None or not _leads_to_product(node.output):
        return None
    x, factor = found
    view = rewriter.emit(node.key, [x, *node.inputs[1:]], node.attributes)
    return rewriter.emit("Mul", [view, rewriter.scalar(factor, view)])


def _leads_to_product(value: Value, steps: int = _MOST_STEPS) -> bool:
    """Whether all that reads `value` are products of two activations, or a few views on the way to them."""
    return bool(value.users and steps) and all(
        (user.key == "MatMul" and all(operand is not None and operand.constant is None for operand in user.inputs))
        or (user.key in ("Transpose", "Reshape", "Expand") and _leads_to_product(user.output, steps - 1))
        for user in value.users
    )


@SCALES.rule("MatMul")
def scale_after_product(node: Node, rewriter: Rewriter) -> Value | None:
    """`(a * c) b` is `(a b) * c`, where both are computed from the inputs."""
    left, right = node.required(0), node.required(1)
    if left.constant is not None or right.constant is not None:
        return None
    for index, operand in enumerate((left, right)):
        found = scaled(operand)
        if found is None:
            continue
        x, factor = found
        product = rewriter.emit("MatMul", [x, right] if index == 0 else [left, x])
        return rewriter.emit("Mul", [product, rewriter.scalar(factor, product)])
    return None


@SCALES.rule("Mul")
def part_soft_cap(node: Node, rewriter: Rewriter) -> Value | None:
    """`tanh(x * c) * cap` is written `tanh(x * (c * cap) / cap) * cap`, for a matrix product x: attention's soft cap.

    So its scale is by itself; `divide_by_constant` leaves this quotient alone.
    """
    tanh, cap = node.required(0).producer, scalar_of(node.input(1))
    if tanh is None or tanh.key != "Tanh" or tanh.output.num_uses != 1 or not cap:
        return None
    inner = scaled(tanh.required(0))
    if inner is None or tanh.output.type.known_shape != node.output.type.known_shape:
        return None
    scores, scale = inner[0], inner[1] * cap
    if scores.producer is None or scores.producer.key != "MatMul":
        return None
    if not math.isclose(scale, 1.0, rel_tol=1e-6):
        scores = rewriter.emit("Mul", [scores, rewriter.scalar(scale, scores)])
    quotient = rewriter.emit("Div", [scores, node.required(1)])
    return rewriter.emit("Mul", [rewriter.emit("Tanh", [quotient]), node.required(1)])
