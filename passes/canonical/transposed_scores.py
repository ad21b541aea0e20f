"""Scores that were masked and normalised in another order of axes, as an exporter leaves them that moves transposes.

Transpose(Softmax(Transpose(scores) + mask, axis=-3), back)  ->  Softmax(scores + Transpose(mask, back), axis=-1)
"""

from __future__ import annotations

from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.passes.rewrite import Rewriter, RuleSet

TRANSPOSED_SCORES = RuleSet()


def _order(node: Node) -> tuple[int, ...]:
    given = attribute(node, "perm")
    return tuple(given) if given is not None else tuple(reversed(range(node.output.rank)))


@TRANSPOSED_SCORES.rule("Transpose")
def transpose_before_softmax(node: Node, rewriter: Rewriter) -> Value | None:
    """A softmax over the axis that a transpose makes the last is one over the last axis of what is transposed.

    Only where the transpose moves other axes as well: the exchange of the last two is for `softmax_over_last_axis`.
    """
    softmax, shape = node.required(0).producer, node.output.type.known_shape
    if softmax is None or softmax.key != "Softmax" or softmax.output.num_uses != 1 or shape is None:
        return None
    rank, axis, order = len(shape), attribute(softmax, "axis"), _order(node)
    if not isinstance(axis, int) or order[-1] != axis % rank or not _undoes_transpose(softmax.required(0), order):
        return None
    turned = rewriter.emit("Transpose", [softmax.required(0)], {"perm": order})
    return rewriter.emit("Softmax", [turned], {"axis": -1})


@TRANSPOSED_SCORES.rule("Transpose")
def transpose_before_sum(node: Node, rewriter: Rewriter) -> Value | None:
    """A transposed sum with an operand that was transposed the other way is a sum in that operand's own order."""
    total = node.required(0).producer
    if total is None or total.key != "Add" or total.output.num_uses != 1 or total.output.type.known_shape is None:
        return None
    order, operands = _order(node), (total.required(0), total.required(1))
    if any(value.type.known_shape is None or value.rank != len(order) for value in operands):
        return None
    if not any(_is_inverse(value, order) for value in operands):
        return None
    return rewriter.emit("Add", [_turned(value, order, rewriter) for value in operands])


def _undoes_transpose(value: Value, order: tuple[int, ...]) -> bool:
    """Whether `value`, or what is added to something for it, is a transpose that `order` undoes."""
    node = value.producer
    if node is None or value.type.known_shape is None or value.rank != len(order):
        return False
    if node.key == "Add":
        return value.num_uses == 1 and any(_is_inverse(operand, order) for operand in node.inputs if operand)
    return _is_inverse(value, order)


def _is_inverse(value: Value, order: tuple[int, ...]) -> bool:
    """Whether `value` is a transpose that `order` undoes."""
    node = value.producer
    if node is None or node.key != "Transpose" or value.type.known_shape is None or value.rank != len(order):
        return False
    first = _order(node)
    return tuple(first[axis] for axis in order) == tuple(range(len(order)))


def _turned(value: Value, order: tuple[int, ...], rewriter: Rewriter) -> Value:
    node = value.producer
    if node is not None and _is_inverse(value, order):
        return node.required(0)
    return rewriter.emit("Transpose", [value], {"perm": order})
