"""Tensors made from little: Range, ConstantOfShape, EyeLike, Trilu, OneHot.

`ConstantOfShape` has its fill as a number, `value`, and its element type as `dtype`, where an ONNX file has both in one
tensor.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfgraph.errors import ShapeError
from tfgraph.ir.constant import Array
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Dim, Shape, maximum, product
from tfgraph.ir.dtypes import DType, as_dtype
from tfgraph.ir.ops.contents import Content
from tfgraph.ir.ops.rules import at_least, known_length, normalize_axis, require_rank
from tfgraph.ir.optable import Operands
from tfgraph.ir.primitive import BOOL, MOVABLE, NUMBERS, primitive
from tfgraph.ir.types import LARGEST_CONTENT

_RANGE = frozenset({DType.FLOAT32, DType.FLOAT64, DType.INT16, DType.INT32, DType.INT64})
_EYE = NUMBERS | BOOL
_ONE_HOT = NUMBERS - {DType.BFLOAT16}


def _range_shape(given: Operands) -> Shape:
    for index in range(3):
        require_rank(given, index, 0, 1)
    length = _range_length(given)
    return (given.fresh(0) if length is None else length,)


def _range_length(given: Operands) -> Dim | None:
    bounds = [given.content(index) for index in range(3)]
    start, limit, delta = (content[0] if content else None for content in bounds)
    if start is None or limit is None or not isinstance(delta, int) or delta == 0:
        return None
    span = limit - start if delta > 0 else start - limit
    size = abs(delta)
    if isinstance(span, int):
        return max(-(-span // size), 0)
    length = span if size == 1 else (span + (size - 1)) // size
    return length if at_least(span, 0) else maximum(length, 0)


def _range_content(given: Operands) -> Content | None:
    length = _range_length(given)
    start, delta = given.content(0), given.content(2)
    if not isinstance(length, int) or length > LARGEST_CONTENT or not start or not delta:
        return None
    return tuple(start[0] + delta[0] * step for step in range(length))


def _constant_of_shape_shape(given: Operands) -> Shape:
    count = known_length(given, 0)
    content = given.content(0)
    return tuple(given.fresh(axis) for axis in range(count)) if content is None else content


def _constant_of_shape_content(given: Operands) -> Content | None:
    size = product(_constant_of_shape_shape(given))
    if not isinstance(size, int) or size > LARGEST_CONTENT:
        return None
    return (int(given.attributes["value"]),) * size


def _eye_like_shape(given: Operands) -> Shape:
    return require_rank(given, 0, 2)


def _trilu_shape(given: Operands) -> Shape:
    shape = given.shape(0)
    if len(shape) < 2:
        raise ShapeError(f"Trilu takes matrices, and {format_shape(shape)} was given: expected rank 2 or more")
    return shape


def _one_hot_shape(given: Operands) -> Shape:
    indices = given.shape(0)
    axis = given.attributes["axis"]
    place = normalize_axis(given.key, axis, len(indices) + 1)
    depth = given.content(1)
    values = require_rank(given, 2, 1)
    if isinstance(values[0], int) and values[0] != 2:
        raise ShapeError(f"OneHot takes two values (off, on), and {format_shape(values)} was given")
    return (*indices[:place], depth[0] if depth else given.fresh(place), *indices[place:])


def _range(start: Array, limit: Array, delta: Array) -> Any:
    first, last, step = (array.reshape(()).item() for array in (start, limit, delta))
    count = max(int(np.ceil((last - first) / step)), 0)
    return (np.arange(count) * step + first).astype(start.dtype)


def _constant_of_shape(shape: Array, *, value: float, dtype: str) -> Any:
    return np.full(tuple(int(dim) for dim in shape), value, dtype=as_dtype(dtype).numpy())


def _eye_like(data: Array, *, dtype: str | None, k: int) -> Any:
    rows, columns = data.shape
    return np.eye(rows, columns, k=k, dtype=data.dtype if dtype is None else as_dtype(dtype).numpy())


def _trilu(data: Array, k: Array | None = None, *, upper: int) -> Any:
    offset = 0 if k is None else int(k.reshape(()))
    rows, columns = data.shape[-2:]
    kept = np.tri(rows, columns, offset - 1, dtype=bool)  # what lies strictly below the diagonal
    kept = ~kept if upper else np.tri(rows, columns, offset, dtype=bool)
    return np.where(kept, data, np.zeros((), dtype=data.dtype))


def _one_hot(indices: Array, depth: Array, values: Array, *, axis: int) -> Any:
    size = int(depth.reshape(-1)[0])
    places = indices.astype(np.int64)
    places = np.where((places < 0) & (places >= -size), places + size, places)
    place = axis % (indices.ndim + 1)
    columns = np.arange(size).reshape([-1 if other == place else 1 for other in range(indices.ndim + 1)])
    return np.where(np.expand_dims(places, place) == columns, values[1], values[0]).astype(values.dtype)


primitive(
    "Range", "start:T limit:T delta:T -> output:T", shape=_range_shape, reference=_range, since=11,
    content=_range_content, T=_RANGE,
)  # fmt: skip
primitive(
    "ConstantOfShape", "input:int64 -> output:@dtype", shape=_constant_of_shape_shape, reference=_constant_of_shape,
    since=9, content=_constant_of_shape_content, attributes={"value": 0, "dtype": "float32"},
)  # fmt: skip
primitive(
    "EyeLike", "input:T -> output:@dtype|T", shape=_eye_like_shape, reference=_eye_like, since=9,
    attributes={"dtype": None, "k": 0}, T=_EYE,
)  # fmt: skip
primitive(
    "Trilu", "input:T k?:int64 -> output:T", shape=_trilu_shape, reference=_trilu, since=14, attributes={"upper": 1},
    T=MOVABLE,
)  # fmt: skip
primitive(
    "OneHot", "indices:I depth:D values:V -> output:V", shape=_one_hot_shape, reference=_one_hot, since=11,
    attributes={"axis": -1}, I=_ONE_HOT, D=_ONE_HOT, V=MOVABLE - {DType.BFLOAT16},
)  # fmt: skip
