"""What convolutions and pools share: padding, the size of the result, and the windows of an array.

Nothing here registers an operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tfgraph.errors import DTypeError, ShapeError
from tfgraph.ir.constant import Array
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Dim, Shape, floordiv, minimum
from tfgraph.ir.ops.rules import known_sizes
from tfgraph.ir.optable import Operands

_AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


class Window(NamedTuple):
    """How the window of an operator moves along the spatial axes, one number an axis."""

    key: str
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]  # all beginnings, then all ends
    auto_pad: str
    ceil: bool

    def extent(self, axis: int) -> int:
        """The elements from the first to the last one under the window."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1


def window(given: Operands, kernel: Sequence[int]) -> Window:
    """The window that the attributes of a convolution or pool describe.

    Raises:
        ShapeError: attributes that do not have one number a spatial axis.
        DTypeError: an `auto_pad` that is none.
    """
    return make_window(given.key, len(given.shape(0)) - 2, kernel, given.attributes)


def make_window(key: str, rank: int, kernel: Sequence[int], attributes: Any) -> Window:
    """Like `window`, for `rank` spatial axes and plain attributes."""
    ones = (1,) * rank
    strides = tuple(attributes["strides"] or ones)
    dilations = tuple(attributes["dilations"] or ones)
    pads = tuple(attributes["pads"] or (0,) * (2 * rank))
    auto_pad = attributes["auto_pad"]
    if auto_pad not in _AUTO_PADS:
        raise DTypeError(f"{key} was given auto_pad={auto_pad!r}: expected one of {', '.join(_AUTO_PADS)}")
    for name, numbers, count in (
        ("kernel_shape", kernel, rank),
        ("strides", strides, rank),
        ("dilations", dilations, rank),
        ("pads", pads, 2 * rank),
    ):
        if len(numbers) != count:
            raise ShapeError(f"{key} over {rank} axes was given {name}={list(numbers)}: expected {count} numbers")
    return Window(key, tuple(kernel), strides, dilations, pads, auto_pad, bool(attributes.get("ceil_mode", 0)))


def output_sizes(spatial: Shape, moved: Window) -> Shape:
    """How many places the window takes along each spatial axis.

    Raises:
        ShapeError: the window is larger than the padded axis.
    """
    result: list[Dim] = []
    for axis, dim in enumerate(spatial):
        stride, extent = moved.strides[axis], moved.extent(axis)
        if moved.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            result.append(floordiv(dim + (stride - 1), stride))
            continue
        before, after = (0, 0) if moved.auto_pad == "VALID" else (moved.pads[axis], moved.pads[axis + len(spatial)])
        room = dim + (before + after - extent)
        if isinstance(room, int) and room < 0:
            raise ShapeError(
                f"{moved.key} over {format_shape(spatial)}: the window spans {extent} at spatial axis {axis}, "
                f"and the padded size is {room + extent}"
            )
        size = floordiv(room + (stride - 1 if moved.ceil else 0), stride) + 1
        if moved.ceil:  # a window that would start in the padding at the end does not count
            last = floordiv(dim + (before - 1), stride) + 1
            size = minimum(size, last)
        result.append(size)
    return tuple(result)


def explicit_pads(sizes: Sequence[int], moved: Window) -> list[tuple[int, int]]:
    """What is added before and after each spatial axis of an array, so that the windows fit."""
    outputs = known_sizes(moved.key, output_sizes(tuple(sizes), moved))
    result: list[tuple[int, int]] = []
    for axis, (size, output) in enumerate(zip(sizes, outputs, strict=True)):
        if moved.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            total = max((output - 1) * moved.strides[axis] + moved.extent(axis) - size, 0)
            small, large = total // 2, total - total // 2
            result.append((small, large) if moved.auto_pad == "SAME_UPPER" else (large, small))
        elif moved.auto_pad == "VALID":
            result.append((0, 0))
        else:
            result.append((moved.pads[axis], moved.pads[axis + len(sizes)]))
    return result


def windows(x: Array, moved: Window, fill: Any) -> Array:
    """Every window of `x` [N, C, spatial...]: [N, C, places..., kernel...], beyond the border filled with `fill`."""
    rank = len(moved.kernel)
    sizes = x.shape[2:]
    outputs = known_sizes(moved.key, output_sizes(sizes, moved))
    pads = explicit_pads(sizes, moved)
    needed = [(outputs[axis] - 1) * moved.strides[axis] + moved.extent(axis) for axis in range(rank)]
    amounts = [(0, 0), (0, 0)]
    for axis in range(rank):
        before, after = pads[axis]
        amounts.append((before, max(after, needed[axis] - sizes[axis] - before)))
    padded = np.pad(x, amounts, constant_values=fill)
    extents = tuple(moved.extent(axis) for axis in range(rank))
    view = np.lib.stride_tricks.sliding_window_view(padded, extents, axis=tuple(range(2, 2 + rank)))
    places = tuple(slice(0, needed[axis] - extents[axis] + 1, moved.strides[axis]) for axis in range(rank))
    inside = tuple(slice(None, None, moved.dilations[axis]) for axis in range(rank))
    return view[(slice(None), slice(None), *places, *inside)]
