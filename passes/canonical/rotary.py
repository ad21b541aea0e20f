"""Rotary embedding in the "rotate half" spelling becomes the spelling over halves, the one of its definition.

    x * cos + concat(-x2, x1) * sin  ->  concat(x1 * c - x2 * s, x1 * s + x2 * c)

with x1, x2 the halves of x, and cos = concat(c, c), sin = concat(s, s): the rule finds c and s by walking up from cos
and sin to where they are doubled, through whatever does not mix the last axis.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfgraph.ir.constant import Constant
from tfgraph.ir.dims import Dim, exact_div
from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.ir.transforms import sliced
from tfgraph.passes.canonical.rotary_layouts import HEADS_FIRST, heads_first, picked, ranked, seq_axis
from tfgraph.passes.canonical.views import static_target
from tfgraph.passes.rewrite import Rewriter, RuleSet, scalar_of

ROTARY = RuleSet()

LAST = 2**63 - 1
"""The end of a slice that goes on to the end."""

EACH_ALONE = frozenset({"Cos", "Sin", "Cast", "Neg", "Identity"})


@ROTARY.rule("Add")
def rotate_by_halves(node: Node, rewriter: Rewriter) -> Value | None:
    """Rewrite the "rotate half" spelling; see the module's docstring."""
    for plain, turned in ((node.required(0), node.required(1)), (node.required(1), node.required(0))):
        parts = operands(plain, turned, _rotated)
        if parts is None:
            continue
        x, cos, sin = parts
        cos, sin = ranked(cos, rewriter), ranked(sin, rewriter)
        layout = seq_axis(cos, x)
        if layout is None or layout != seq_axis(sin, x) or cos.shape[3] != x.shape[3] or sin.shape[3] != x.shape[3]:
            continue
        if not isinstance(exact_div(x.shape[-1], 2), int) or not (_is_doubled(cos) and _is_doubled(sin)):
            continue
        return turned_halves(x, _halve(cos, rewriter), _halve(sin, rewriter), layout, rewriter)
    return None


def turned_halves(x: Value, cos: Value, sin: Value, layout: int, rewriter: Rewriter) -> Value:
    """x turned by angles of half its width, as the definition does it; `layout` is `seq_axis`."""
    half = cos.shape[-1]
    width = half if isinstance(half, int) else 0
    heads, (c, s) = heads_first(x, (cos, sin), layout, rewriter)
    first, second = _slice(rewriter, heads, 0, width), _slice(rewriter, heads, width, LAST)
    pair = turn(first, second, batched(c, heads, rewriter), batched(s, heads, rewriter), rewriter)
    result = rewriter.emit("Concat", pair, {"axis": -1})
    return result if layout == 2 else rewriter.emit("Transpose", [result], {"perm": HEADS_FIRST})


def operands(
    plain: Value, turned: Value, rotated: Callable[[Value], Value | None]
) -> tuple[Value, Value, Value] | None:
    """`(x, cos, sin)` of `plain = x * cos` and `turned = r * sin`, where `rotated(r)` is x, of rank 4."""
    left, right = plain.producer, turned.producer
    if left is None or right is None or left.key != "Mul" or right.key != "Mul":
        return None
    for spun, sin in ((right.required(0), right.required(1)), (right.required(1), right.required(0))):
        x = rotated(spun)
        if x is None or x.type.known_shape is None or x.rank != 4:
            continue
        if left.required(0) is x:
            return x, left.required(1), sin
        if left.required(1) is x:
            return x, left.required(0), sin
    return None


def turn(first: Value, second: Value, c: Value, s: Value, rewriter: Rewriter) -> tuple[Value, Value]:
    """`(first * c - second * s, first * s + second * c)`: each pair of features turned by its angle."""
    real = rewriter.emit("Sub", [rewriter.emit("Mul", [first, c]), rewriter.emit("Mul", [second, s])])
    return real, rewriter.emit("Add", [rewriter.emit("Mul", [first, s]), rewriter.emit("Mul", [second, c])])


def negated(value: Value) -> Value | None:
    """The v of `value = -v`, however it is spelt."""
    node = value.producer
    if node is None or node.key not in ("Neg", "Mul"):
        return None
    return node.required(0) if node.key == "Neg" or scalar_of(node.input(1)) == -1.0 else None


def _rotated(value: Value) -> Value | None:
    """The x of `value = concat(-x2, x1)` over the halves of x's last axis."""
    concat = value.producer
    if concat is None or concat.key != "Concat" or len(concat.inputs) != 2 or value.type.known_shape is None:
        return None
    if attribute(concat, "axis") not in (-1, value.rank - 1):
        return None
    second, first = negated(concat.required(0)), concat.required(1)
    if second is None:
        return None
    x, upper = part_of(first)
    other, lower = part_of(second)
    return x if x is not None and x is other and (upper, lower) == (0, 1) else None


def part_of(value: Value) -> tuple[Value | None, int]:
    """`(x, 0)` for the first half of x along the last axis, `(x, 1)` for the second, `(None, -1)` for anything else."""
    node = value.producer
    nothing = (None, -1)
    if node is None or value.type.known_shape is None:
        return nothing
    x = node.required(0)
    if node.key in ("Gather", "Squeeze", "Reshape"):
        return picked(value, -2)
    if x.type.known_shape is None or x.rank != value.rank or x.shape[-1] != value.shape[-1] * 2:
        return nothing
    if node.key == "Split" and len(node.outputs) == 2 and attribute(node, "axis") in (-1, x.rank - 1):
        return x, node.outputs.index(value)
    if node.key != "Slice" or x.shape[:-1] != value.shape[:-1]:
        return nothing
    starts, steps = node.required(1).content, node.input(4)
    if starts is None or len(starts) != 1 or (steps is not None and steps.content != (1,)):
        return nothing
    start: Dim = starts[0]
    if start == 0:
        return x, 0
    return (x, 1) if start in (value.shape[-1], -value.shape[-1]) else nothing


def _slice(rewriter: Rewriter, x: Value, start: int, stop: int) -> Value:
    bounds = [rewriter.ints([number]) for number in (start, stop, x.rank - 1, 1)]
    return rewriter.emit("Slice", [x, *bounds])


def _is_doubled(value: Value) -> bool:
    """Whether the two halves of the last axis are equal."""
    step: Value | bool = value
    while not isinstance(step, bool):
        step = _is_doubled_or_as(step)
    return step


def _is_doubled_or_as(value: Value) -> Value | bool:
    """Whether the halves are equal; or the operand whose halves must be for that."""
    if value.constant is not None:
        return _has_equal_halves(value.constant)
    node = value.producer
    if node is None or value.type.known_shape is None or value.rank == 0:
        return False
    if node.key == "Concat":
        same = len(node.inputs) == 2 and node.input(0) is node.input(1)
        return same and attribute(node, "axis") in (-1, value.rank - 1)
    x = node.required(0)
    if node.key in EACH_ALONE or (node.key in ("Mul", "Add") and scalar_of(node.input(1)) is not None):
        return x
    if x.type.known_shape is None or x.rank == 0 or x.shape[-1] != value.shape[-1]:
        return False
    follows = False
    if node.key == "Reshape":
        half = exact_div(value.shape[-1], 2)
        follows = half is not None and static_target((*x.shape[:-1], half), (*value.shape[:-1], half)) is not None
    elif node.key == "Gather":
        follows = attribute(node, "axis") == 0 and x.rank > 1
    elif node.key == "Slice":
        axes = node.input(3)
        follows = axes is not None and axes.content is not None and not {-1, x.rank - 1} & set(axes.content)
    return x if follows else False


def _has_equal_halves(constant: Constant) -> bool:
    if not constant.has_data or not constant.shape or constant.shape[-1] % 2:
        return False
    array = constant.numpy()
    half = array.shape[-1] // 2
    return bool(np.array_equal(array[..., :half], array[..., half:]))


def _halve(value: Value, rewriter: Rewriter) -> Value:
    """The first half of a value whose halves are equal (`_is_doubled`), computed without the second."""
    path: list[Value] = []  # from the value to where the halves are put together
    while value.constant is None and value.producer is not None and value.producer.key != "Concat":
        path.append(value)
        value = value.producer.required(0)
    if value.constant is not None:
        half = rewriter.constant(sliced(value.constant, -1, 0, value.constant.shape[-1] // 2))
    else:
        half = value if value.producer is None else value.producer.required(0)
    for whole in reversed(path):
        node = whole.producer
        if node is None:
            continue
        if node.key == "Reshape":
            target = static_target(half.shape, (*whole.shape[:-1], half.shape[-1]))
            half = rewriter.emit("Reshape", [half, rewriter.ints(target or [])])
        else:
            half = rewriter.emit(node.key, [half, *node.inputs[1:]], node.attributes)
    return half


def batched(value: Value, x: Value, rewriter: Rewriter) -> Value:
    """[1 or B, 1, S, R] over the batch of x: the operator wants the angles of every sequence."""
    if value.shape[0] == x.shape[0]:
        return value
    angles = rewriter.emit("Reshape", [value, rewriter.ints([1, *_tail(value)])])
    batch = rewriter.emit("Shape", [x], {"start": 0, "end": 1})
    target = rewriter.emit("Concat", [batch, rewriter.ints([1, 1])], {"axis": -1})
    spread = rewriter.emit("Expand", [angles, target])
    final = static_target(spread.shape, (spread.shape[0], 1, *spread.shape[1:]))
    return rewriter.emit("Reshape", [spread, rewriter.ints(final or [])])


def _tail(value: Value) -> list[int]:
    """Seq and half of [1, 1, S, R], as a reshape's target."""
    size = value.shape[-1]
    return [-1, size if isinstance(size, int) else 0]
