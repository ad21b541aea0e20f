"""Numbers as small integers with a scale: QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear.

A scale is one number (per tensor), one an index of an axis (per axis), or one a block of an axis (`block_size`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfgraph.errors import ShapeError
from tfgraph.ir.constant import Array
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Shape
from tfgraph.ir.dtypes import DType, as_dtype
from tfgraph.ir.ops.arithmetic import silent, widened
from tfgraph.ir.ops.cast import cast_array
from tfgraph.ir.ops.rules import agree, normalize_axis
from tfgraph.ir.optable import Operands
from tfgraph.ir.primitive import FLOAT8S, primitive

_REAL = frozenset({DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16})
_SMALL = FLOAT8S | {DType.INT4, DType.UINT4, DType.INT8, DType.UINT8, DType.INT16, DType.UINT16}


def _scaled_shape(given: Operands) -> Shape:
    shape, scale = given.shape(0), given.shape(1)
    block = given.attributes["block_size"]
    what = f"{given.key} of {format_shape(shape)} with a scale of {format_shape(scale)}"
    if given.has(2) and (len(given.shape(2)) != len(scale) or not all(map(agree, given.shape(2), scale))):
        raise ShapeError(f"{what}: the zero point is {format_shape(given.shape(2))}, expected the shape of the scale")
    if not scale or (scale == (1,) and not block):
        return shape
    axis = normalize_axis(given.key, given.attributes["axis"], len(shape))
    if not block:
        if len(scale) != 1 or not agree(scale[0], shape[axis]):
            raise ShapeError(f"{what}: expected a scalar, or a vector of axis {axis}'s {shape[axis]} elements")
        return shape
    expected = (*shape[:axis], (shape[axis] + (block - 1)) // block, *shape[axis + 1 :])
    if len(scale) != len(shape) or not all(map(agree, scale, expected)):
        raise ShapeError(f"{what}, blocks of {block} along axis {axis}: expected a scale of {format_shape(expected)}")
    return shape


def _spread(parameter: Array, shape: tuple[int, ...], axis: int, block: int) -> Array:
    """A scale or zero point, repeated so that it broadcasts against the data."""
    wide = widened(parameter) if parameter.dtype.kind == "f" else parameter
    if wide.ndim == 0 or (wide.shape == (1,) and not block):
        return wide.reshape(())
    if block:
        return np.repeat(wide, block, axis=axis).take(range(shape[axis]), axis=axis)
    return wide.reshape([-1 if other == axis % len(shape) else 1 for other in range(len(shape))])


def _bounds(dtype: DType) -> tuple[int, int]:
    if dtype.value.startswith("u"):
        return 0, 2**dtype.bits - 1
    return -(2 ** (dtype.bits - 1)), 2 ** (dtype.bits - 1) - 1


@silent
def _quantize(
    x: Array,
    scale: Array,
    zero: Array | None = None,
    *,
    axis: int,
    block_size: int,
    output_dtype: str | None,
    precision: str | None,
    saturate: int,
) -> Any:
    """`saturate(round(x / scale) + zero_point)`, halves rounded to even; float8 rounds by its own rule."""
    to = as_dtype(zero.dtype if zero is not None else output_dtype or "uint8")
    divided = _divide(x, scale, as_dtype(precision).numpy() if precision else None, axis, block_size)
    if to.is_float:
        return cast_array(divided.astype(np.float32), to, saturate=bool(saturate))
    rounded = np.rint(divided).astype(np.float64)
    if zero is not None:
        rounded = rounded + _spread(zero.astype(np.float64), x.shape, axis, block_size)
    return np.clip(rounded, *_bounds(to)).astype(np.int32).astype(to.numpy())


def _divide(x: Array, scale: Array, precision: np.dtype[Any] | None, axis: int, block: int) -> Array:
    """`x / scale` in float32, or rounded to `precision` before and after."""
    if precision is None:
        return np.asarray(widened(x) / _spread(widened(scale), x.shape, axis, block))
    rounded = widened(x.astype(precision)) / _spread(widened(scale.astype(precision)), x.shape, axis, block)
    return widened(np.asarray(rounded).astype(precision))


def _dequantize(
    x: Array, scale: Array, zero: Array | None = None, *, axis: int, block_size: int, output_dtype: str | None
) -> Any:
    """`(x - zero_point) * scale`."""
    values = x.astype(np.float32)
    if zero is not None:
        values = values - _spread(zero.astype(np.float32), x.shape, axis, block_size)
    result = values * _spread(widened(scale), x.shape, axis, block_size)
    return result.astype(scale.dtype if output_dtype is None else as_dtype(output_dtype).numpy())


def _dynamic_shapes(given: Operands) -> list[Shape]:
    return [given.shape(0), (), ()]


@silent
def _dynamic_quantize(x: Array) -> tuple[Array, Array, Array]:
    """uint8 with the scale and zero point that make the range of `x`, with 0 in it, fill 0 to 255."""
    low = np.minimum(np.float32(0), x.min(initial=0))
    high = np.maximum(np.float32(0), x.max(initial=0))
    scale = np.float32((high - low) / np.float32(255)) if high > low else np.float32(1)
    zero = np.clip(np.rint(-low / scale), 0, 255)
    quantized = np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.uint8)
    return quantized, np.asarray(scale, dtype=np.float32), np.asarray(zero, dtype=np.uint8)


primitive(
    "QuantizeLinear", "x:T y_scale:S y_zero_point?:Z -> y:Z|@output_dtype|uint8", shape=_scaled_shape,
    reference=_quantize, since=13,
    attributes={"axis": 1, "block_size": 0, "output_dtype": None, "precision": None, "saturate": 1},
    T=_REAL | {DType.INT32}, S=_REAL | {DType.INT32}, Z=_SMALL,
)  # fmt: skip
primitive(
    "DequantizeLinear", "x:T x_scale:S x_zero_point?:T -> y:@output_dtype|S", shape=_scaled_shape,
    reference=_dequantize, since=13, attributes={"axis": 1, "block_size": 0, "output_dtype": None},
    T=_SMALL | {DType.INT32}, S=_REAL,
)  # fmt: skip
primitive(
    "DynamicQuantizeLinear", "x:T -> y:uint8 y_scale:float32 y_zero_point:uint8", shape=_dynamic_shapes,
    reference=_dynamic_quantize, since=11, T=frozenset({DType.FLOAT32}),
)  # fmt: skip
