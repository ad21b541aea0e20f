"""Convolutions over any number of spatial axes: Conv, ConvTranspose."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tfgraph.errors import ShapeError
from tfgraph.ir.constant import Array
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Dim, Shape, maximum
from tfgraph.ir.dtypes import as_dtype
from tfgraph.ir.ops.arithmetic import in_float32
from tfgraph.ir.ops.rules import agree, known_sizes
from tfgraph.ir.ops.windows import make_window, output_sizes, window, windows
from tfgraph.ir.optable import Operands
from tfgraph.ir.primitive import FLOATS, primitive
from tfgraph.ir.types import TensorType

_ATTRIBUTES = {
    "auto_pad": "NOTSET", "dilations": None, "group": 1, "kernel_shape": None, "pads": None, "strides": None
}  # fmt: skip


def _kernel(given: Operands) -> tuple[int, ...]:
    """The kernel's sizes, from the attribute or from the weight.

    Raises:
        ShapeError: the ranks of data and weight differ, or the sizes are not known.
    """
    data, weight = given.shape(0), given.shape(1)
    what = f"{given.key} of {format_shape(data)} by {format_shape(weight)}"
    if len(data) < 3 or len(data) != len(weight):
        raise ShapeError(f"{what}: expected [N, C, ...] and a weight of the same rank")
    named = given.attributes["kernel_shape"]
    sizes = tuple(dim for dim in weight[2:] if isinstance(dim, int))
    if len(sizes) == len(weight) - 2:
        if named is not None and tuple(named) != sizes:
            raise ShapeError(f"{what}: kernel_shape={list(named)} is not the size of the weight")
        return sizes
    if named is None:
        raise ShapeError(f"{what}: the size of the kernel must be known before the model runs")
    return tuple(named)


def _conv_shape(given: Operands) -> Shape:
    data, weight = given.shape(0), given.shape(1)
    kernel = _kernel(given)
    group = given.attributes["group"]
    what = f"Conv of {format_shape(data)} by {format_shape(weight)} in {group} groups"
    if not agree(data[1], weight[1] * group):
        raise ShapeError(f"{what}: the data has {data[1]} channels, expected {weight[1] * group}")
    if isinstance(weight[0], int) and weight[0] % group:
        raise ShapeError(f"{what}: {weight[0]} filters do not divide into {group} groups")
    _check_bias(given, weight[0])
    return (data[0], weight[0], *output_sizes(data[2:], window(given, kernel)))


def _check_bias(given: Operands, channels: Dim) -> None:
    if given.has(2):
        bias = given.shape(2)
        if len(bias) != 1 or not agree(bias[0], channels):
            raise ShapeError(f"{given.key} takes a bias of [{channels}], and {format_shape(bias)} was given")


def _conv(x: Array, weight: Array, bias: Array | None = None, *, group: int, **attributes: Any) -> Any:
    rank = x.ndim - 2
    moved = make_window("Conv", rank, weight.shape[2:], attributes)
    parts = np.stack(np.split(windows(x, moved, 0), group, axis=1))  # [G, N, C/G, places..., kernel...]
    filters = np.stack(np.split(weight, group))  # [G, M/G, C/G, kernel...]
    places = parts.shape[3 : 3 + rank]
    width = math.prod(weight.shape[1:])
    flat = np.moveaxis(parts, 2, 2 + rank).reshape(group, -1, width)  # [G, N * places, C/G * kernel]
    product = flat @ filters.reshape(group, -1, width).transpose(0, 2, 1)  # [G, N * places, M/G]
    result = product.transpose(1, 0, 2).reshape(x.shape[0], *places, weight.shape[0])
    return np.moveaxis(result if bias is None else result + bias, -1, 1)


def _transpose_sizes(given: Operands) -> tuple[list[Dim], list[Dim]]:
    """The size of the result along each spatial axis, and what is cut off before each."""
    spatial = given.shape(0)[2:]
    moved = window(given, _kernel(given))
    extra = given.attributes["output_padding"] or (0,) * len(spatial)
    wanted = given.attributes["output_shape"]
    sizes: list[Dim] = []
    cuts: list[Dim] = []
    for axis, dim in enumerate(spatial):
        whole = (dim - 1) * moved.strides[axis] + (extra[axis] + moved.extent(axis))
        if wanted is not None or moved.auto_pad.startswith("SAME"):
            size = wanted[axis] if wanted is not None else dim * moved.strides[axis]
            total = maximum(whole - size, 0)
            half = total // 2
            cuts.append(half if moved.auto_pad == "SAME_UPPER" else total - half)
            sizes.append(size)
        else:
            before, after = (0, 0) if moved.auto_pad == "VALID" else (moved.pads[axis], moved.pads[axis + len(spatial)])
            cuts.append(before)
            sizes.append(whole - (before + after))
    return sizes, cuts


def _conv_transpose_shape(given: Operands) -> Shape:
    data, weight = given.shape(0), given.shape(1)
    sizes, _ = _transpose_sizes(given)
    if not agree(data[1], weight[0]):
        raise ShapeError(
            f"ConvTranspose of {format_shape(data)} by {format_shape(weight)}: "
            f"the data has {data[1]} channels, expected {weight[0]}"
        )
    channels = weight[1] * given.attributes["group"]
    _check_bias(given, channels)
    return (data[0], channels, *sizes)


def _conv_transpose(x: Array, weight: Array, bias: Array | None = None, **attributes: Any) -> Any:
    """Each element of `x` adds the kernel, scaled by it, at its place in the result."""
    types = tuple(TensorType(as_dtype(array.dtype), array.shape) for array in (x, weight))
    given = Operands("ConvTranspose", types, attributes)
    sizes, cuts = (known_sizes(given.key, dims) for dims in _transpose_sizes(given))
    moved = window(given, weight.shape[2:])
    group, rank = attributes["group"], x.ndim - 2
    data = x.reshape(x.shape[0], group, -1, *x.shape[2:])  # [N, G, C/G, spatial...]
    filters = weight.reshape(group, -1, *weight.shape[1:])  # [G, C/G, M/G, kernel...]
    whole = [(x.shape[2 + a] - 1) * moved.strides[a] + moved.extent(a) for a in range(rank)]
    room = [max(whole[a], cuts[a] + sizes[a]) for a in range(rank)]
    result = np.zeros((x.shape[0], group, weight.shape[1], *room), dtype=x.dtype)
    for place in np.ndindex(*moved.kernel):
        spread = tuple(
            slice(p * d, p * d + (n - 1) * s + 1, s)
            for p, d, s, n in zip(place, moved.dilations, moved.strides, x.shape[2:], strict=True)
        )
        tap = filters[(slice(None), slice(None), slice(None), *place)]  # [G, C/G, M/G]
        result[(slice(None), slice(None), slice(None), *spread)] += np.einsum("ngc...,gcm->ngm...", data, tap)
    kept = tuple(slice(cut, cut + size) for cut, size in zip(cuts, sizes, strict=True))
    merged = result.reshape(x.shape[0], -1, *room)[(slice(None), slice(None), *kept)]
    return merged if bias is None else merged + bias.reshape(-1, *(1,) * rank)


primitive(
    "Conv", "X:T W:T B?:T -> Y:T", shape=_conv_shape, reference=in_float32(_conv), since=11,
    attributes=_ATTRIBUTES, T=FLOATS,
)  # fmt: skip
primitive(
    "ConvTranspose", "X:T W:T B?:T -> Y:T", shape=_conv_transpose_shape, reference=in_float32(_conv_transpose),
    since=11, attributes={**_ATTRIBUTES, "output_padding": None, "output_shape": None}, T=FLOATS,
)  # fmt: skip
