"""Other shapes for the same elements: Shape, Size, Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Expand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tfgraph.errors import ShapeError
from tfgraph.ir.constant import Array
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Dim, Shape, exact_div, floordiv, is_at_least, product
from tfgraph.ir.ops.contents import Content, keep
from tfgraph.ir.ops.rules import (
    broadcast_shapes,
    integer_content,
    known_length,
    known_sizes,
    normalize_axes,
    normalize_axis,
)
from tfgraph.ir.optable import Operands
from tfgraph.ir.primitive import MOVABLE, primitive
from tfgraph.ir.types import LARGEST_CONTENT, UnknownRankError


def _shape_content(given: Operands) -> Content:
    shape = given.shape(0)
    return tuple(shape[slice(given.attributes["start"], given.attributes["end"])])


def _shape_shape(given: Operands) -> Shape:
    return (len(_shape_content(given)),)


def _reshape_shape(given: Operands) -> Shape:
    count = known_length(given, 1)
    content = given.content(1)
    if content is None:
        return tuple(given.fresh(axis) for axis in range(count))
    return reshaped(given.key, given.shape(0), content, bool(given.attributes["allowzero"]))


def reshaped(key: str, shape: Shape, target: Content, allowzero: bool = False) -> Shape:
    """The shape that a tensor of `shape` gets from the operand `target` of Reshape.

    An element 0 copies the dimension at its place (unless `allowzero`), one -1 takes what is left.

    Raises:
        ShapeError: the number of elements would change, or `target` makes no sense.
    """
    what = f"{key} of {format_shape(shape)} to {format_shape(target)}"
    result: list[Dim] = list(target)
    for axis, dim in enumerate(target):
        if isinstance(dim, int) and dim < -1:
            raise ShapeError(f"{what}: {dim} is no size, expected -1 or more")
        if dim == 0 and not allowzero:
            if axis >= len(shape):
                raise ShapeError(f"{what}: the 0 at {axis} copies an axis that the operand lacks")
            result[axis] = shape[axis]
    inferred = [axis for axis, dim in enumerate(target) if dim == -1]
    if len(inferred) > 1:
        raise ShapeError(f"{what}: at most one size can be -1")
    if inferred:
        result[inferred[0]] = 1
        result[inferred[0]] = _left_over(what, product(shape), product(result))
    else:
        before, after = product(shape), product(result)
        if is_at_least(before - after, 1) or is_at_least(after - before, 1):
            raise ShapeError(f"{what}: {before} elements cannot become {after}")
    return tuple(result)


def _left_over(what: str, total: Dim, rest: Dim) -> Dim:
    """The size that -1 stands for: `total` elements divided by the product of the other sizes."""
    if rest == 0:
        raise ShapeError(f"{what}: the size of -1 cannot be told beside a size of 0")
    exact = exact_div(total, rest)
    if exact is not None:
        return exact
    if isinstance(total, int) and isinstance(rest, int):
        raise ShapeError(f"{what}: {total} elements do not divide by {rest}")
    return floordiv(total, rest)


def _transpose_perm(given: Operands) -> tuple[int, ...]:
    rank = len(given.shape(0))
    perm = given.attributes["perm"]
    if perm is None:
        return tuple(reversed(range(rank)))
    if sorted(perm) != list(range(rank)):
        raise ShapeError(
            f"Transpose of {format_shape(given.shape(0))} was given perm={list(perm)}: "
            f"expected each of 0 to {rank - 1} once"
        )
    return tuple(perm)


def _transpose_shape(given: Operands) -> Shape:
    shape = given.shape(0)
    return tuple(shape[axis] for axis in _transpose_perm(given))


def _flatten_shape(given: Operands) -> Shape:
    shape = given.shape(0)
    axis = given.attributes["axis"]
    if axis != len(shape):
        axis = normalize_axis(given.key, axis, len(shape))
    return (product(shape[:axis]), product(shape[axis:]))


def _squeeze_shape(given: Operands) -> Shape:
    shape = given.shape(0)
    if not given.has(1):
        if not all(isinstance(dim, int) for dim in shape):
            raise UnknownRankError(f"Squeeze of {format_shape(shape)} without axes: which axes are 1 is not known")
        return tuple(dim for dim in shape if dim != 1)
    axes = integer_content(given, 1)
    if axes is None:
        return tuple(given.fresh(axis) for axis in range(len(shape) - known_length(given, 1)))
    dropped = normalize_axes(given.key, axes, len(shape))
    for axis in dropped:
        if isinstance(shape[axis], int) and shape[axis] != 1:
            raise ShapeError(f"Squeeze of {format_shape(shape)} at axis {axis}: its size is {shape[axis]}, expected 1")
    return tuple(dim for axis, dim in enumerate(shape) if axis not in dropped)


def _unsqueeze_shape(given: Operands) -> Shape:
    shape = given.shape(0)
    rank = len(shape) + known_length(given, 1)
    axes = integer_content(given, 1)
    if axes is None:
        return tuple(given.fresh(axis) for axis in range(rank))
    added = normalize_axes(given.key, axes, rank)
    rest = iter(shape)
    return tuple(1 if axis in added else next(rest) for axis in range(rank))


def _expand_shape(given: Operands) -> Shape:
    shape = given.shape(0)
    count = known_length(given, 1)
    target = given.content(1)
    if target is not None:
        return broadcast_shapes(shape, target, key=given.key)
    rank = max(count, len(shape))
    padded = (1,) * (rank - len(shape)) + shape
    kept = len(shape) - count  # leading axes that the target does not reach
    return tuple(
        dim if axis < kept or (isinstance(dim, int) and dim != 1) else given.fresh(axis)
        for axis, dim in enumerate(padded)
    )


def _expand_content(given: Operands) -> Content | None:
    content = given.content(0)
    shape = _expand_shape(given)
    size = product(shape)
    if content is None or not isinstance(size, int) or size > LARGEST_CONTENT:
        return None
    return content * size if len(content) == 1 else content


def _shape(data: Array, *, start: int, end: int | None) -> Any:
    return np.array(data.shape[start:end], dtype=np.int64)


def _size(data: Array) -> Any:
    return np.array(data.size, dtype=np.int64)


def _reshape(data: Array, shape: Array, *, allowzero: int) -> Any:
    target = reshaped("Reshape", data.shape, tuple(int(dim) for dim in shape), bool(allowzero))
    return data.reshape(known_sizes("Reshape", target))


def _flatten(data: Array, *, axis: int) -> Any:
    axis = axis + data.ndim if axis < 0 else axis
    return data.reshape(math.prod(data.shape[:axis]), math.prod(data.shape[axis:]))


def _transpose(data: Array, *, perm: tuple[int, ...] | None) -> Any:
    return np.transpose(data, perm)


def _squeeze(data: Array, axes: Array | None = None) -> Any:
    return np.squeeze(data, axis=None if axes is None else tuple(int(axis) for axis in axes))


def _unsqueeze(data: Array, axes: Array) -> Any:
    return np.expand_dims(data, tuple(int(axis) for axis in axes.reshape(-1)))


def _expand(data: Array, shape: Array) -> Any:
    return np.broadcast_to(data, np.broadcast_shapes(data.shape, tuple(int(dim) for dim in shape))).copy()


primitive(
    "Shape", "data:T -> shape:int64", shape=_shape_shape, reference=_shape, since=15, content=_shape_content,
    attributes={"end": None, "start": 0},
)  # fmt: skip
primitive(
    "Size", "data:T -> size:int64", shape=lambda given: (), reference=_size, since=1,
    content=lambda given: (product(given.shape(0)),),
)  # fmt: skip
primitive(
    "Reshape", "data:T shape:int64 -> reshaped:T", shape=_reshape_shape, reference=_reshape, since=14,
    content=keep, attributes={"allowzero": 0},
)  # fmt: skip
primitive(
    "Flatten", "input:T -> output:T", shape=_flatten_shape, reference=_flatten, since=1, attributes={"axis": 1}
)  # fmt: skip
primitive(
    "Transpose", "data:T -> transposed:T", shape=_transpose_shape, reference=_transpose, since=1, content=keep,
    attributes={"perm": None},
)  # fmt: skip
primitive(
    "Squeeze", "data:T axes?:int64 -> squeezed:T", shape=_squeeze_shape, reference=_squeeze, since=13, content=keep
)  # fmt: skip
primitive(
    "Unsqueeze", "data:T axes:int64 -> expanded:T", shape=_unsqueeze_shape, reference=_unsqueeze, since=13, content=keep
)  # fmt: skip
primitive(
    "Expand", "input:T shape:int64 -> output:T", shape=_expand_shape, reference=_expand, since=8,
    content=_expand_content, T=MOVABLE,
)  # fmt: skip
