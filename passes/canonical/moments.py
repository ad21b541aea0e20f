"""Means and mean squares in other spellings: of all of them, `ReduceMean` of x and of x * x stay.

sum(x) / n                          ->  mean(x)
mean(x * x) - mean(x) * mean(x)     ->  mean((x - mean(x)) * (x - mean(x)))
|x| * |x|, with |x| = sqrt(y)       ->  y
Reshape(mean(x, keepdims=0))        ->  mean(x, keepdims=1)
"""

from __future__ import annotations

from tfgraph.ir.dims import Dim
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.passes.canonical.deviations import mean_square
from tfgraph.passes.canonical.precision import HALVES, are_close, cast
from tfgraph.passes.rewrite import Rewriter, RuleSet, is_filled_with, scalar_of

MOMENTS = RuleSet()

_SMALLEST_FLOOR = 1e-8
"""A number this small, added to a root mean square, changes no quotient by more than rounding does."""

_SMALLEST_LENGTH = 1e-6
"""A vector shorter than this is nothing but rounding errors."""

_SMALLEST_NORMAL = 2.0**-126
"""Of float32: a floor whose square is less would be lost, and zeros be divided by zero."""

_WIDEST = 16384


@MOMENTS.rule("Mul")
def sum_is_mean(node: Node, rewriter: Rewriter) -> Value | None:
    """`sum(x) * (1 / n)`, with n the number of elements that are summed, is `mean(x)`; x may be squared on the way."""
    total, factor = node.required(0).producer, scalar_of(node.input(1))
    if total is None or factor is None or total.output.num_uses != 1:
        return None
    squares = total.key != "ReduceSum"
    if squares:
        total = _sum_of_squares(total)
    count = None if total is None else _count(total)
    if total is None or count is None or not are_close(factor * count, 1.0, node.output):
        return None
    x = total.required(0)
    summed = rewriter.emit("Mul", [x, x]) if squares else x
    return rewriter.emit("ReduceMean", [summed, total.input(1)], {"keepdims": attribute(total, "keepdims")})


def _sum_of_squares(node: Node) -> Node | None:
    """The reduction that gives the sum of squares, if `node` does: as `ReduceSumSquare`, or as `ReduceL2` squared."""
    if node.key == "ReduceSumSquare":
        return node
    root = node.required(0).producer if node.key == "Mul" else None
    squared = root is not None and root.key == "ReduceL2" and node.required(0) is node.required(1)
    return root if squared else None


def _count(node: Node) -> int | None:
    """How many elements each result of a reduction is made of, where that is fixed."""
    x, axes = node.required(0), node.input(1)
    if x.type.known_shape is None or axes is None or axes.content is None or not axes.content:
        return None
    count = 1
    for axis in axes.content:
        size: Dim | None = x.shape[axis] if isinstance(axis, int) and -x.rank <= axis < x.rank else None
        if not isinstance(size, int):
            return None
        count *= size
    return count


@MOMENTS.rule("Mul")
def norm_is_root_mean_square(node: Node, rewriter: Rewriter) -> Value | None:
    """`|x| * (1 / sqrt(n))`, the Euclidean norm of n elements, is `sqrt(mean(x * x))`."""
    factor, found = scalar_of(node.input(1)), _euclidean(node.required(0))
    if factor is None or found is None:
        return None
    count = _count(found)
    if factor <= 0.0 or count is None or not are_close(factor * factor * count, 1.0, node.output):
        return None
    return rewriter.emit("Sqrt", [_mean_square(found, rewriter)])


@MOMENTS.rule("Mul")
def unit_length_is_rms(node: Node, rewriter: Rewriter) -> Value | None:
    """`x / max(|x|, e) * sqrt(n)`, with an e next to nothing, is `x / sqrt(mean(x * x) + e * e / n)`."""
    quotient, factor, weight = node.required(0).producer, scalar_of(node.input(1)), None
    if quotient is not None and quotient.key == "Mul" and quotient.required(1).constant is not None:
        weight, quotient = quotient.required(1), quotient.required(0).producer
    if quotient is None or quotient.key != "Div" or factor is None or quotient.output.num_uses != 1:
        return None
    x, length, floor = quotient.required(0), quotient.required(1), 0.0
    while length.producer is not None and length.producer.key in ("Max", "Clip", "Expand"):
        number = scalar_of(length.producer.input(1))
        if length.producer.key != "Expand":
            if number is None or not 0.0 < number <= _SMALLEST_LENGTH or len(length.producer.inputs) != 2:
                return None
            floor = number
        length = length.producer.required(0)
    found = _euclidean(length)
    if found is None or _summed(found) is not x or floor == 0.0 or x.dtype.bits < 32:
        return None
    count = _count(found)
    if factor <= 0.0 or count is None or not are_close(factor * factor, count, node.output):
        return None
    if floor * floor / count < _SMALLEST_NORMAL:
        return None
    mean = _mean_square(found, rewriter)
    shifted = rewriter.emit("Add", [mean, rewriter.scalar(floor * floor / count, mean)])
    result = rewriter.emit("Div", [x, rewriter.emit("Sqrt", [shifted])])
    return result if weight is None else rewriter.emit("Mul", [result, weight])


def _euclidean(value: Value) -> Node | None:
    """The reduction of which `value` is the Euclidean norm: `ReduceL2`, or the sum of x * x under a root."""
    node = value.producer
    if node is not None and node.key == "Sqrt":
        node = node.required(0).producer
        return node if node is not None and node.key == "ReduceSum" and _square_of(node) is not None else None
    return node if node is not None and node.key == "ReduceL2" else None


def _summed(reduction: Node) -> Value | None:
    """The x whose squares `reduction` (see `_euclidean`) sums."""
    return reduction.required(0) if reduction.key == "ReduceL2" else _square_of(reduction)


def _square_of(reduction: Node) -> Value | None:
    square = reduction.required(0).producer
    if square is None or square.key != "Mul" or square.required(0) is not square.required(1):
        return None
    return square.required(0)


def _mean_square(reduction: Node, rewriter: Rewriter) -> Value:
    x = reduction.required(0)
    squares = rewriter.emit("Mul", [x, x]) if reduction.key == "ReduceL2" else x
    return rewriter.emit("ReduceMean", [squares, reduction.input(1)], {"keepdims": attribute(reduction, "keepdims")})


@MOMENTS.rule("Div")
def floor_under_root(node: Node, rewriter: Rewriter) -> Value | None:
    """`x / (sqrt(m) + e)` is `x / sqrt(m + e * e)`, for m the mean of x * x and an e next to nothing."""
    x, total = node.required(0), node.required(1).producer
    floor = None if total is None or total.key != "Add" else scalar_of(total.input(1))
    if total is None or floor is None or not 0.0 < floor <= _SMALLEST_FLOOR or x.dtype.bits < 32:
        return None
    root = total.required(0).producer
    found = None if root is None or root.key != "Sqrt" else mean_square(root.required(0))
    if found is None or found[1] is not x or floor * floor < _SMALLEST_NORMAL:
        return None
    mean = found[0].output
    shifted = rewriter.emit("Add", [mean, rewriter.scalar(floor * floor, mean)])
    return rewriter.emit("Div", [x, rewriter.emit("Sqrt", [shifted])])


@MOMENTS.rule("Sub")
def variance_of_differences(node: Node, rewriter: Rewriter) -> Value | None:
    """`mean(x * x) - mean(x) * mean(x)` is the mean of `(x - mean(x))` squared, which loses fewer digits."""
    found, of_mean = mean_square(node.required(0)), node.required(1).producer
    if found is None or of_mean is None or of_mean.key != "Mul":
        return None
    (of_squares, x), mean = found, of_mean.required(0)
    if of_mean.required(1) is not mean or mean.producer is None or mean.producer.key != "ReduceMean":
        return None
    if mean.producer.required(0) is not x or not _same_reduction(of_squares, mean.producer):
        return None
    if not attribute(of_squares, "keepdims"):
        return None
    centred = rewriter.emit("Sub", [x, mean])
    return rewriter.emit("ReduceMean", [rewriter.emit("Mul", [centred, centred]), of_squares.input(1)])


def _same_reduction(first: Node, second: Node) -> bool:
    axes, others = first.input(1), second.input(1)
    if axes is None or others is None or axes.content is None or axes.content != others.content:
        return False
    return bool(attribute(first, "keepdims")) == bool(attribute(second, "keepdims"))


@MOMENTS.rule("Reshape")
def keep_reduced_axes(node: Node, rewriter: Rewriter) -> Value | None:
    """A mean whose axes are put back afterwards keeps them."""
    mean, shape = node.required(0).producer, node.output.type.known_shape
    if mean is None or mean.key != "ReduceMean" or attribute(mean, "keepdims") or shape is None:
        return None
    x, axes = mean.required(0), mean.input(1)
    if axes is None or axes.content is None or x.type.known_shape is None or mean.output.num_uses != 1:
        return None
    reduced = {axis % x.rank for axis in axes.content if isinstance(axis, int)}
    kept = tuple(1 if axis in reduced else dim for axis, dim in enumerate(x.shape))
    return rewriter.emit("ReduceMean", mean.inputs, {"keepdims": 1}) if shape == kept else None


@MOMENTS.rule("InstanceNormalization")
def standardise_instances(node: Node, rewriter: Rewriter) -> Value | None:
    """`InstanceNormalization` of [N, C, size] without scale and bias standardises the last axis."""
    x, scale, bias = (node.required(index) for index in range(3))
    if x.type.known_shape is None or x.rank != 3 or not isinstance(x.shape[-1], int) or not 1 < x.shape[-1] <= _WIDEST:
        return None
    if not (_is_all(scale, 1.0) and _is_all(bias, 0.0)):
        return None
    wide = cast(rewriter, x, DType.FLOAT32) if x.dtype in HALVES else x
    return cast(rewriter, _standardised(wide, float(attribute(node, "epsilon")), rewriter), x.dtype)


def _is_all(value: Value, number: float) -> bool:
    """Whether `value` holds nothing but `number`."""
    node = value.producer
    if node is not None and node.key == "ConstantOfShape":
        return bool(attribute(node, "value") == number)
    if node is not None and node.key == "Expand":
        return scalar_of(node.input(0)) == number
    return is_filled_with(value, number)


def _standardised(x: Value, epsilon: float, rewriter: Rewriter) -> Value:
    last = rewriter.ints([-1])
    centred = rewriter.emit("Sub", [x, rewriter.emit("ReduceMean", [x, last])])
    variance = rewriter.emit("ReduceMean", [rewriter.emit("Mul", [centred, centred]), last])
    shifted = rewriter.emit("Add", [variance, rewriter.scalar(epsilon, variance)])
    return rewriter.emit("Div", [centred, rewriter.emit("Sqrt", [shifted])])
