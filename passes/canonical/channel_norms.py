"""Norms over another axis than the last, as over the channels of an image, are norms over the last between transposes.

(x - mean(x)) / deviation, over axis 1 of [N, C, H, W]  ->  the same over the last of [N, H, W, C], and back
back(y) * w [C, 1, 1]                                   ->  back(y * w [C])
"""

from __future__ import annotations

from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.passes.rewrite import Rewriter, RuleSet, scalar_of

CHANNEL_NORMS = RuleSet()


@CHANNEL_NORMS.rule("Div")
def standardise_channels(node: Node, rewriter: Rewriter) -> Value | None:
    """A norm over one axis in the middle moves that axis to the end and back."""
    x, shape = node.required(0), node.output.type.known_shape
    found = _mean_square_of(node.required(1), x)
    if found is None or shape is None or shape != x.type.known_shape:
        return None
    axis, epsilon = found
    if axis == -1 or not -len(shape) < axis or not isinstance(shape[axis], int) or shape[axis] == 1:
        return None
    to_end = (*(index for index in range(len(shape)) if index != len(shape) + axis), len(shape) + axis)
    back = tuple(to_end.index(index) for index in range(len(shape)))
    centred = x.producer if x.producer is not None and x.producer.key == "Sub" else None
    source = None if centred is None else centred.required(0)
    if centred is not None and _mean_axis(centred.required(1), source) != axis:
        source = None
    last = rewriter.ints([-1])
    if source is None:
        value = rewriter.emit("Transpose", [x], {"perm": to_end})
    else:
        turned = rewriter.emit("Transpose", [source], {"perm": to_end})
        value = rewriter.emit("Sub", [turned, rewriter.emit("ReduceMean", [turned, last])])
    square = rewriter.emit("ReduceMean", [rewriter.emit("Mul", [value, value]), last])
    shifted = rewriter.emit("Add", [square, rewriter.scalar(epsilon, square)])
    quotient = rewriter.emit("Div", [value, rewriter.emit("Sqrt", [shifted])])
    return rewriter.emit("Transpose", [quotient], {"perm": back})


def _mean_square_of(deviation: Value, x: Value) -> tuple[int, float] | None:
    """`(axis, epsilon)` of `deviation = sqrt(mean(x * x) + epsilon)`, the mean taken over one axis."""
    root = deviation.producer
    total = None if root is None or root.key != "Sqrt" else root.required(0).producer
    epsilon = None if total is None or total.key != "Add" else scalar_of(total.input(1))
    mean = None if total is None or epsilon is None else total.required(0).producer
    square = None if mean is None or mean.key != "ReduceMean" else mean.required(0)
    if total is None or epsilon is None or square is None or square.producer is None or square.producer.key != "Mul":
        return None
    axis = _mean_axis(total.required(0), square)
    return (axis, epsilon) if square.producer.inputs == (x, x) and axis is not None else None


def _mean_axis(value: Value, x: Value | None) -> int | None:
    """The axis, counted from the end, over which `value` is the mean of x, and which it keeps."""
    mean = value.producer
    axes = None if mean is None or mean.key != "ReduceMean" or mean.required(0) is not x else mean.input(1)
    if (
        mean is None
        or axes is None
        or axes.content is None
        or len(axes.content) != 1
        or not attribute(mean, "keepdims")
    ):
        return None
    axis = axes.content[0]
    return axis if isinstance(axis, int) and axis < 0 else None


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
