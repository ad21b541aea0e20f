"""HQQ: scales and zero points for a weight, better than those of rounding to nearest, from the weight alone.

Source: Badri, Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", 2023: a norm of the error below 1
(`|e|^p`, p = 0.7) lets a few outliers go wrong for the sake of all others. Half-quadratic splitting solves it: an error
is split into a sparse part, found by shrinking, and a rest, whose least squares fit is a closed form. Errors count in
units of the scale, so that one strength fits all weights.

Zero points of the kernels are integers: the zero point is fitted first and rounded, then the scale. Without zero points
only the scale is fitted. With calibration text, `gptq.py` does better.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tfgraph.ir.constant import Array, Constant
from tfgraph.passes.quantise.packing import in_blocks, make_weight
from tfgraph.passes.quantise.plan import QuantizedWeight, Scheme
from tfgraph.passes.quantise.weights import check_finite, lopsided_range, nonzero

_NORM: Final = 0.7
_STRENGTH: Final = 10.0  # of the coupling between an error and its sparse part; it grows as they settle
_GROWTH: Final = 1.05
_ROUNDS: Final = 20
_CHUNK: Final = 1 << 20  # elements at a time


def hqq(matrix: Constant, scheme: Scheme, name: str = "") -> QuantizedWeight:
    """The weight `matrix`, float32 [K, N], in the integers of `scheme`. It is read here, a few columns at a time.

    Raises:
        CheckpointError: the weight holds NaN or an infinity, or has no values.
    """
    array = matrix.numpy()
    features, columns = array.shape
    step = max(1, _CHUNK // max(1, features))
    integers: list[Array] = []
    scales: list[Array] = []
    zeros: list[Array] = []
    for start in range(0, columns, step):
        rows = np.ascontiguousarray(array[:, start : start + step].T)
        check_finite(rows, name)
        groups = in_blocks(rows, scheme.block_size) if scheme.block_size else rows[:, None]
        found = fit_groups(groups, scheme)
        for kept, part in zip((integers, scales, zeros), found, strict=True):
            kept.append(part)
    whole, scale, zero = (np.concatenate(parts) for parts in (integers, scales, zeros))
    if scheme.block_size:
        offsets = None if scheme.symmetric else zero.astype(np.uint8)
        return make_weight(whole.astype(np.uint8), scale, offsets, scheme, (features, columns))
    data = np.ascontiguousarray(whole[:, 0].T).astype(np.int8 if scheme.symmetric else np.uint8)
    offsets = None if scheme.symmetric else zero[:, 0].astype(np.uint8)
    return make_weight(data, scale[:, 0], offsets, scheme, (features, columns))


def fit_groups(groups: Array, scheme: Scheme) -> tuple[Array, Array, Array]:
    """Integers of the shape of `groups` [n, groups, size], and scales and zero points [n, groups], all in float32."""
    bits = scheme.bits
    middle = np.float32(2 ** (bits - 1))
    low, high = np.float32(0), np.float32(2**bits - 1)
    if not scheme.symmetric:
        scales, zeros = lopsided_range(groups, bits, axis=-1)
        zeros = _fit_zeros(groups, scales, zeros, high)
    elif scheme.block_size:
        furthest = np.take_along_axis(groups, np.abs(groups).argmax(axis=-1)[..., None], axis=-1)
        scales, zeros = nonzero(-furthest / middle), np.full_like(furthest, middle)
    else:
        low, high = 1 - middle, middle - 1
        scales = nonzero(np.abs(groups).max(axis=-1, keepdims=True) / high)
        zeros = np.zeros_like(scales)
    best = scales
    integers = _rounded(groups, scales, zeros, low, high)
    lowest = _loss(groups, integers, scales, zeros)
    strength = _STRENGTH
    for _ in range(_ROUNDS):
        offsets = integers - zeros
        sparse = _shrink((groups - offsets * scales) / scales, strength) * scales
        norm = np.sum(offsets * offsets, axis=-1, keepdims=True)
        fitted = np.sum((groups - sparse) * offsets, axis=-1, keepdims=True) / np.maximum(norm, np.float32(1))
        scales = np.where(fitted * scales > 0, nonzero(fitted), scales)
        integers = _rounded(groups, scales, zeros, low, high)
        loss = _loss(groups, integers, scales, zeros)
        best, lowest = np.where(loss < lowest, scales, best), np.minimum(loss, lowest)
        strength *= _GROWTH
    return _rounded(groups, best, zeros, low, high), best[..., 0], zeros[..., 0]


def _fit_zeros(groups: Array, scales: Array, zeros: Array, high: np.float32) -> Array:
    """The zero points of least error under fixed scales, rounded."""
    shifted = groups / scales
    best, lowest = zeros, _loss(groups, _rounded(groups, scales, zeros, np.float32(0), high), scales, zeros)
    current, strength = zeros, _STRENGTH
    for _ in range(_ROUNDS):
        integers = np.clip(np.rint(shifted + current), 0, high)
        sparse = _shrink(shifted - (integers - current), strength)
        current = np.mean(integers - (shifted - sparse), axis=-1, keepdims=True)
        candidate = np.clip(np.rint(current), 0, high)
        loss = _loss(groups, _rounded(groups, scales, candidate, np.float32(0), high), scales, candidate)
        best, lowest = np.where(loss < lowest, candidate, best), np.minimum(loss, lowest)
        strength *= _GROWTH
    return best


def _rounded(groups: Array, scales: Array, zeros: Array, low: np.float32, high: np.float32) -> Array:
    integers: Array = np.clip(np.rint(groups / scales) + zeros, low, high)
    return integers


def _loss(groups: Array, integers: Array, scales: Array, zeros: Array) -> Array:
    """The sum of `|error|^p` of each group [..., 1]."""
    errors: Array = np.abs(groups - (integers - zeros) * scales) ** np.float32(_NORM)
    total: Array = errors.sum(axis=-1, keepdims=True)
    return total


def _shrink(error: Array, strength: float) -> Array:
    """The sparse part of an error: what minimises `|e|^p + strength / 2 * (e - error)^2`, to first order."""
    size = np.abs(error)
    with np.errstate(divide="ignore"):
        kept = np.maximum(size - size ** np.float32(_NORM - 1) / np.float32(strength), 0)
    sparse: Array = np.sign(error) * kept
    return sparse
