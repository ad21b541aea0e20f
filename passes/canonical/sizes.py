"""Sizes: a number that is the size of an input's axis is read off that input, however an exporter came by it.

So chains of `Shape`, `Gather`, `Cast` and the like on intermediate values die, and those values are free to be fused.
"""

from __future__ import annotations

from tfgraph.ir.dims import Dim
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.passes.rewrite import Rewriter, RuleSet

SIZES = RuleSet()

_PICKS = ("Gather", "Slice", "Squeeze", "Unsqueeze", "Reshape", "Cast", "ReduceProd", "Shape")


@SIZES.rule(*_PICKS)
def size_of_input(node: Node, rewriter: Rewriter) -> Value | None:
    """A known size is `Shape(input)` at one axis, cast and squeezed where it must be."""
    value = node.output
    content = value.content
    if content is None or len(content) != 1 or not value.dtype.is_integer or isinstance(content[0], int):
        return None
    found = axis_of_input(rewriter.graph, content[0])
    if found is None or _comes_from(node, found[0]):
        return None
    given, axis = found
    size = rewriter.emit("Shape", [given], {"start": axis, "end": axis + 1})
    if value.dtype is not size.dtype:
        size = rewriter.emit("Cast", [size], {"to": value.dtype.value})
    return size if value.rank == 1 else rewriter.emit("Squeeze", [size, rewriter.ints([0])])


def axis_of_input(graph: Graph, dim: Dim) -> tuple[Value, int] | None:
    """The first input of the graph with an axis of size `dim`, and that axis."""
    for given in graph.inputs.values():
        if given.type.known_shape is not None and dim in given.shape:
            return given, given.shape.index(dim)
    return None


def _comes_from(node: Node, given: Value) -> bool:
    """Whether `node` already is part of what `size_of_input` makes."""
    while node.key in ("Squeeze", "Cast"):
        inner = node.required(0).producer
        if inner is None:
            return False
        node = inner
    return node.key == "Shape" and node.required(0) is given and len(node.output.content or ()) == 1


def size_vector(rewriter: Rewriter, value: Value, axis: int) -> Value:
    """The size of an axis as an int64 vector of one, read off an input of the graph where one has it.

    So all layers expand one mask in the same way, and the expansion is done once.
    """
    dim = value.shape[axis]
    if isinstance(dim, int):
        return rewriter.ints([dim])
    source, at = axis_of_input(rewriter.graph, dim) or (value, axis)
    return rewriter.emit("Shape", [source], {"start": at, "end": at + 1})
