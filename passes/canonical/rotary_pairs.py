"""Rotary embedding in the "rotate every two" spelling becomes the spelling over pairs, the one of its definition.

    x * cos + stack(-x[1::2], x[0::2]) * sin  ->  stack(a * c - b * s, a * s + b * c)

with a = x[0::2] and b = x[1::2], and cos and sin of which neighbours are equal: the rule finds c and s by walking up
to where each element is repeated. x is [batch, heads, seq, head_dim], or [batch, seq, heads, head_dim], which is
transposed and back.
"""

from __future__ import annotations

import numpy as np

from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.ir.transforms import reshaped, sliced
from tfgraph.passes.canonical.rotary import EACH_ALONE, LAST, batched, negated, operands, turn
from tfgraph.passes.canonical.rotary_layouts import HEADS_FIRST, heads_first, picked, ranked, seq_axis
from tfgraph.passes.canonical.views import static_target
from tfgraph.passes.rewrite import Rewriter, RuleSet, scalar_of

ROTARY_PAIRS = RuleSet()

_MOST_STEPS = 8


@ROTARY_PAIRS.rule("Add")
def rotate_by_pairs(node: Node, rewriter: Rewriter) -> Value | None:
    """Rewrite the "rotate every two" spelling; see the module's docstring."""
    for plain, turned in ((node.required(0), node.required(1)), (node.required(1), node.required(0))):
        parts = operands(plain, turned, _rotated)
        if parts is None:
            continue
        x, cos, sin = parts
        cos, sin = ranked(cos, rewriter), ranked(sin, rewriter)
        layout = seq_axis(cos, x)
        if layout is None or layout != seq_axis(sin, x) or cos.shape[3] != x.shape[3] or sin.shape[3] != x.shape[3]:
            continue
        if not isinstance(x.shape[-1], int) or not (_is_paired(cos) and _is_paired(sin)):
            continue
        return turned_pairs(x, _thin(cos, rewriter), _thin(sin, rewriter), layout, rewriter)
    return None


def turned_pairs(x: Value, cos: Value, sin: Value, layout: int, rewriter: Rewriter) -> Value:
    """x turned by angles of half its width, as the definition over pairs does it; `layout` is `seq_axis`."""
    width = x.shape[-1] if isinstance(x.shape[-1], int) else 0
    heads, (c, s) = heads_first(x, (cos, sin), layout, rewriter)
    c, s = (batched(value, heads, rewriter) for value in (c, s))
    pair = turn(_slice(rewriter, heads, 0), _slice(rewriter, heads, 1), c, s, rewriter)
    apart = [rewriter.emit("Reshape", [part, rewriter.ints([0, 0, 0, 0, 1])]) for part in pair]
    result = rewriter.emit("Reshape", [rewriter.emit("Concat", apart, {"axis": -1}), rewriter.ints([0, 0, 0, width])])
    return result if layout == 2 else rewriter.emit("Transpose", [result], {"perm": HEADS_FIRST})


def _rotated(value: Value) -> Value | None:
    """The x of `value = Reshape(stack(-x[1::2], x[0::2]))` along x's last axis."""
    view = value.producer
    concat = view.required(0).producer if view is not None and view.key in ("Reshape", "Flatten") else None
    if concat is None or concat.key != "Concat" or len(concat.inputs) != 2 or value.type.known_shape is None:
        return None
    if concat.output.type.known_shape is None or concat.output.rank != value.rank + 1:
        return None
    if attribute(concat, "axis") not in (-1, value.rank) or concat.output.shape[:-2] != value.shape[:-1]:
        return None
    minus, plus = (unstacked(concat.required(index)) for index in (0, 1))
    odd = None if minus is None else negated(minus)
    if plus is None or odd is None:
        return None
    (x, first), (other, second) = every_second(plus), every_second(odd)
    return x if x is not None and x is other and (first, second) == (0, 1) and x.type == value.type else None


def unstacked(value: Value) -> Value | None:
    """The v of `value = v[..., None]`."""
    node = value.producer
    if node is None or node.key not in ("Reshape", "Unsqueeze") or value.type.known_shape is None:
        return None
    inner = node.required(0)
    return inner if inner.type.known_shape is not None and (*inner.shape, 1) == value.shape else None


def every_second(value: Value) -> tuple[Value | None, int]:
    """`(x, start)` of `value = x[..., start::2]`, for an even last axis of x."""
    node = value.producer
    if node is not None and node.key in ("Gather", "Squeeze", "Reshape"):
        return picked(value, -1)
    if node is None or node.key != "Slice" or value.type.known_shape is None:
        return None, -1
    x, starts, steps, axes = node.required(0), node.required(1).content, node.input(4), node.input(3)
    if x.type.known_shape is None or x.shape[-1] != value.shape[-1] * 2 or x.shape[:-1] != value.shape[:-1]:
        return None, -1
    if steps is None or steps.content != (2,) or axes is None or axes.content not in ((-1,), (x.rank - 1,)):
        return None, -1
    return (x, starts[0]) if starts is not None and starts[0] in (0, 1) and isinstance(starts[0], int) else (None, -1)


def _slice(rewriter: Rewriter, x: Value, start: int) -> Value:
    return rewriter.emit("Slice", [x, *(rewriter.ints([number]) for number in (start, LAST, x.rank - 1, 2))])


def _repeated_of(value: Value) -> Value | None:
    """The v [..., r] of `value` [..., 2 r], each of whose elements is written twice in a row."""
    view = value.producer
    wide = view.required(0) if view is not None and view.key == "Reshape" else None
    node = None if wide is None else wide.producer
    if wide is None or node is None or wide.type.known_shape is None or wide.rank < 2 or wide.shape[-1] != 2:
        return None
    half = wide.shape[-2]
    if not isinstance(half, int) or half * 2 != value.shape[-1]:
        return None
    if static_target((*wide.shape[:-2], half), (*value.shape[:-1], half)) is None:
        return None
    if node.key == "Concat":
        same = (
            len(node.inputs) == 2 and node.input(0) is node.input(1) and attribute(node, "axis") in (-1, wide.rank - 1)
        )
        return node.required(0) if same else None
    x = node.required(0)
    if node.key not in ("Expand", "Tile") or x.type.known_shape is None:
        return None
    return x if x.shape == (*wide.shape[:-1], 1) else None


def _is_paired(value: Value, steps: int = _MOST_STEPS) -> bool:
    """Whether elements 2 i and 2 i + 1 of the last axis are equal."""
    if value.constant is not None:
        constant = value.constant
        if not constant.has_data or not constant.shape or constant.shape[-1] % 2:
            return False
        array = constant.numpy()
        return bool(np.array_equal(array[..., 0::2], array[..., 1::2]))
    node = value.producer
    if node is None or steps == 0 or value.type.known_shape is None or value.rank == 0:
        return False
    if _repeated_of(value) is not None:
        return True
    x = node.required(0) if node.inputs and node.inputs[0] is not None else None
    if x is None or x.type.known_shape is None or x.rank == 0 or x.shape[-1] != value.shape[-1]:
        return False
    if node.key in EACH_ALONE or (node.key in ("Mul", "Add") and scalar_of(node.input(1)) is not None):
        return _is_paired(x, steps - 1)
    if node.key == "Reshape":
        size = value.shape[-1]
        half = size // 2 if isinstance(size, int) else None
        fits = half is not None and static_target((*x.shape[:-1], half), (*value.shape[:-1], half)) is not None
        return fits and _is_paired(x, steps - 1)
    if node.key == "Slice":
        axes = node.input(3)
        along = None if axes is None else axes.content
        return along is not None and not {-1, x.rank - 1} & set(along) and _is_paired(x, steps - 1)
    return node.key == "Gather" and attribute(node, "axis") == 0 and x.rank > 1 and _is_paired(x, steps - 1)


def _thin(value: Value, rewriter: Rewriter) -> Value:
    """Every second element of a value that `_is_paired`, computed without the others."""
    if value.constant is not None:
        shape = value.constant.shape
        pairs = sliced(reshaped(value.constant, (*shape[:-1], shape[-1] // 2, 2)), -1, 0, 1)
        return rewriter.constant(reshaped(pairs, (*shape[:-1], shape[-1] // 2)))
    node = value.producer
    if node is None:
        return value
    repeated = _repeated_of(value)
    inner = repeated if repeated is not None else _thin(node.required(0), rewriter)
    if repeated is not None or node.key == "Reshape":
        size = value.shape[-1]
        half = size // 2 if isinstance(size, int) else 0
        target = static_target(inner.shape, (*value.shape[:-1], half))
        return rewriter.emit("Reshape", [inner, rewriter.ints(target or [])])
    return rewriter.emit(node.key, [inner, *node.inputs[1:]], node.attributes)
