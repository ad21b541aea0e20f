"""Small integers in bytes, and from integers to quantised weights and back.

The layout is that of ONNX Runtime's MatMulNBits: along the last axis, the first integer in the lowest bits, every row
beginning with a byte of its own. How integers are chosen is in `weights.py`, `gptq.py` and `hqq.py`.
"""

from __future__ import annotations

import numpy as np

from tfgraph.ir.constant import Array, ArrayConstant
from tfgraph.passes.quantise.plan import QuantizedWeight, Scheme


def pack(integers: Array, bits: int) -> Array:
    """uint8 integers below 2^bits, [..., n], as bytes [..., ceil(n * bits / 8)]; the rest of a last byte is zero."""
    if bits == 8:
        return np.ascontiguousarray(integers, dtype=np.uint8)
    per_byte = 8 // bits
    missing = -integers.shape[-1] % per_byte
    if missing:
        integers = np.pad(integers, [(0, 0)] * (integers.ndim - 1) + [(0, missing)])
    packed = np.zeros((*integers.shape[:-1], integers.shape[-1] // per_byte), np.uint8)
    for place in range(per_byte):
        packed |= integers[..., place::per_byte].astype(np.uint8) << np.uint8(place * bits)
    return packed


def unpack(packed: Array, bits: int, count: int) -> Array:
    """The first `count` integers of each row of bytes, as uint8 [..., count]."""
    if bits == 8:
        return packed[..., :count]
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = (packed[..., None] >> shifts) & np.uint8(2**bits - 1)
    return parts.reshape(*packed.shape[:-1], -1)[..., :count]


def in_blocks(rows: Array, block_size: int) -> Array:
    """[N, K] as [N, blocks, block_size], a last block that is not full filled up with zeros."""
    missing = -rows.shape[1] % block_size
    if missing:
        rows = np.pad(rows, ((0, 0), (0, missing)))
    return rows.reshape(rows.shape[0], -1, block_size)


def make_weight(
    integers: Array, scales: Array, zero_points: Array | None, scheme: Scheme, shape: tuple[int, int]
) -> QuantizedWeight:
    """A quantised weight of `shape` (K, N) from integers in memory.

    Args:
        integers: without blocks int8 or uint8 [K, N]; with blocks uint8 [N, blocks, block_size].
        scales: float32 [N], or [N, blocks].
        zero_points: None, or uint8 of the shape of the scales.
    """
    zeros = zero_points
    if scheme.block_size:
        integers = pack(integers, scheme.bits)
        zeros = None if zeros is None else pack(zeros, scheme.bits)
    return QuantizedWeight(
        ArrayConstant(np.ascontiguousarray(integers)),
        ArrayConstant(np.asarray(scales, np.float32)),
        None if zeros is None else ArrayConstant(np.asarray(zeros, np.uint8)),
        scheme.bits,
        scheme.block_size,
        shape,
    )


def dequantise(weight: QuantizedWeight) -> Array:
    """The float32 matrix [K, N] that a quantised weight stands for."""
    features, columns = weight.shape
    data, scales = weight.data.numpy(), weight.scales.numpy()
    zeros = None if weight.zero_points is None else weight.zero_points.numpy()
    if not weight.block_size:
        shift = np.float32(0) if zeros is None else zeros.astype(np.float32)
        result: Array = (data.astype(np.float32) - shift) * scales
        return result
    numbers = unpack(data, weight.bits, weight.block_size).astype(np.float32)  # [N, blocks, block_size]
    shift = np.float32(2 ** (weight.bits - 1))
    if zeros is not None:
        shift = unpack(zeros, weight.bits, scales.shape[1]).astype(np.float32)[..., None]
    rows = ((numbers - shift) * scales[..., None]).reshape(columns, -1)
    return np.ascontiguousarray(rows[:, :features].T)
