"""Weights rounded to nearest: a scale a column or a block, chosen from the largest elements.

Nothing is read here before the model is written: the integers, the scales and the zero points of a weight are handles
that round when they are read, a few million elements at a time. Methods that look at more than the weight are in
`gptq.py`, and those that look longer at it in `hqq.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import Final

import numpy as np

from tfgraph.errors import CheckpointError, ConfigError
from tfgraph.ir.constant import Array, Constant, Derived
from tfgraph.ir.dtypes import DType
from tfgraph.passes.quantise.packing import in_blocks, pack
from tfgraph.passes.quantise.plan import QuantizedWeight, Scheme

_CHUNK: Final = 1 << 18  # elements rounded at a time, so that they stay in a processor's cache
_KEPT: Final = 2  # weights whose integers are kept until they are read


def round_to_nearest(matrix: Constant, scheme: Scheme, name: str = "") -> QuantizedWeight:
    """The weight [K, N] under `scheme`, each element rounded to the nearest integer when the result is read.

    `name` is what errors call the weight.

    Raises:
        ConfigError: something that is no float32 matrix.
        CheckpointError: (when the result is read) the weight holds NaN or an infinity.
    """
    if len(matrix.shape) != 2 or matrix.dtype is not DType.FLOAT32:
        raise ConfigError(f"cannot quantise {matrix!r}: expected a float32 matrix [K, N]")
    features, columns = matrix.shape
    rounding = _Rounding(matrix, scheme, name)
    key = ("round to nearest", scheme.bits, scheme.block_size, scheme.symmetric, scheme.kind == "weight_only")
    if scheme.block_size:
        blocks = -(-features // scheme.block_size)
        scale_shape: tuple[int, ...] = (columns, blocks)
        zero_shape: tuple[int, ...] = (columns, -(-blocks * scheme.bits // 8))
        data_shape: tuple[int, ...] = (columns, blocks, scheme.block_size * scheme.bits // 8)
    else:
        scale_shape = zero_shape = (columns,)
        data_shape = (features, columns)
    kind = DType.INT8 if scheme.symmetric and not scheme.block_size else DType.UINT8
    zeros = None
    if not scheme.symmetric:
        zeros = Derived(rounding.zero_points, [matrix], (*key, "zero points"), DType.UINT8, zero_shape)
    return QuantizedWeight(
        Derived(rounding.data, [matrix], (*key, "data"), kind, data_shape),
        Derived(rounding.scales, [matrix], (*key, "scales"), DType.FLOAT32, scale_shape),
        zeros,
        scheme.bits,
        scheme.block_size,
        (features, columns),
    )


def scale_rows(matrix: Constant, factors: Array) -> Constant:
    """`matrix` [K, N] with row k multiplied by `factors[k]`: what smoothing does to a weight.

    Raises:
        ConfigError: factors that are not K finite numbers above 0.
    """
    smoothing = np.ascontiguousarray(factors, dtype=np.float32)
    if smoothing.shape != matrix.shape[:1] or not np.all((smoothing > 0) & np.isfinite(smoothing)):
        raise ConfigError(
            f"a weight {list(matrix.shape)} was given smoothing {list(smoothing.shape)}, from {smoothing.min():.3g} to "
            f"{smoothing.max():.3g}: expected {matrix.shape[0]} finite factors above 0, one a row"
        )
    key = ("rows scaled", smoothing.tobytes())
    return Derived(lambda array: array * smoothing[:, None], [matrix], key, DType.FLOAT32, matrix.shape)


@dataclass(eq=False)
class _Rounding:
    """One weight's rounding. What is small, the scales and zero points, is kept; the integers of few weights are."""

    matrix: Constant
    scheme: Scheme
    name: str
    small: tuple[Array, Array | None] | None = field(default=None, repr=False)

    def scales(self, matrix: Array) -> Array:
        return self._small(matrix)[0]

    def zero_points(self, matrix: Array) -> Array:
        zeros = self._small(matrix)[1]
        return np.zeros(0, np.uint8) if zeros is None else zeros

    def data(self, matrix: Array) -> Array:
        data = _RECENT.pop(self, None)  # read once, when the model is written
        if data is None:
            data, scales, zeros = quantise_array(matrix, self.scheme, self.name)
            self.small = scales, zeros
        return data

    def _small(self, matrix: Array) -> tuple[Array, Array | None]:
        if self.small is None:
            data, scales, zeros = quantise_array(matrix, self.scheme, self.name)
            self.small = scales, zeros
            _RECENT[self] = data
            for oldest in list(_RECENT)[:-_KEPT]:
                _RECENT.pop(oldest, None)
        return self.small


_RECENT: dict[_Rounding, Array] = {}
"""Integers that came with scales, and will be asked for next; writers may read from several threads."""


def quantise_array(matrix: Array, scheme: Scheme, name: str = "") -> tuple[Array, Array, Array | None]:
    """Data, scales and zero points of a float32 matrix [K, N], in the layout of `QuantizedWeight`.

    Raises:
        CheckpointError: the matrix holds NaN or an infinity.
    """
    features, columns = matrix.shape
    step = max(1, _CHUNK // max(1, features))
    parts = []
    for start in range(0, columns, step):
        chunk = matrix[:, start : start + step]
        check_finite(chunk, name)
        if scheme.block_size:
            integers, scales, zeros = round_blocks(
                in_blocks(np.ascontiguousarray(chunk.T), scheme.block_size), scheme.bits, scheme.symmetric
            )
            packed_zeros = None if zeros is None else pack(zeros, scheme.bits)
            parts.append((pack(integers, scheme.bits), scales, packed_zeros))
        else:
            parts.append(_round_columns(chunk, scheme.bits, scheme.symmetric))
    data = np.concatenate([part[0] for part in parts], axis=0 if scheme.block_size else 1)
    all_zeros = None if scheme.symmetric else np.concatenate([part[2] for part in parts if part[2] is not None])
    return data, np.concatenate([part[1] for part in parts]), all_zeros


def check_finite(array: Array, name: str) -> None:
    """Refuse a weight that holds NaN or an infinity.

    Raises:
        CheckpointError: it does.
    """
    if not np.isfinite(array).all():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise CheckpointError(
            f"cannot quantise the weight '{name or '?'}': {bad} of {array.size} elements looked at are NaN or "
            "infinite. Check the checkpoint, or leave this weight out of the plan"
        )


def _round_columns(chunk: Array, bits: int, symmetric: bool) -> tuple[Array, Array, Array | None]:
    """int8 [K, n] with scales [n]; or uint8 with zero points [n] too."""
    if symmetric:
        largest = 2 ** (bits - 1) - 1
        scales = nonzero(np.abs(chunk).max(axis=0) / np.float32(largest))
        return np.clip(np.rint(chunk / scales), -largest, largest).astype(np.int8), scales, None
    scales, zeros = lopsided_range(chunk, bits, axis=0)
    scale, zero = scales[0], zeros[0]
    data = np.clip(np.rint(chunk / scale) + zero, 0, 2**bits - 1).astype(np.uint8)
    return data, scale, zero.astype(np.uint8)


def round_blocks(blocks: Array, bits: int, symmetric: bool) -> tuple[Array, Array, Array | None]:
    """uint8 integers [n, blocks, block_size] with scales [n, blocks], and zero points of that shape or None.

    Symmetric: the element furthest from 0 becomes the integer 0, whose distance from the zero point is one more than
    that of the largest integer, so that a scale may be negative (as in llama.cpp's format Q4_0, which is kept exactly).

    Asymmetric: from the lowest to the highest element. Rounding the zero point shifts the whole block, so that both
    neighbours are tried, each also with the scale that fits the integers it gave by least squares.
    """
    if symmetric:
        middle = 2 ** (bits - 1)
        furthest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=-1)[..., None], axis=-1)
        scales = nonzero(furthest / np.float32(-middle))
        integers = np.clip(np.rint(blocks / scales) + middle, 0, 2**bits - 1).astype(np.uint8)
        return integers, scales[..., 0], None
    scales, _ = lopsided_range(blocks, bits, axis=-1)
    exact = np.clip(-np.minimum(blocks.min(axis=-1, keepdims=True), 0) / scales, 0, 2**bits - 1)
    plain = [_assign(blocks, scales, zero, bits) for zero in (np.floor(exact), np.ceil(exact))]
    fitted = [_assign(blocks, _fitted(blocks, found), found.zeros, bits) for found in plain]
    best = reduce(_better, [*plain, *fitted])
    return best.integers.astype(np.uint8), best.scales[..., 0], best.zeros[..., 0].astype(np.uint8)


@dataclass(frozen=True)
class _Assignment:
    """Integers [..., block_size] with a scale, a zero point and a squared error [..., 1]."""

    integers: Array
    scales: Array
    zeros: Array
    error: Array


def _assign(blocks: Array, scales: Array, zeros: Array, bits: int) -> _Assignment:
    integers = np.clip(np.rint(blocks / scales) + zeros, 0, 2**bits - 1)
    difference = (integers - zeros) * scales - blocks
    return _Assignment(integers, scales, zeros, np.sum(difference * difference, axis=-1, keepdims=True))


def _fitted(blocks: Array, found: _Assignment) -> Array:
    """The scales [..., 1] with the least squared error for the integers that were found."""
    offset = found.integers - found.zeros
    norm = np.sum(offset * offset, axis=-1, keepdims=True)
    scales = np.sum(blocks * offset, axis=-1, keepdims=True) / np.maximum(norm, np.float32(1))
    return np.where(scales > 0, nonzero(scales), found.scales)


def _better(found: _Assignment, best: _Assignment) -> _Assignment:
    wins = found.error < best.error
    return _Assignment(
        np.where(wins, found.integers, best.integers),
        np.where(wins, found.scales, best.scales),
        np.where(wins, found.zeros, best.zeros),
        np.where(wins, found.error, best.error),
    )


def lopsided_range(array: Array, bits: int, axis: int) -> tuple[Array, Array]:
    """Scales and zero points (as floats), `axis` kept with size 1, with which 0 to 2^bits - 1 covers all and 0."""
    low = np.minimum(array.min(axis=axis, keepdims=True), np.float32(0))
    high = np.maximum(array.max(axis=axis, keepdims=True), np.float32(0))
    levels = np.float32(2**bits - 1)
    scales = nonzero(high / levels - low / levels)
    return scales, np.clip(np.rint(-low / scales), 0, levels)


def nonzero(scales: Array) -> Array:
    """Scales with 1 in place of 0, the scale of nothing but zeros, and of what is too small to divide by it."""
    smallest = np.finfo(np.float32).tiny
    return np.where(np.abs(scales) < smallest, np.float32(1), scales).astype(np.float32)
