"""Attention without an axis of heads: it gets one of size 1, once all other rules have found none.

    softmax(q [N, S, D] k^T) v  ->  Reshape(softmax(Reshape(q, [N, 1, S, D]) …) Reshape(v, [N, 1, T, E]))

Applied late, since an axis of batch times heads is better taken apart, and looks the same until it is.
"""

from __future__ import annotations

from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.passes.canonical.views import matrix_transpose
from tfgraph.passes.rewrite import Rewriter, RuleSet

HEAD_AXIS = RuleSet()

_MOST_STEPS = 8


@HEAD_AXIS.rule("MatMul")
def add_head_axis(node: Node, rewriter: Rewriter) -> Value | None:
    """Weights [N, S, T] times values [N, T, D] are [N, 1, S, T] times [N, 1, T, D], and so are their scores."""
    weights, values = node.required(0), node.required(1)
    softmax = weights.producer
    if softmax is None or softmax.key != "Softmax" or weights.num_uses != 1 or values.constant is not None:
        return None
    if attribute(softmax, "axis") != -1:
        return None
    if any(value.type.known_shape is None or value.rank != 3 for value in (weights, values)):
        return None
    if weights.shape[0] != values.shape[0]:
        return None
    scores = _with_axis(softmax.required(0), rewriter, _MOST_STEPS)
    if scores is None:
        return None
    product = rewriter.emit(
        "MatMul", [rewriter.emit("Softmax", [scores], softmax.attributes), _apart(values, rewriter)]
    )
    return rewriter.emit("Squeeze", [product, rewriter.ints([1])])


def _with_axis(value: Value, rewriter: Rewriter, steps: int) -> Value | None:
    """Scores [N, S, T] as [N, 1, S, T], computed so from the product that they start with; None for anything else."""
    node = value.producer
    if node is None or steps == 0 or value.type.known_shape is None or value.rank != 3 or value.num_uses != 1:
        return None
    if node.key == "MatMul":
        operands = [node.required(0), node.required(1)]
        if any(operand.type.known_shape is None or operand.rank != 3 for operand in operands):
            return None
        if operands[0].shape[0] != operands[1].shape[0] or any(operand.constant is not None for operand in operands):
            return None
        return rewriter.emit("MatMul", [_apart(operand, rewriter) for operand in operands])
    if node.key not in ("Add", "Mul", "Div", "Where", "Tanh", "Max"):
        return None
    inputs: list[Value | None] = []
    found = 0
    for operand in node.inputs:
        if operand is None or operand.type.known_shape is None:
            return None
        apart = _with_axis(operand, rewriter, steps - 1) if operand.type.known_shape == value.shape else None
        if apart is not None:
            found += 1
        elif operand.rank == 3:
            apart = _apart(operand, rewriter)
        inputs.append(operand if apart is None else apart)
    return rewriter.emit(node.key, inputs, node.attributes) if found == 1 else None


def _apart(x: Value, rewriter: Rewriter) -> Value:
    """[N, R, C] -> [N, 1, R, C], in front of the transpose of keys."""
    node = x.producer
    if node is not None and node.key == "Transpose" and node.attributes.get("perm") == matrix_transpose(3):
        inner = rewriter.emit("Unsqueeze", [node.required(0), rewriter.ints([1])])
        return rewriter.emit("Transpose", [inner], {"perm": matrix_transpose(4)})
    return rewriter.emit("Unsqueeze", [x, rewriter.ints([1])])
