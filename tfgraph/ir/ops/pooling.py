"""Pools over spatial axes: AveragePool, MaxPool, GlobalAveragePool, GlobalMaxPool."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tfgraph.errors import ShapeError
from tfgraph.ir.constant import Array
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Shape
from tfgraph.ir.dtypes import DType
from tfgraph.ir.ops.arithmetic import in_float32, is_float
from tfgraph.ir.ops.windows import explicit_pads, make_window, output_sizes, window, windows
from tfgraph.ir.optable import REQUIRED, Operands
from tfgraph.ir.primitive import FLOATS, primitive

_ATTRIBUTES = {
    "auto_pad": "NOTSET", "ceil_mode": 0, "dilations": None, "kernel_shape": REQUIRED, "pads": None, "strides": None
}  # fmt: skip


def _spatial(given: Operands) -> Shape:
    shape = given.shape(0)
    if len(shape) < 3:
        raise ShapeError(f"{given.key} takes [N, C, ...], and {format_shape(shape)} was given")
    return shape[2:]


def _pool_shape(given: Operands) -> Shape:
    spatial = _spatial(given)
    moved = window(given, given.attributes["kernel_shape"])
    return (*given.shape(0)[:2], *output_sizes(spatial, moved))


def _max_pool_shape(given: Operands) -> list[Shape]:
    shape = _pool_shape(given)
    return [shape, shape]


def _global_shape(given: Operands) -> Shape:
    return (*given.shape(0)[:2], *(1 for _ in _spatial(given)))


def _average_pool(x: Array, *, count_include_pad: int, kernel_shape: tuple[int, ...], **attributes: Any) -> Any:
    """The mean of each window: of the elements of `x` in it, or (`count_include_pad`) of those of the padding too."""
    rank = x.ndim - 2
    moved = make_window("AveragePool", rank, kernel_shape, attributes)
    axes = tuple(range(-rank, 0))
    counted = np.ones((1, 1, *x.shape[2:]), dtype=x.dtype)
    total = windows(x, moved, 0).sum(axis=axes)
    if not count_include_pad:
        return total / windows(counted, moved, 0).sum(axis=axes)
    pads = explicit_pads(x.shape[2:], moved)
    padded = np.pad(counted, [(0, 0), (0, 0), *pads], constant_values=1)
    inner = moved._replace(pads=(0,) * (2 * rank), auto_pad="NOTSET")
    count = windows(padded, inner, 0).sum(axis=axes)
    return total / count[(slice(None), slice(None), *(slice(size) for size in total.shape[2:]))]


def _max_pool(x: Array, *, kernel_shape: tuple[int, ...], storage_order: int, **attributes: Any) -> tuple[Array, Array]:
    rank = x.ndim - 2
    moved = make_window("MaxPool", rank, kernel_shape, attributes)
    lowest = -np.inf if is_float(x) else np.iinfo(x.dtype).min
    flat = windows(x, moved, lowest)
    flat = flat.reshape(*flat.shape[: 2 + rank], -1)
    best = np.argmax(flat, axis=-1)
    spatial = np.arange(math.prod(x.shape[2:])).reshape(x.shape[2:], order="F" if storage_order else "C")
    offset = (np.arange(x.shape[0] * x.shape[1]) * spatial.size).reshape(x.shape[0], x.shape[1], *(1,) * rank)
    places = windows(spatial[None, None], moved, -1)
    places = np.broadcast_to(places.reshape(*places.shape[: 2 + rank], -1), flat.shape)
    picked = np.take_along_axis(places, best[..., None], axis=-1)[..., 0]
    return np.max(flat, axis=-1), (picked + offset).astype(np.int64)


def _global_average_pool(x: Array) -> Any:
    return np.mean(x, axis=tuple(range(2, x.ndim)), keepdims=True)


def _global_max_pool(x: Array) -> Any:
    return np.max(x, axis=tuple(range(2, x.ndim)), keepdims=True)


primitive(
    "AveragePool", "X:T -> Y:T", shape=_pool_shape, reference=in_float32(_average_pool), since=11,
    attributes={**_ATTRIBUTES, "count_include_pad": 0}, T=FLOATS,
)  # fmt: skip
primitive(
    "MaxPool", "X:T -> Y:T Indices?:int64", shape=_max_pool_shape, reference=in_float32(_max_pool), since=12,
    attributes={**_ATTRIBUTES, "storage_order": 0}, T=FLOATS | {DType.INT8, DType.UINT8},
)  # fmt: skip
primitive(
    "GlobalAveragePool", "X:T -> Y:T", shape=_global_shape, reference=in_float32(_global_average_pool), since=1,
    T=FLOATS,
)  # fmt: skip
primitive(
    "GlobalMaxPool", "X:T -> Y:T", shape=_global_shape, reference=in_float32(_global_max_pool), since=1, T=FLOATS
)  # fmt: skip
