"""Layouts of rotary embedding: where the sequence is, how angles are ranked, and the parts of a last axis taken apart.

The definition takes x [batch, heads, seq, head_dim] and angles [batch, 1, seq, half]. The rules are in `rotary.py`,
`rotary_pairs.py` and `rotary_parts.py`.
"""

from __future__ import annotations

from tfgraph.ir.dims import Dim, broadcast_equal
from tfgraph.ir.graph import Value
from tfgraph.ir.optable import attribute
from tfgraph.passes.canonical.views import static_target
from tfgraph.passes.rewrite import Rewriter

HEADS_FIRST = (0, 2, 1, 3)
"""[batch, seq, heads, head_dim] <-> [batch, heads, seq, head_dim]."""


def ranked(angles: Value, rewriter: Rewriter) -> Value:
    """Angles [seq, size] or [1 or batch, seq, size] that broadcast over x [batch, heads, seq, size], in rank 4."""
    shape = angles.type.known_shape
    if shape is None or len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] != 1):
        return angles
    target = static_target(shape, (1, 1, *shape[-2:]))
    return angles if target is None else rewriter.emit("Reshape", [angles, rewriter.ints(target)])


def seq_axis(angles: Value, x: Value) -> int | None:
    """Which axis is the sequence's: 2 for angles [1 or B, 1, S, R], 1 for [1 or B, S, 1, R]; None for other shapes."""
    shape = angles.type.known_shape
    if shape is None or len(shape) != 4 or shape[0] not in (1, x.shape[0]):
        return None
    if shape[1] == 1 and _is_same(shape[2], x.shape[2]):
        return 2
    return 1 if shape[2] == 1 and _is_same(shape[1], x.shape[1]) else None


def _is_same(size: Dim, other: Dim) -> bool:
    return size == other or broadcast_equal(size, other) is not None


def heads_first(
    x: Value, angles: tuple[Value, Value], layout: int, rewriter: Rewriter
) -> tuple[Value, tuple[Value, Value]]:
    """x and its angles with the heads in front of the sequence; `layout` is `seq_axis`."""
    if layout == 2:
        return x, angles
    cos, sin = (_heads_first(value, rewriter) for value in angles)
    return rewriter.emit("Transpose", [x], {"perm": HEADS_FIRST}), (cos, sin)


def _heads_first(angles: Value, rewriter: Rewriter) -> Value:
    """Angles [B, S, 1, R] as [B, 1, S, R]: a view, where one can say so."""
    batch, seq, one, size = angles.shape
    target = static_target(angles.shape, (batch, one, seq, size))
    if target is None:
        return rewriter.emit("Transpose", [angles], {"perm": HEADS_FIRST})
    return rewriter.emit("Reshape", [angles, rewriter.ints(target)])


def picked(value: Value, axis: int) -> tuple[Value | None, int]:
    """`(x, i)` of the i-th of two parts along `axis`: -2 of x as [..., 2, r], or -1 of x as [..., r, 2].

    Where x was never a tensor by itself, it is the tensor of parts, which `joined` puts together.
    """
    node = value.producer
    nothing = (None, -1)
    if node is None or value.type.known_shape is None:
        return nothing
    apart, index = node.required(0), -1
    if node.key == "Gather":
        which, along = node.required(1).content, attribute(node, "axis")
        if which is None or len(which) != 1 or not isinstance(which[0], int) or node.required(1).rank != 0:
            return nothing
        index = which[0] % 2
    elif node.key in ("Reshape", "Squeeze"):  # one part of a split, without the axis that was split
        split = apart.producer
        if split is None or split.key != "Split" or len(split.outputs) != 2:
            return nothing
        index, along, apart = split.outputs.index(apart), attribute(split, "axis"), split.required(0)
    else:
        return nothing
    view = apart.producer
    if view is None or view.key != "Reshape" or apart.type.known_shape is None or not isinstance(along, int):
        return nothing
    x, shape = view.required(0), apart.shape
    rest = tuple(dim for place, dim in enumerate(shape) if place != len(shape) + axis)
    if along not in (axis, len(shape) + axis) or shape[axis] != 2 or value.shape != rest:
        return nothing
    whole = x.type.known_shape == (*shape[:-2], rest[-1] * 2)
    return (x if whole else apart), index


def joined(x: Value, part: Value, rewriter: Rewriter) -> Value:
    """x [..., r * 2] of a `part` [..., r] of it, as `picked` gives it."""
    if x.rank == part.rank:
        return x
    target = static_target(x.shape, (*part.shape[:-1], part.shape[-1] * 2))
    return x if target is None else rewriter.emit("Reshape", [x, rewriter.ints(target)])
