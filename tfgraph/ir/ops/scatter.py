"""Elements written by index: ScatterND, ScatterElements, TensorScatter (the update of a key-value cache)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tfgraph.errors import DTypeError, ShapeError
from tfgraph.ir.constant import Array
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Shape
from tfgraph.ir.ops.rules import agree, normalize_axis
from tfgraph.ir.optable import Operands
from tfgraph.ir.primitive import INDEX, MOVABLE, primitive

_REDUCTIONS: dict[str, Callable[..., None]] = {
    "add": np.add.at,
    "mul": np.multiply.at,
    "max": np.maximum.at,
    "min": np.minimum.at,
}


def _check_reduction(given: Operands) -> None:
    reduction = given.attributes["reduction"]
    if reduction != "none" and reduction not in _REDUCTIONS:
        raise DTypeError(f"{given.key} was given reduction={reduction!r}: expected none, {', '.join(_REDUCTIONS)}")


def _scatter_nd_shape(given: Operands) -> Shape:
    _check_reduction(given)
    data, indices, updates = (given.shape(index) for index in range(3))
    what = f"ScatterND into {format_shape(data)} by indices {format_shape(indices)} of {format_shape(updates)}"
    if not data or not indices:
        raise ShapeError(f"{what}: expected data and indices of rank 1 or more")
    depth = indices[-1]
    if not isinstance(depth, int):
        return data
    if depth > len(data):
        raise ShapeError(f"{what}: the last axis of the indices is {depth}, expected at most {len(data)}")
    expected = (*indices[:-1], *data[depth:])
    if len(expected) != len(updates) or not all(map(agree, expected, updates)):
        raise ShapeError(f"{what}: expected updates of {format_shape(expected)}")
    return data


def _scatter_elements_shape(given: Operands) -> Shape:
    _check_reduction(given)
    data, indices, updates = (given.shape(index) for index in range(3))
    what = f"ScatterElements into {format_shape(data)} by indices {format_shape(indices)} of {format_shape(updates)}"
    normalize_axis(given.key, given.attributes["axis"], len(data))
    if len(indices) != len(data):
        raise ShapeError(f"{what}: expected data and indices of equal rank")
    if len(indices) != len(updates) or not all(map(agree, indices, updates)):
        raise ShapeError(f"{what}: expected indices and updates of one shape")
    return data


def _tensor_scatter_shape(given: Operands) -> Shape:
    cache, update = given.shape(0), given.shape(1)
    if given.attributes["mode"] not in ("linear", "circular"):
        raise DTypeError(f"TensorScatter was given mode={given.attributes['mode']!r}: expected 'linear' or 'circular'")
    what = f"TensorScatter of {format_shape(update)} into {format_shape(cache)}"
    if len(cache) != len(update):
        raise ShapeError(f"{what}: expected equal ranks")
    axis = normalize_axis(given.key, given.attributes["axis"], len(cache))
    what = f"{what} at axis {axis}"
    if axis == 0:
        raise ShapeError(f"{what}: axis 0 is the batch, expected another one")
    for other, (old, new) in enumerate(zip(cache, update, strict=True)):
        if other != axis and not agree(old, new):
            raise ShapeError(f"{what}: axis {other} is {old} and {new} in the update, expected equal sizes")
        if other == axis and isinstance(old, int) and isinstance(new, int) and new > old:
            raise ShapeError(f"{what}: {new} positions do not fit in {old}")
    if given.has(2):
        lengths = given.shape(2)
        if len(lengths) != 1 or not agree(lengths[0], cache[0]):
            raise ShapeError(f"{what}: expected write_indices of [{cache[0]}], and {format_shape(lengths)} was given")
    return cache


def _scatter_nd(data: Array, indices: Array, updates: Array, *, reduction: str) -> Any:
    result = data.copy()
    _write(result, tuple(indices[..., place] for place in range(indices.shape[-1])), updates, reduction)
    return result


def _scatter_elements(data: Array, indices: Array, updates: Array, *, axis: int, reduction: str) -> Any:
    result = data.copy()
    axis %= data.ndim
    places: list[Any] = list(np.indices(indices.shape, sparse=True))
    places[axis] = np.where(indices < 0, indices + data.shape[axis], indices)
    _write(result, tuple(places), updates, reduction)
    return result


def _write(result: Array, places: tuple[Any, ...], updates: Array, reduction: str) -> None:
    if reduction == "none":
        result[places] = updates
    else:
        _REDUCTIONS[reduction](result, places, updates)


def _tensor_scatter(cache: Array, update: Array, write_indices: Array | None = None, *, axis: int, mode: str) -> Any:
    result = np.moveaxis(cache, axis, 1).copy()  # [B, positions, ...]
    new = np.moveaxis(update, axis, 1)
    length, capacity = new.shape[1], result.shape[1]
    for batch in range(result.shape[0]):
        start = 0 if write_indices is None else int(write_indices[batch])
        places = np.arange(start, start + length)
        result[batch, places % capacity if mode == "circular" else places] = new[batch]
    return np.moveaxis(result, 1, axis)


primitive(
    "ScatterND", "data:T indices:int64 updates:T -> output:T", shape=_scatter_nd_shape, reference=_scatter_nd,
    since=11, attributes={"reduction": "none"}, T=MOVABLE,
)  # fmt: skip
primitive(
    "ScatterElements", "data:T indices:I updates:T -> output:T", shape=_scatter_elements_shape,
    reference=_scatter_elements, since=11, attributes={"axis": 0, "reduction": "none"}, T=MOVABLE, I=INDEX,
)  # fmt: skip
primitive(
    "TensorScatter", "past_cache:T update:T write_indices?:int64 -> present_cache:T", shape=_tensor_scatter_shape,
    reference=_tensor_scatter, since=24, attributes={"axis": -2, "mode": "linear"},
)  # fmt: skip
