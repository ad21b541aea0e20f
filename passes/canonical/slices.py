"""Slices name only the axes that they cut: exporters of array languages name all of them, most with their whole range.

x[0:end, 1:end:2] over axes 0 and 3, with axis 0 whole  ->  x[1:end:2] over axis 3
"""

from __future__ import annotations

from tfgraph.ir.graph import Node, Value
from tfgraph.passes.rewrite import Rewriter, RuleSet

SLICES = RuleSet()


@SLICES.rule("Slice")
def drop_whole_axes(node: Node, rewriter: Rewriter) -> Value | None:
    """A slice of several axes of which some are kept whole, in order, is one of the others."""
    x, result = node.required(0), node.output
    if x.type.known_shape is None or result.type.known_shape is None:
        return None
    parts = [_integers(node.input(index)) for index in range(1, len(node.inputs))]
    if len(parts) < 3 or any(part is None for part in parts[:3]):
        return None
    starts, ends, axes = (part or [] for part in parts[:3])
    steps = [1] * len(starts) if node.input(4) is None else parts[3]
    if steps is None:
        return None
    kept = [
        place
        for place, (axis, start, step) in enumerate(zip(axes, starts, steps, strict=True))
        if start != 0 or step != 1 or x.shape[axis] != result.shape[axis]
    ]
    if not kept or len(kept) == len(axes):
        return None
    columns = [[column[place] for place in kept] for column in (starts, ends, axes, steps)]
    return rewriter.emit("Slice", [x, *(rewriter.ints(column) for column in columns)])


def _integers(value: Value | None) -> list[int] | None:
    """The elements of a vector of known integers; None where they are not known."""
    if value is None or value.content is None:
        return None
    found = [element for element in value.content if isinstance(element, int)]
    return found if len(found) == len(value.content) else None
