"""Parts of a tensor and padding around it: Slice, Split, Pad."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfgraph.errors import DTypeError, ShapeError
from tfgraph.ir.constant import Array
from tfgraph.ir.dim_text import format_dim, format_shape
from tfgraph.ir.dims import Dim, Shape, floordiv, is_at_least, maximum, minimum
from tfgraph.ir.ops.contents import Content
from tfgraph.ir.ops.rules import at_least, integer_content, known_length, normalize_axes, normalize_axis
from tfgraph.ir.optable import Operands
from tfgraph.ir.primitive import INDEX, MOVABLE, primitive


def _slice_axes(given: Operands) -> tuple[int, ...] | None:
    rank = len(given.shape(0))
    if not given.has(3):
        return tuple(range(known_length(given, 1)))
    axes = integer_content(given, 3)
    return None if axes is None else normalize_axes(given.key, axes, rank)


def _slice_shape(given: Operands) -> Shape:
    shape = list(given.shape(0))
    count = known_length(given, 1)
    axes = _slice_axes(given)
    if axes is None:
        return tuple(given.fresh(axis) for axis in range(len(shape)))
    if len(axes) != count or count > len(shape):
        raise ShapeError(
            f"Slice of {format_shape(tuple(shape))} was given {count} starts for {len(axes)} axes: expected one each"
        )
    starts, ends = given.content(1), given.content(2)
    steps = integer_content(given, 4) if given.has(4) else (1,) * count
    for position, axis in enumerate(axes):
        length = None
        if steps is not None and starts is not None and ends is not None:
            length = sliced_length(shape[axis], starts[position], ends[position], steps[position])
        shape[axis] = given.fresh(axis) if length is None else length
    return tuple(shape)


def sliced_length(dim: Dim, start: Dim, end: Dim, step: int) -> Dim | None:
    """The length of `[start:end:step]` of an axis of size `dim`; None where it cannot be told.

    Raises:
        ShapeError: a step of 0.
    """
    if step == 0:
        raise ShapeError("Slice was given a step of 0: expected any other integer")
    if isinstance(dim, int) and isinstance(start, int) and isinstance(end, int):
        return len(range(*_bounds(dim, start, end, step)))
    if step < 0:
        whole = isinstance(start, int) and isinstance(end, int) and _is_last(start) and end <= -_UNBOUNDED
        return floordiv(dim - step - 1, -step) if whole else None
    first, last = _clamped(dim, start), _clamped(dim, end)
    if first is None or last is None:
        return None
    length = last - first
    if last != dim and first != 0:
        length = maximum(length, 0)
    return length if step == 1 else floordiv(length + (step - 1), step)


_UNBOUNDED = 10**9  # no axis is so long: what exporters write for "to the end" is this or beyond it


def _is_last(start: int) -> bool:
    return start == -1 or start >= _UNBOUNDED


def _clamped(dim: Dim, place: Dim) -> Dim | None:
    """`place` counted from the front and brought into `[0, dim]`; None where its sign is not known."""
    if isinstance(place, int) and place >= _UNBOUNDED:
        return dim
    if isinstance(place, int) and place <= -_UNBOUNDED:
        return 0
    if at_least(place, 0):
        return minimum(place, dim)
    if is_at_least(-place, 1):
        return maximum(dim + place, 0)
    return None


def _bounds(dim: int, start: int, end: int, step: int) -> tuple[int, int, int]:
    """The arguments of `range` for the elements that a slice takes.

    As in Python, except that a start before the first element is the first one, even where the step is negative.
    """
    first, last = (place + dim if place < 0 else place for place in (start, end))
    if step > 0:
        return min(max(first, 0), dim), min(max(last, 0), dim), step
    return min(max(first, 0), dim - 1), min(max(last, -1), dim - 1), step


def _slice_content(given: Operands) -> Content | None:
    content = given.content(0)
    starts, ends = integer_content(given, 1), integer_content(given, 2)
    steps = integer_content(given, 4) if given.has(4) else (1,)
    if content is None or not starts or not ends or not steps or not given.shape(0):
        return None
    return tuple(content[place] for place in range(*_bounds(len(content), starts[0], ends[0], steps[0])))


def _slice(data: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None) -> Any:
    index = [slice(None)] * data.ndim
    over = range(len(starts)) if axes is None else axes
    strides = np.ones_like(starts) if steps is None else steps
    for axis, start, end, step in zip(over, starts, ends, strides, strict=True):
        first, last, stride = _bounds(data.shape[int(axis)], int(start), int(end), int(step))
        index[int(axis)] = slice(first, None if last < 0 else last, stride)
    return data[tuple(index)]


def _split_lengths(given: Operands) -> tuple[int, Shape]:
    """The axis and the lengths of the parts along it."""
    shape = given.shape(0)
    axis = normalize_axis(given.key, given.attributes["axis"], len(shape))
    dim = shape[axis]
    if given.has(1):
        count = known_length(given, 1)
        lengths = given.content(1)
        if lengths is None:
            return axis, tuple(given.fresh(part) for part in range(count))
        total: Dim = sum(lengths, start=0)
        if isinstance(total, int) and isinstance(dim, int) and total != dim:
            raise ShapeError(
                f"Split of {format_shape(shape)} at axis {axis} into {format_shape(lengths)}: "
                f"the parts add up to {total}, expected {dim}"
            )
        return axis, lengths
    count = given.attributes["num_outputs"]
    if count is None:
        raise DTypeError("Split needs its operand 'split' or its attribute 'num_outputs'")
    part = floordiv(dim + (count - 1), count)
    if isinstance(dim, int) and dim - part * (count - 1) <= 0:
        raise ShapeError(f"Split of {format_shape(shape)} at axis {axis} into {count} parts of {part}: nothing is left")
    return axis, (*(part for _ in range(count - 1)), dim - part * (count - 1))


def _split_shapes(given: Operands) -> list[Shape]:
    shape = given.shape(0)
    axis, lengths = _split_lengths(given)
    if len(lengths) != given.num_outputs:
        raise ShapeError(f"Split gives {len(lengths)} parts, and {given.num_outputs} results were asked for")
    return [(*shape[:axis], length, *shape[axis + 1 :]) for length in lengths]


def _split_content(given: Operands) -> list[Content] | None:
    content = given.content(0)
    _, lengths = _split_lengths(given)
    if content is None or not all(isinstance(length, int) for length in lengths):
        return None
    parts: list[Content] = []
    for length in lengths:
        size = length if isinstance(length, int) else 0
        parts.append(content[:size])
        content = content[size:]
    return parts


def _split(data: Array, split: Array | None = None, *, axis: int, num_outputs: int | None) -> tuple[Array, ...]:
    if split is None:
        count = num_outputs or 1
        part = -(-data.shape[axis] // count)
        places = [part * index for index in range(1, count)]
    else:
        places = np.cumsum(split)[:-1].tolist()
    return tuple(np.split(data, places, axis=axis))


def _pads(given: Operands) -> list[tuple[Dim, Dim]] | None:
    """What is added before and after each axis; None where it is not known."""
    rank = len(given.shape(0))
    axes: tuple[int, ...] | None = tuple(range(rank))
    if given.has(3):
        content = integer_content(given, 3)
        axes = None if content is None else normalize_axes(given.key, content, rank)
    pads = given.content(1)
    if axes is None or pads is None:
        return None
    if len(pads) != 2 * len(axes):
        raise ShapeError(f"Pad was given {len(pads)} pads for {len(axes)} axes: expected {2 * len(axes)}")
    amounts: list[tuple[Dim, Dim]] = [(0, 0)] * rank
    for position, axis in enumerate(axes):
        amounts[axis] = (pads[position], pads[position + len(axes)])
    return amounts


def _pad_shape(given: Operands) -> Shape:
    if given.attributes["mode"] not in _PAD_MODES:
        raise DTypeError(f"Pad was given mode={given.attributes['mode']!r}: expected one of {', '.join(_PAD_MODES)}")
    shape = given.shape(0)
    amounts = _pads(given)
    if amounts is None:
        return tuple(given.fresh(axis) for axis in range(len(shape)))
    result = tuple(dim + before + after for dim, (before, after) in zip(shape, amounts, strict=True))
    for axis, dim in enumerate(result):
        if isinstance(dim, int) and dim < 0:
            before, after = (format_dim(amount) for amount in amounts[axis])
            raise ShapeError(f"Pad of {format_shape(shape)} by {before} and {after} at axis {axis}: nothing is left")
    return result


_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def _pad(data: Array, pads: Array, constant_value: Array | None = None, axes: Array | None = None, *, mode: str) -> Any:
    over = range(data.ndim) if axes is None else [int(axis) for axis in axes]
    amounts = [(0, 0)] * data.ndim
    index = [slice(None)] * data.ndim
    for position, axis in enumerate(over):
        before, after = int(pads[position]), int(pads[position + len(over)])
        amounts[axis] = (max(before, 0), max(after, 0))
        index[axis] = slice(max(-before, 0), data.shape[axis] - max(-after, 0))  # a negative pad cuts
    cut = data[tuple(index)]
    if mode == "constant":
        fill = data.dtype.type(0) if constant_value is None else constant_value.reshape(()).item()
        return np.pad(cut, amounts, mode="constant", constant_values=fill)
    return np.pad(cut, amounts, mode=mode)  # type: ignore[call-overload]


primitive(
    "Slice", "data:T starts:I ends:I axes?:I steps?:I -> output:T", shape=_slice_shape, reference=_slice, since=10,
    content=_slice_content, T=MOVABLE, I=INDEX,
)  # fmt: skip
primitive(
    "Split", "input:T split?:int64 -> outputs*:T", shape=_split_shapes, reference=_split, since=18,
    content=_split_content,
    attributes={"axis": 0, "num_outputs": None}, T=MOVABLE,
)  # fmt: skip
primitive(
    "Pad", "data:T pads:int64 constant_value?:T axes?:I -> output:T", shape=_pad_shape, reference=_pad, since=18,
    attributes={"mode": "constant"}, I=INDEX,
)  # fmt: skip
