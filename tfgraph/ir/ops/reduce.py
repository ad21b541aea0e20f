"""Reductions over axes: ReduceMean, ReduceSum, ReduceMax, …

The axes are an operand, as they are since opset 13 for ReduceSum and since 18 for the rest.

ArgMax, ArgMin, TopK and CumSum are in `search.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tfgraph.errors import ShapeError
from tfgraph.ir import dims
from tfgraph.ir.constant import Array
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Dim, Shape
from tfgraph.ir.dtypes import DType
from tfgraph.ir.ops.arithmetic import in_float32, silent
from tfgraph.ir.ops.contents import Content
from tfgraph.ir.ops.rules import integer_content, known_length, normalize_axes
from tfgraph.ir.optable import Operands
from tfgraph.ir.primitive import BOOL, WIDE_NUMBERS, primitive

Axes = tuple[int, ...]


def _reduce_shape(given: Operands) -> Shape:
    shape = given.shape(0)
    keepdims = bool(given.attributes["keepdims"])
    axes = _axes(given)
    if axes is None:
        return _unknown_axes_shape(given, keepdims)
    if keepdims:
        return tuple(1 if axis in axes else dim for axis, dim in enumerate(shape))
    return tuple(dim for axis, dim in enumerate(shape) if axis not in axes)


def _axes(given: Operands) -> Axes | None:
    """The axes reduced over, counted from the front; None where only running the model can tell them."""
    rank = len(given.shape(0))
    axes: Axes | None = ()
    if given.has(1):
        axes = () if known_length(given, 1) == 0 else integer_content(given, 1)
    if axes is None:
        return None
    if not axes:
        return () if given.attributes["noop_with_empty_axes"] else tuple(range(rank))
    return normalize_axes(given.key, axes, rank)


def _unknown_axes_shape(given: Operands, keepdims: bool) -> Shape:
    shape = given.shape(0)
    if keepdims:
        return tuple(1 if dim == 1 else given.fresh(axis) for axis, dim in enumerate(shape))
    count = known_length(given, 1)
    if count > len(shape):
        raise ShapeError(f"{given.key} of {format_shape(shape)} was given {count} axes: expected at most {len(shape)}")
    return tuple(given.fresh(axis) for axis in range(len(shape) - count))


def _content(function: Callable[[Dim, Dim], Dim], start: Dim | None) -> Callable[[Operands], Content | None]:
    """The rule for a reduction that folds `function` over the elements of a vector."""

    def rule(given: Operands) -> Content | None:
        content = given.content(0)
        axes = _axes(given)
        if content is None or axes is None:
            return None
        if not axes:
            return content
        if start is not None:
            return (functools.reduce(function, content, start),)
        return (functools.reduce(function, content),) if content else None

    return rule


def _reference(function: Callable[..., Any]) -> Callable[..., Any]:
    """The reference of a reduction from `function(data, axes, keepdims)`."""

    def reference(data: Array, axes: Array | None = None, *, keepdims: int, noop_with_empty_axes: int) -> Array:
        if axes is not None and axes.size:
            over = tuple(int(axis) for axis in axes.reshape(-1))
        else:
            over = () if noop_with_empty_axes else tuple(range(data.ndim))
        return np.asarray(function(data, over, bool(keepdims))).astype(data.dtype)

    return silent(in_float32(reference))


def _sum(data: Array, axes: Axes, keepdims: bool) -> Any:
    return np.sum(data, axis=axes, keepdims=keepdims, dtype=data.dtype)


def _mean(data: Array, axes: Axes, keepdims: bool) -> Any:
    """The mean; of integers, truncated toward zero."""
    mean = np.mean(data, axis=axes, keepdims=keepdims)
    return np.trunc(mean) if data.dtype.kind in "iu" else mean


def _l1(data: Array, axes: Axes, keepdims: bool) -> Any:
    return _sum(np.abs(data), axes, keepdims)


def _l2(data: Array, axes: Axes, keepdims: bool) -> Any:
    return np.sqrt(_sum_square(data, axes, keepdims))


def _sum_square(data: Array, axes: Axes, keepdims: bool) -> Any:
    return _sum(data * data, axes, keepdims)


def _log_sum(data: Array, axes: Axes, keepdims: bool) -> Any:
    return np.log(_sum(data, axes, keepdims))


def _log_sum_exp(data: Array, axes: Axes, keepdims: bool) -> Any:
    """`log(sum(exp(data)))`, the largest element taken out first so that no power overflows."""
    wide = data if data.dtype.kind == "f" else data.astype(np.float64)
    largest = np.max(wide, axis=axes, keepdims=True, initial=-np.inf)
    largest = np.where(np.isfinite(largest), largest, 0)
    total = np.log(np.sum(np.exp(wide - largest), axis=axes, keepdims=True)) + largest
    return total if keepdims else np.squeeze(total, axis=axes)


def _max(data: Array, axes: Axes, keepdims: bool) -> Any:
    return np.max(data, axis=axes, keepdims=keepdims)


def _min(data: Array, axes: Axes, keepdims: bool) -> Any:
    return np.min(data, axis=axes, keepdims=keepdims)


def _prod(data: Array, axes: Axes, keepdims: bool) -> Any:
    return np.prod(data, axis=axes, keepdims=keepdims, dtype=data.dtype)


def _declare(
    name: str,
    function: Callable[..., Any],
    since: int = 18,
    content: Callable[[Operands], Content | None] | None = None,
    dtypes: frozenset[DType] = WIDE_NUMBERS,
) -> None:
    primitive(
        name,
        "data:T axes?:int64 -> reduced:T",
        shape=_reduce_shape,
        reference=_reference(function),
        attributes={"keepdims": 1, "noop_with_empty_axes": 0},
        since=since,
        content=content,
        T=dtypes,
    )


_ORDERED = WIDE_NUMBERS | BOOL | {DType.INT8, DType.UINT8}

_declare("ReduceSum", _sum, 13, _content(lambda left, right: left + right, 0))
_declare("ReduceProd", _prod, content=_content(lambda left, right: left * right, 1))
_declare("ReduceMax", _max, content=_content(dims.maximum, None), dtypes=_ORDERED)
_declare("ReduceMin", _min, content=_content(dims.minimum, None), dtypes=_ORDERED)
_declare("ReduceMean", _mean)
_declare("ReduceL1", _l1)
_declare("ReduceL2", _l2)
_declare("ReduceSumSquare", _sum_square)
_declare("ReduceLogSum", _log_sum)
_declare("ReduceLogSumExp", _log_sum_exp)
