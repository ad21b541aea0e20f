"""Elements picked by index or by condition: Gather, GatherElements, GatherND, Compress, NonZero."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfgraph.errors import ShapeError
from tfgraph.ir.constant import Array
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Shape
from tfgraph.ir.dtypes import DType
from tfgraph.ir.ops.contents import Content
from tfgraph.ir.ops.rules import agree, integer_content, normalize_axis, require_rank
from tfgraph.ir.optable import Operands
from tfgraph.ir.primitive import BOOL, INDEX, MOVABLE, primitive
from tfgraph.ir.types import UnknownRankError


def _gather_shape(given: Operands) -> Shape:
    data, indices = given.shape(0), given.shape(1)
    axis = normalize_axis(given.key, given.attributes["axis"], len(data))
    size = data[axis]
    for index in integer_content(given, 1) or ():
        if isinstance(size, int) and not -size <= index < size:
            raise ShapeError(f"Gather from {format_shape(data)} at axis {axis}: no index {index} in an axis of {size}")
    return (*data[:axis], *indices, *data[axis + 1 :])


def _gather_content(given: Operands) -> Content | None:
    content, indices = given.content(0), integer_content(given, 1)
    if content is None or indices is None:
        return None
    return tuple(content[index] for index in indices)


def _gather_elements_shape(given: Operands) -> Shape:
    data, indices = given.shape(0), given.shape(1)
    if len(data) != len(indices):
        raise ShapeError(
            f"{given.key} from {format_shape(data)} by indices {format_shape(indices)}: expected equal ranks"
        )
    normalize_axis(given.key, given.attributes["axis"], len(data))
    return indices


def _gather_nd_shape(given: Operands) -> Shape:
    data, indices = given.shape(0), given.shape(1)
    batch = given.attributes["batch_dims"]
    what = f"GatherND from {format_shape(data)} by indices {format_shape(indices)} with batch_dims={batch}"
    if not data or not indices or not 0 <= batch < min(len(data), len(indices)):
        raise ShapeError(f"{what}: expected batch_dims below both ranks")
    for axis in range(batch):
        if not agree(data[axis], indices[axis]):
            raise ShapeError(f"{what}: axis {axis} is a batch axis, expected equal sizes")
    depth = indices[-1]
    if not isinstance(depth, int):
        raise UnknownRankError(f"{what}: the rank of the result depends on the last axis of the indices")
    if not 1 <= depth <= len(data) - batch:
        raise ShapeError(f"{what}: the last axis of the indices is {depth}, expected 1 to {len(data) - batch}")
    return (*indices[:-1], *data[batch + depth :])


def _compress_shape(given: Operands) -> Shape:
    data = given.shape(0)
    axis = given.attributes["axis"]
    require_rank(given, 1, 1)
    if axis is None:
        return (given.fresh(0),)
    axis = normalize_axis(given.key, axis, len(data))
    return (*data[:axis], given.fresh(axis), *data[axis + 1 :])


def _nonzero_shape(given: Operands) -> Shape:
    return (len(given.shape(0)), given.fresh(1))


def _gather(data: Array, indices: Array, *, axis: int) -> Any:
    return np.take(data, indices, axis=axis)


def _gather_elements(data: Array, indices: Array, *, axis: int) -> Any:
    axis %= data.ndim
    size = data.shape[axis]
    places: list[Array] = list(np.indices(indices.shape, sparse=True))
    places[axis] = np.where(indices < 0, indices + size, indices)
    return data[tuple(places)]


def _gather_nd(data: Array, indices: Array, *, batch_dims: int) -> Any:
    depth = indices.shape[-1]
    batch = np.indices(indices.shape[:batch_dims] + (1,) * (indices.ndim - 1 - batch_dims), sparse=True)[:batch_dims]
    return data[(*batch, *(indices[..., place] for place in range(depth)))]


def _compress(data: Array, condition: Array, *, axis: int | None) -> Any:
    return np.compress(condition, data, axis=axis)


def _nonzero(data: Array) -> Any:
    return np.array(np.nonzero(data), dtype=np.int64).reshape(data.ndim, -1)


primitive(
    "Gather", "data:T indices:I -> output:T", shape=_gather_shape, reference=_gather, since=11,
    content=_gather_content, attributes={"axis": 0}, T=MOVABLE, I=INDEX,
)  # fmt: skip
primitive(
    "GatherElements", "data:T indices:I -> output:T", shape=_gather_elements_shape, reference=_gather_elements,
    since=11, attributes={"axis": 0}, T=MOVABLE, I=INDEX,
)  # fmt: skip
primitive(
    "GatherND", "data:T indices:int64 -> output:T", shape=_gather_nd_shape, reference=_gather_nd, since=12,
    attributes={"batch_dims": 0}, T=MOVABLE,
)  # fmt: skip
primitive(
    "Compress", "input:T condition:B -> output:T", shape=_compress_shape, reference=_compress, since=11,
    attributes={"axis": None}, T=MOVABLE - {DType.BFLOAT16}, B=BOOL,
)  # fmt: skip
primitive("NonZero", "X:T -> Y:int64", shape=_nonzero_shape, reference=_nonzero, since=9, T=MOVABLE)
