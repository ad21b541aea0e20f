"""Nodes that do nothing, and settings that have two spellings."""

from __future__ import annotations

from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.passes.rewrite import Rewriter, RuleSet

TRIVIAL = RuleSet()

_EXACT_UNDER = {
    # a cast from the first to any of the second and back loses nothing
    DType.BOOL: frozenset(DType),
    DType.FLOAT16: frozenset({DType.FLOAT32, DType.FLOAT64}),
    DType.BFLOAT16: frozenset({DType.FLOAT32, DType.FLOAT64}),
    DType.INT32: frozenset({DType.INT64, DType.FLOAT64}),
    DType.FLOAT32: frozenset({DType.FLOAT64}),
}


@TRIVIAL.rule("Identity", "Dropout")
def drop_identity(node: Node, _rewriter: Rewriter) -> Value | None:
    """`Identity(x)` is x; so is `Dropout(x)`, which is off unless its third operand says otherwise."""
    if len(node.outputs) > 1 or node.input(2) is not None:
        return None
    return node.required(0)


@TRIVIAL.rule("Cast")
def drop_cast(node: Node, rewriter: Rewriter) -> Value | None:
    """A cast to the dtype that the operand has; a cast through a wider dtype and back, or on to a third."""
    x = node.required(0)
    if x.dtype is node.output.dtype:
        return x
    inner = x.producer
    if inner is not None and inner.key == "Cast":
        source = inner.required(0)
        if x.dtype in _EXACT_UNDER.get(source.dtype, frozenset()):
            if source.dtype is node.output.dtype:
                return source
            return rewriter.emit("Cast", [source], {"to": node.output.dtype.value})
    return None


@TRIVIAL.rule("Expand")
def drop_expand(node: Node, _rewriter: Rewriter) -> Value | None:
    """An expansion to the shape that the operand has."""
    x = node.required(0)
    return x if x.type.known_shape is not None and x.type.known_shape == node.output.type.known_shape else None


@TRIVIAL.rule("Add", "Sub", "Mul", "Div", "Where", "And", "Or", "Max", "Min")
def drop_expanded_operand(node: Node, rewriter: Rewriter) -> Value | None:
    """An operand that is expanded to the shape that another operand has anyway need not be."""
    shape = node.output.type.known_shape
    for index, operand in enumerate(node.inputs):
        expansion = None if operand is None else operand.producer
        if shape is None or expansion is None or expansion.key != "Expand":
            continue
        others = [other for place, other in enumerate(node.inputs) if place != index and other is not None]
        if any(other.type.known_shape == shape for other in others):
            inputs = [*node.inputs[:index], expansion.required(0), *node.inputs[index + 1 :]]
            return rewriter.emit(node.key, inputs, node.attributes)
    return None


@TRIVIAL.rule("Add", "Sub", "Mul", "Div", "Where", "And", "Or", "Max", "Min")
def drop_filled_operand(node: Node, rewriter: Rewriter) -> Value | None:
    """An operand filled with one number, in the shape that another operand has anyway, is that number."""
    shape = node.output.type.known_shape
    for index, operand in enumerate(node.inputs):
        filling = None if operand is None else operand.producer
        if shape is None or operand is None or filling is None or filling.key != "ConstantOfShape":
            continue
        others = [other for place, other in enumerate(node.inputs) if place != index and other is not None]
        if any(other.type.known_shape == shape for other in others):
            fill = attribute(filling, "value")
            if not isinstance(fill, int | float):
                return None
            number = rewriter.scalar(fill, operand)
            return rewriter.emit(node.key, [*node.inputs[:index], number, *node.inputs[index + 1 :]], node.attributes)
    return None


@TRIVIAL.rule("Concat", "Sum", "Max", "Min", "Mean")
def drop_single(node: Node, _rewriter: Rewriter) -> Value | None:
    """A concatenation, sum, maximum, minimum or mean of one operand."""
    return node.required(0) if len(node.inputs) == 1 else None


@TRIVIAL.rule("Add", "Sub", "Mul", "Div")
def vector_operand(node: Node, rewriter: Rewriter) -> Value | None:
    """A constant [1, 1, size] beside a tensor of at least as many axes is a vector [size]."""
    x, constant = node.required(0), node.required(1)
    if x.type.known_shape is None or constant.constant is None or constant.rank < 2 or x.rank < constant.rank:
        return None
    *leading, size = constant.shape
    if any(dim != 1 for dim in leading) or size == 1:
        return None
    vector = rewriter.emit("Reshape", [constant, rewriter.ints([-1])])
    return rewriter.emit(node.key, [x, vector], node.attributes)


@TRIVIAL.rule("Slice")
def drop_slice(node: Node, _rewriter: Rewriter) -> Value | None:
    """A slice that keeps everything in order."""
    x = node.required(0)
    steps = node.input(4)
    forward = steps is None or (steps.content is not None and all(step == 1 for step in steps.content))
    same = x.type.known_shape is not None and x.type.known_shape == node.output.type.known_shape
    return x if same and forward else None


@TRIVIAL.rule("Softmax", "LogSoftmax", "Concat", "Split", "LayerNormalization", "RMSNormalization")
def count_axis_from_end(node: Node, rewriter: Rewriter) -> tuple[Value, ...] | None:
    """An axis is written as a negative number, so that patterns do not depend on the rank."""
    axis = attribute(node, "axis")
    value = node.required(0)
    if axis is None or axis < 0 or value.type.known_shape is None:
        return None
    return rewriter.emit_all(node.key, node.inputs, {**node.attributes, "axis": axis - value.rank}, len(node.outputs))


@TRIVIAL.rule("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2", "ReduceSumSquare")
def count_axes_from_end(node: Node, rewriter: Rewriter) -> Value | None:
    """The axes of a reduction are written as ascending negative numbers."""
    x, axes = node.required(0), node.input(1)
    if axes is None or axes.content is None or x.type.known_shape is None:
        return None
    given = [axis for axis in axes.content if isinstance(axis, int)]
    wanted = sorted(axis if axis < 0 else axis - x.rank for axis in given)
    if len(given) != len(axes.content) or given == wanted:
        return None
    return rewriter.emit(node.key, [x, rewriter.ints(wanted)], node.attributes)


@TRIVIAL.rule("Split")
def split_evenly(node: Node, rewriter: Rewriter) -> tuple[Value, ...] | None:
    """A split into equal parts says how many, not how large."""
    sizes = node.input(1)
    if sizes is None or sizes.content is None or len(set(sizes.content)) != 1:
        return None
    count = len(sizes.content)
    return rewriter.emit_all("Split", [node.required(0)], {**node.attributes, "num_outputs": count}, count)


@TRIVIAL.rule("GlobalAveragePool")
def pool_is_mean(node: Node, rewriter: Rewriter) -> Value | None:
    """`GlobalAveragePool` is the mean over all axes but the first two."""
    x = node.required(0)
    if x.type.known_shape is None or x.rank < 3:
        return None
    return rewriter.emit("ReduceMean", [x, rewriter.ints(range(2 - x.rank, 0))])
