"""Softmax written out, and softmax of what was shifted beforehand.

exp(x) / sum(exp(x))            ->  softmax(x)
(exp(x) v) / sum(exp(x))        ->  softmax(x) v
exp(x - log(sum(exp(x))))       ->  softmax(x)
"""

from __future__ import annotations

from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.passes.canonical.views import matrix_transpose
from tfgraph.passes.rewrite import Rewriter, RuleSet

SOFTMAX = RuleSet()


@SOFTMAX.rule("Div")
def softmax_by_hand(node: Node, rewriter: Rewriter) -> Value | None:
    """`exp(x) / sum(exp(x))` over the last axis is the softmax of x."""
    powers, total = node.required(0), node.required(1).producer
    if powers.producer is None or powers.producer.key != "Exp" or total is None or total.key != "ReduceSum":
        return None
    if total.required(0) is not powers or not _is_over_last_axis(total):
        return None
    return rewriter.emit("Softmax", [powers.producer.required(0)], {"axis": -1})


@SOFTMAX.rule("Div")
def divide_before_values(node: Node, rewriter: Rewriter) -> Value | None:
    """`(exp(x) v) / sum(exp(x))` is `softmax(x) v`: weights that are normalised after they met the values."""
    product, total = node.required(0).producer, node.required(1).producer
    if product is None or product.key != "MatMul" or product.output.num_uses != 1:
        return None
    powers, shape = product.required(0), product.output.type.known_shape
    if powers.producer is None or powers.producer.key != "Exp" or total is None or total.key != "ReduceSum":
        return None
    if total.required(0) is not powers or not _is_over_last_axis(total):
        return None
    if shape is None or shape != node.output.type.known_shape or powers.type.known_shape is None:
        return None
    if powers.shape[:-1] != shape[:-1]:  # a batch axis of the values alone
        return None
    weights = rewriter.emit("Softmax", [powers.producer.required(0)], {"axis": -1})
    return rewriter.emit("MatMul", [weights, product.required(1)])


@SOFTMAX.rule("Exp")
def softmax_of_logarithms(node: Node, rewriter: Rewriter) -> Value | None:
    """`exp(log_softmax(x))` and `exp(x - log(sum(exp(x))))` over the last axis are the softmax of x."""
    inner = node.required(0).producer
    if inner is None:
        return None
    if inner.key == "LogSoftmax":
        return rewriter.emit("Softmax", [inner.required(0)], inner.attributes)
    if inner.key != "Sub":
        return None
    x, total = inner.required(0), inner.required(1).producer
    if total is not None and total.key == "ReduceLogSumExp":
        found = total.required(0) is x and _is_over_last_axis(total)
    else:
        found = total is not None and _is_logarithm_of_sum(total, x)
    return rewriter.emit("Softmax", [x], {"axis": -1}) if found else None


def _is_logarithm_of_sum(node: Node, x: Value) -> bool:
    """Whether `node` gives `log(sum(exp(x)))` over the last axis."""
    total = node.required(0).producer if node.key == "Log" else None
    if total is None or total.key != "ReduceSum" or not _is_over_last_axis(total):
        return False
    powers = total.required(0).producer
    return powers is not None and powers.key == "Exp" and powers.required(0) is x


@SOFTMAX.rule("Softmax")
def drop_largest(node: Node, rewriter: Rewriter) -> Value | None:
    """`softmax(x - max(x))` is `softmax(x)`."""
    difference = node.required(0).producer
    if difference is None or difference.key != "Sub" or attribute(node, "axis") != -1:
        return None
    x, largest = difference.required(0), difference.required(1).producer
    if largest is None or largest.key != "ReduceMax" or largest.required(0) is not x or not _is_over_last_axis(largest):
        return None
    return rewriter.emit("Softmax", [x], node.attributes)


@SOFTMAX.rule("Transpose")
def softmax_over_last_axis(node: Node, rewriter: Rewriter) -> Value | None:
    """A softmax over the last axis but one, transposed afterwards, is one over the last axis."""
    softmax, shape = node.required(0).producer, node.output.type.known_shape
    if softmax is None or softmax.key != "Softmax" or softmax.output.num_uses != 1 or shape is None or len(shape) < 2:
        return None
    if attribute(softmax, "axis") != -2 or node.attributes.get("perm") != matrix_transpose(len(shape)):
        return None
    turned = rewriter.emit("Transpose", [softmax.required(0)], node.attributes)
    return rewriter.emit("Softmax", [turned], {"axis": -1})


def _is_over_last_axis(node: Node) -> bool:
    """Whether a reduction is over the last axis alone, and keeps it."""
    axes = node.input(1)
    return axes is not None and axes.content == (-1,) and bool(attribute(node, "keepdims"))
