"""How far garbage at padded places spreads: whether what matters of a graph's results is free of it.

Where packed rows are put back into their places, padding gets other numbers than it had. That does no harm where an
attention's mask hides them, where they are multiplied by 0, where only real places are picked, and where they end in
an output, at padding. Anything else that reads them is a reason not to pack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.optable import find_spec
from tfgraph.passes.unpad.padding import Padding
from tfgraph.passes.unpad.region import exits
from tfgraph.passes.unpad.rows import NORMS, RowPlan, plan_of

_ALONG_FEATURES: Final = frozenset({"Split", "Concat", "Slice", "Softmax", "LogSoftmax", *NORMS})


@dataclass
class Spread:
    """What follows from putting rows back.

    Attributes:
        zeroed: rows to put back with zeros at padding, rather than with the numbers of some token.
        outputs: the graph's outputs that have such numbers at padding, each with the axis that counts places.
        places: places of each text, counted from its end where negative, that must be kept though they be padding.
        harm: the nodes that padding would harm, each with how.
    """

    zeroed: set[Value] = field(default_factory=set)
    outputs: dict[str, int] = field(default_factory=dict)
    places: set[int] = field(default_factory=set)
    harm: list[tuple[Node, str]] = field(default_factory=list)


def spread_of(graph: Graph, chosen: Mapping[Node, RowPlan], padding: Padding) -> Spread:
    """What follows from packing the nodes `chosen`."""
    spread = Spread()
    dirty: dict[Value, int] = {}  # value -> the axis that counts its places, garbage at padding
    for value, readers in exits(chosen).items():
        known = padding.at(value)
        if (value.is_output and not readers) or (known is not None and known.number == 0):
            spread.zeroed.add(value)
        else:
            dirty[value] = 1 if value.shape[0] == padding.batch else 0
    for node in graph:
        if node in chosen or not any(operand in dirty for operand in node.inputs if operand is not None):
            continue
        axes = {operand: dirty[operand] for operand in node.inputs if operand is not None and operand in dirty}
        found = _after(node, axes, padding, spread)
        if isinstance(found, str):
            spread.harm.append((node, found))
        else:
            dirty |= found
    for name, value in graph.outputs.items():
        if value in dirty:
            spread.outputs[name] = dirty[value]
            if dirty[value] == 0 and value.producer is not None:
                spread.harm.append((value.producer, "its tokens are an output, without the axis of the texts"))
    return spread


_Dirty = dict[Value, int]


def _after(node: Node, axes: _Dirty, padding: Padding, spread: Spread) -> _Dirty | str:
    """The results of `node` that have garbage at padding, given which operands do; or what is wrong with that."""
    known = padding.at(node.output)
    if known is not None and known.number == 0 and node.key in ("Mul", "Where"):
        return {}
    if node.key == "Attention":
        return _after_attention(node, axes, padding)
    if node.key in ("Gather", "Slice"):
        picked = _picked(node, axes)
        if picked is not None:
            spread.places.update(picked)
            return {}
    spec = find_spec(node.key)
    if node.key == "RotaryEmbedding" and set(axes) == {node.required(0)}:
        return {node.output: axes[node.required(0)]}
    if spec is not None and spec.elementwise:
        return _after_elementwise(node, axes, padding)
    if node.key in _ALONG_FEATURES:
        return _after_features(node, axes)
    if node.key in ("Reshape", "Transpose"):
        return _after_view(node, axes[node.required(0)], padding)
    plan = plan_of(node, padding)
    if plan is None or not all(plan.results):
        return f"{node.key} reads the places of padding"
    return dict.fromkeys(node.outputs, 1 if node.output.shape[0] == padding.batch else 0)


def _after_attention(node: Node, axes: _Dirty, padding: Padding) -> _Dirty | str:
    query, key, value, mask, *past = (node.input(index) for index in range(6))
    folded = query is not None and query.rank == 3
    if any(operand in axes for operand in (mask, *past) if operand is not None):
        return "its mask, or its cache, is made of what stands at padding"
    if any(axes.get(operand, 1 if folded else 2) != (1 if folded else 2) for operand in axes):
        return "its operands have their tokens on another axis than the one that it reads"
    if any(past):
        return "it has keys and values of earlier tokens, whose texts are not this batch's"
    if (key in axes or value in axes) and not padding.is_hidden(mask):
        return "its mask does not hide the tokens at which the batch's mask is 0"
    if len(node.outputs) > 1 and any(result.num_uses for result in node.outputs[1:]):
        return "its keys and values are given out, padding and all"
    return {node.output: 1 if folded else 2} if query in axes else {}


def _picked(node: Node, axes: _Dirty) -> list[int] | None:
    """The places that `node` picks out of each text, if it picks fixed ones."""
    data = node.required(0)
    if set(axes) != {data} or axes[data] != 1:
        return None
    if node.key == "Gather":
        places = node.required(1).type.content
        fixed = places is not None and node.attributes.get("axis", 0) in (1, 1 - data.rank)
        return [place for place in places or () if isinstance(place, int)] if fixed else None
    starts, ends, over, steps = (_numbers(node.input(index)) for index in range(1, 5))
    if starts is None or ends is None or over not in ([1], [1 - data.rank]) or steps not in (None, [1]):
        return None
    start, end = starts[0], ends[0] if ends[0] < 2**31 - 1 else 0
    same_side = (start >= 0 and end > start) or (start < 0 and start < end <= 0)
    return list(range(start, end)) if same_side and end - start <= 8 else None


def _numbers(value: Value | None) -> list[int] | None:
    """The elements of a small tensor of integers, if all are known."""
    content = None if value is None else value.type.content
    found = [dim for dim in content or () if isinstance(dim, int)]
    return found if content is not None and len(found) == len(content) else None


def _after_elementwise(node: Node, axes: _Dirty, padding: Padding) -> _Dirty | str:
    rank = node.output.rank
    if node.key == "Where":
        test = padding.at(node.required(0))
        chosen = None if test is None or test.number is None else node.required(1 if test.number else 2)
        if chosen is not None and chosen not in axes:
            return {}  # garbage is not what is chosen
    if len(set(axes.values())) != 1 or any(operand.rank != rank for operand in axes):
        return f"{node.key} broadcasts the places of padding over others"
    return {node.output: next(iter(axes.values()))}


def _after_features(node: Node, axes: _Dirty) -> _Dirty | str:
    """An operator along another axis than that of the tokens."""
    (axis, *others) = set(axes.values())
    rank = node.output.rank
    default = 0 if node.key == "Split" else -1
    if node.key == "Slice":
        along = _numbers(node.input(3)) or [axis]
    else:
        given = node.attributes.get("axis", default)
        along = [given if isinstance(given, int) else axis]
    if others or 0 in {one % rank for one in along} or axis in {one % rank for one in along}:
        return f"{node.key} works along the axis of the tokens"
    return dict.fromkeys(node.outputs, axis)


def _after_view(node: Node, axis: int, padding: Padding) -> _Dirty | str:
    before, after = node.required(0).type.known_shape, node.output.type.known_shape
    if before is None or after is None:
        return f"{node.key} gives it a shape that is not known"
    if node.key == "Transpose":
        perm = node.attributes.get("perm")
        order = list(perm) if isinstance(perm, tuple | list) else list(reversed(range(len(before))))
        if order[0] != 0:
            return "Transpose moves the axis of the texts"
        return {node.output: order.index(axis)}
    if axis <= 1 and after[:2] == (padding.batch, padding.length):
        return {node.output: 1}
    if axis <= 1 and after and after[0] == padding.batch * padding.length:
        return {node.output: 0}
    if before[: axis + 1] == after[: axis + 1]:
        return {node.output: axis}
    return f"Reshape mixes the places of padding with others: {format_shape(before)} to {format_shape(after)}"
