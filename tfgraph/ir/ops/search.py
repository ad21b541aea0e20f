"""Order along an axis: ArgMax, ArgMin, TopK, CumSum, Unique."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfgraph.errors import DTypeError, ShapeError
from tfgraph.ir.constant import Array
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Shape
from tfgraph.ir.dtypes import DType
from tfgraph.ir.ops.arithmetic import in_float32, widened
from tfgraph.ir.ops.rules import integer_content, normalize_axis, require_rank
from tfgraph.ir.optable import Operands
from tfgraph.ir.primitive import INDEX, MOVABLE, NUMBERS, WIDE_NUMBERS, primitive


def _arg_shape(given: Operands) -> Shape:
    shape = given.shape(0)
    axis = normalize_axis(given.key, given.attributes["axis"], len(shape))
    middle: Shape = (1,) if given.attributes["keepdims"] else ()
    return (*shape[:axis], *middle, *shape[axis + 1 :])


def _top_k_shape(given: Operands) -> list[Shape]:
    shape = given.shape(0)
    axis = normalize_axis(given.key, given.attributes["axis"], len(shape))
    require_rank(given, 1, 1)
    content = given.content(1)
    count = content[0] if content else given.fresh(axis)
    size = shape[axis]
    if isinstance(count, int) and (count < 0 or (isinstance(size, int) and count > size)):
        raise ShapeError(f"TopK of {format_shape(shape)} at axis {axis}: k is {count}, expected 0 to {size}")
    result = (*shape[:axis], count, *shape[axis + 1 :])
    return [result, result]


def _cum_sum_shape(given: Operands) -> Shape:
    shape = given.shape(0)
    require_rank(given, 1, 0, 1)
    for axis in integer_content(given, 1) or ():
        normalize_axis(given.key, axis, len(shape))
    return shape


def _unique_shape(given: Operands) -> list[Shape]:
    shape = given.shape(0)
    axis = given.attributes["axis"]
    if not given.attributes["sorted"]:
        raise DTypeError("Unique is defined here in sorted order only: leave sorted at 1")
    count = given.fresh(0)
    if axis is None:
        kept: Shape = (count,)
    else:
        axis = normalize_axis(given.key, axis, len(shape))
        kept = (*shape[:axis], count, *shape[axis + 1 :])
    return [kept, (count,), (given.fresh(1),), (count,)]


def _arg_max(data: Array, *, axis: int, keepdims: int, select_last_index: int) -> Any:
    return _arg(np.argmax, data, axis, keepdims, select_last_index)


def _arg_min(data: Array, *, axis: int, keepdims: int, select_last_index: int) -> Any:
    return _arg(np.argmin, data, axis, keepdims, select_last_index)


def _arg(function: Any, data: Array, axis: int, keepdims: int, last: int) -> Any:
    wide = widened(data)
    if last:
        result = wide.shape[axis] - 1 - function(np.flip(wide, axis), axis=axis, keepdims=bool(keepdims))
    else:
        result = function(wide, axis=axis, keepdims=bool(keepdims))
    return np.asarray(result, dtype=np.int64)


def _top_k(data: Array, k: Array, *, axis: int, largest: int, sorted: int) -> tuple[Array, Array]:
    """The k largest or smallest along an axis, in order; of equal elements the one at the lower index comes first."""
    count = int(k.reshape(-1)[0])
    wide = widened(data)
    if largest:  # a stable sort from back to front, then turned round: the largest come first, low indices before high
        order = wide.shape[axis] - 1 - np.flip(np.argsort(np.flip(wide, axis), axis=axis, kind="stable"), axis)
    else:
        order = np.argsort(wide, axis=axis, kind="stable")
    indices = np.take(order, range(count), axis=axis).astype(np.int64)
    return np.take_along_axis(data, indices, axis=axis), indices


def _cum_sum(data: Array, axis: Array, *, exclusive: int, reverse: int) -> Any:
    along = int(axis.reshape(-1)[0])
    ordered = np.flip(data, along) if reverse else data
    total = np.cumsum(ordered, axis=along, dtype=data.dtype)
    if exclusive:
        total = total - ordered
    return np.flip(total, along) if reverse else total


def _unique(data: Array, *, axis: int | None, sorted: int) -> tuple[Array, ...]:
    unique, first, inverse, counts = np.unique(
        data, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    return unique, first.astype(np.int64), inverse.reshape(-1).astype(np.int64), counts.astype(np.int64)


primitive(
    "ArgMax", "data:T -> reduced:int64", shape=_arg_shape, reference=_arg_max, since=12,
    attributes={"axis": 0, "keepdims": 1, "select_last_index": 0}, T=NUMBERS,
)  # fmt: skip
primitive(
    "ArgMin", "data:T -> reduced:int64", shape=_arg_shape, reference=_arg_min, since=12,
    attributes={"axis": 0, "keepdims": 1, "select_last_index": 0}, T=NUMBERS,
)  # fmt: skip
primitive(
    "TopK", "X:T K:int64 -> Values:T Indices:int64", shape=_top_k_shape, reference=_top_k, since=11,
    attributes={"axis": -1, "largest": 1, "sorted": 1}, T=NUMBERS,
)  # fmt: skip
primitive(
    "CumSum", "x:T axis:I -> y:T", shape=_cum_sum_shape, reference=in_float32(_cum_sum), since=11,
    attributes={"exclusive": 0, "reverse": 0}, T=WIDE_NUMBERS, I=INDEX,
)  # fmt: skip
primitive(
    "Unique", "X:T -> Y:T indices?:int64 inverse_indices?:int64 counts?:int64", shape=_unique_shape, reference=_unique,
    since=11, attributes={"axis": None, "sorted": 1}, T=MOVABLE - {DType.BFLOAT16},
)  # fmt: skip
