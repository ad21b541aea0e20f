"""Tensors put together: Concat, Tile, DepthToSpace, SpaceToDepth."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfgraph.errors import DTypeError, ShapeError
from tfgraph.ir.constant import Array
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Dim, Shape, exact_div, floordiv
from tfgraph.ir.ops.contents import Content, all_contents
from tfgraph.ir.ops.rules import agree, known_length, merge, normalize_axis, require_rank
from tfgraph.ir.optable import REQUIRED, Operands
from tfgraph.ir.primitive import MOVABLE, primitive
from tfgraph.ir.types import LARGEST_CONTENT


def _concat_shape(given: Operands) -> Shape:
    shapes = [given.shape(index) for index in range(len(given.types))]
    first = shapes[0]
    axis = normalize_axis(given.key, given.attributes["axis"], len(first))
    result = list(first)
    for shape in shapes[1:]:
        if len(shape) != len(first):
            raise ShapeError(f"Concat of {format_shape(first)} and {format_shape(shape)}: expected equal ranks")
        for other, (left, right) in enumerate(zip(result, shape, strict=True)):
            if other == axis:
                result[axis] = left + right
            elif agree(left, right):
                result[other] = merge(left, right)
            else:
                raise ShapeError(
                    f"Concat of {format_shape(first)} and {format_shape(shape)} at axis {axis}: "
                    f"axis {other} is {left} in one and {right} in the other, expected equal sizes"
                )
    return tuple(result)


def _concat_content(given: Operands) -> Content | None:
    contents = all_contents(given)
    return None if contents is None else tuple(dim for content in contents for dim in content)


def _tile_shape(given: Operands) -> Shape:
    shape = given.shape(0)
    count = known_length(given, 1)
    if count != len(shape):
        raise ShapeError(f"Tile of {format_shape(shape)} was given {count} repeats: expected {len(shape)}")
    repeats = given.content(1)
    if repeats is None:
        return tuple(given.fresh(axis) for axis in range(count))
    return tuple(dim * repeat for dim, repeat in zip(shape, repeats, strict=True))


def _tile_content(given: Operands) -> Content | None:
    content, repeats = given.content(0), given.content(1)
    if content is None or repeats is None:
        return None
    if not repeats:
        return content
    times = repeats[0]
    return content * times if isinstance(times, int) and times <= LARGEST_CONTENT else None


def _depth_to_space_shape(given: Operands) -> Shape:
    batch, channels, height, width = require_rank(given, 0, 4)
    size = given.attributes["blocksize"]
    if given.attributes["mode"] not in ("DCR", "CRD"):
        raise DTypeError(f"DepthToSpace was given mode={given.attributes['mode']!r}: expected 'DCR' or 'CRD'")
    return (batch, _divided(given, channels, size * size), height * size, width * size)


def _space_to_depth_shape(given: Operands) -> Shape:
    batch, channels, height, width = require_rank(given, 0, 4)
    size = given.attributes["blocksize"]
    return (batch, channels * (size * size), _divided(given, height, size), _divided(given, width, size))


def _divided(given: Operands, dim: Dim, divisor: int) -> Dim:
    exact = exact_div(dim, divisor)
    if exact is None and isinstance(dim, int):
        raise ShapeError(f"{given.key} of {format_shape(given.shape(0))}: {dim} does not divide by {divisor}")
    return floordiv(dim, divisor) if exact is None else exact


def _concat(*arrays: Array, axis: int) -> Any:
    return np.concatenate(arrays, axis=axis)


def _tile(data: Array, repeats: Array) -> Any:
    return np.tile(data, tuple(int(repeat) for repeat in repeats))


def _depth_to_space(data: Array, *, blocksize: int, mode: str) -> Any:
    batch, channels, height, width = data.shape
    depth = channels // blocksize**2
    if mode == "DCR":
        blocks = data.reshape(batch, blocksize, blocksize, depth, height, width).transpose(0, 3, 4, 1, 5, 2)
    else:
        blocks = data.reshape(batch, depth, blocksize, blocksize, height, width).transpose(0, 1, 4, 2, 5, 3)
    return blocks.reshape(batch, depth, height * blocksize, width * blocksize)


def _space_to_depth(data: Array, *, blocksize: int) -> Any:
    batch, channels, height, width = data.shape
    rows, columns = height // blocksize, width // blocksize
    blocks = data.reshape(batch, channels, rows, blocksize, columns, blocksize).transpose(0, 3, 5, 1, 2, 4)
    return blocks.reshape(batch, channels * blocksize**2, rows, columns)


primitive(
    "Concat", "inputs*:T -> concat_result:T", shape=_concat_shape, reference=_concat, since=4,
    content=_concat_content, attributes={"axis": REQUIRED}, T=MOVABLE,
)  # fmt: skip
primitive(
    "Tile", "input:T repeats:int64 -> output:T", shape=_tile_shape, reference=_tile, since=6, content=_tile_content,
    T=MOVABLE,
)  # fmt: skip
primitive(
    "DepthToSpace", "input:T -> output:T", shape=_depth_to_space_shape, reference=_depth_to_space, since=11,
    attributes={"blocksize": REQUIRED, "mode": "DCR"}, T=MOVABLE,
)  # fmt: skip
primitive(
    "SpaceToDepth", "input:T -> output:T", shape=_space_to_depth_shape, reference=_space_to_depth, since=1,
    attributes={"blocksize": REQUIRED}, T=MOVABLE,
)  # fmt: skip
