"""Norms over another axis than the last, as over the channels of an image, are norms over the last between transposes.

(x - mean(x)) / deviation, over axis 1 of [N, C, H, W]  ->  the same over the last of [N, H, W, C], and back
back(y) * w [C, 1, 1]                                   ->  back(y * w [C])
"""

from __future__ import annotations

from tfgraph.ir.graph import Node, Value
from tfgraph.passes.canonical.deviations import centred, deviation, only_axis
from tfgraph.passes.rewrite import Rewriter, RuleSet

CHANNEL_NORMS = RuleSet()


@CHANNEL_NORMS.rule("Div")
def standardise_channels(node: Node, rewriter: Rewriter) -> Value | None:
    """A norm over one axis in the middle moves that axis to the end and back."""
    x, shape = node.required(0), node.output.type.known_shape
    found = deviation(node.required(1))
    axis = None if found is None or found.x is not x else only_axis(found.mean)
    if found is None or axis is None or shape is None or shape != x.type.known_shape:
        return None
    if not -len(shape) < axis < -1 or not isinstance(shape[axis], int) or shape[axis] == 1:
        return None
    to_end = (*(index for index in range(len(shape)) if index != len(shape) + axis), len(shape) + axis)
    back = tuple(to_end.index(index) for index in range(len(shape)))
    source, mean = centred(x) or (x, None)
    if mean is not None and only_axis(mean) != axis:
        source, mean = x, None
    last = rewriter.ints([-1])
    value = rewriter.emit("Transpose", [source], {"perm": to_end})
    if mean is not None:
        value = rewriter.emit("Sub", [value, rewriter.emit("ReduceMean", [value, last])])
    square = rewriter.emit("ReduceMean", [rewriter.emit("Mul", [value, value]), last])
    shifted = rewriter.emit("Add", [square, rewriter.scalar(found.epsilon, square)])
    quotient = rewriter.emit("Div", [value, rewriter.emit("Sqrt", [shifted])])
    return rewriter.emit("Transpose", [quotient], {"perm": back})


@CHANNEL_NORMS.rule("Mul", "Add")
def weigh_channels(node: Node, rewriter: Rewriter) -> Value | None:
    """The weight and bias of a norm whose axis was moved back are applied before it is."""
    turned, constant = node.required(0).producer, node.required(1)
    if turned is None or turned.key != "Transpose" or turned.output.num_uses != 1 or constant.constant is None:
        return None
    order, inner = turned.attributes.get("perm"), turned.required(0)
    if not isinstance(order, tuple) or not _is_norm(inner, node.key) or constant.rank > len(order):
        return None
    axis = order.index(len(order) - 1) - len(order)  # where the last axis of `inner` goes
    if axis == -1 or constant.rank < -axis or constant.shape[axis] != inner.shape[-1] or constant.constant.size == 1:
        return None
    if any(size != 1 for place, size in enumerate(constant.shape) if place != constant.rank + axis):
        return None
    vector = rewriter.emit("Reshape", [constant, rewriter.ints([-1])])
    return rewriter.emit("Transpose", [rewriter.emit(node.key, [inner, vector])], {"perm": order})


def _is_norm(value: Value, key: str) -> bool:
    """Whether `value` is a quotient by a root, weighed if a bias (`key` is Add) comes next."""
    node = value.producer
    if node is not None and node.key == "Mul" and node.required(1).type.known_shape is not None:
        node = node.required(0).producer if node.required(1).rank == 1 else None
    elif key == "Add":
        return False
    divisor = None if node is None or node.key != "Div" else node.required(1).producer
    return divisor is not None and divisor.key == "Sqrt"
