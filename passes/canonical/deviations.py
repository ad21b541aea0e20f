"""What norms are made of: x less its mean, and the root of the mean of its squares. The rules are beside this file."""

from __future__ import annotations

from typing import NamedTuple

from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.passes.rewrite import scalar_of


class Deviation(NamedTuple):
    """`sqrt(mean(x * x) + epsilon)`.

    Attributes:
        mean: the `ReduceMean`.
        x: what is squared, perhaps after its own mean was taken off.
        epsilon: the number under the root.
    """

    mean: Node
    x: Value
    epsilon: float


def mean_square(value: Value) -> tuple[Node, Value] | None:
    """`(mean, x)` of `value = mean(x * x)`."""
    mean = value.producer
    square = None if mean is None or mean.key != "ReduceMean" else mean.required(0).producer
    if mean is None or square is None or square.key != "Mul":
        return None
    x = square.required(0)
    return (mean, x) if square.required(1) is x else None


def deviation(value: Value) -> Deviation | None:
    """What `value` is the deviation of, or None where it is none."""
    root = value.producer
    total = None if root is None or root.key != "Sqrt" else root.required(0).producer
    epsilon = None if total is None or total.key != "Add" else scalar_of(total.input(1))
    found = None if total is None or epsilon is None else mean_square(total.required(0))
    return None if found is None or epsilon is None else Deviation(*found, epsilon)


def centred(value: Value) -> tuple[Value, Node] | None:
    """`(x, mean)` of `value = x - mean(x)`, where the mean keeps its axes."""
    node = value.producer
    mean = None if node is None or node.key != "Sub" else node.required(1).producer
    if node is None or mean is None or mean.key != "ReduceMean" or not attribute(mean, "keepdims"):
        return None
    x = node.required(0)
    return (x, mean) if mean.required(0) is x else None


def only_axis(mean: Node) -> int | None:
    """The axis, counted from the end, over which a mean is taken, where it is one and is kept; else None."""
    axes = mean.input(1)
    if axes is None or axes.content is None or len(axes.content) != 1 or not attribute(mean, "keepdims"):
        return None
    axis = axes.content[0]
    return axis if isinstance(axis, int) and axis < 0 else None
