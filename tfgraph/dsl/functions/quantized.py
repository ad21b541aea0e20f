"""Products and look-ups in integers: ONNX Runtime's quantised operators.

A quantised tensor stands for `(integers - zero_point) * scale`. Integers of fewer than 8 bits are packed into bytes
along the last axis, the first in the lowest bits, each run of them beginning with a byte of its own.

A definition that a target lacks is written out in operators of the standard: DynamicQuantizeMatMul as
DynamicQuantizeLinear and MatMulInteger, MatMulNBits as the unpacked weight and MatMul. How weights become integers is
in `tfgraph.passes.quantise`.
"""

from __future__ import annotations

import numpy as np

from tfgraph.dsl import functional as F
from tfgraph.dsl.definition import definition
from tfgraph.dsl.tensor import Tensor
from tfgraph.dsl.trace import current_trace
from tfgraph.errors import ShapeError
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Dim
from tfgraph.ir.dtypes import DType


def _emit(key: str, *operands: Tensor | None, count: int = 1, **attributes: int | str) -> tuple[Tensor, ...]:
    return current_trace().emit(key, operands, attributes, count)


def _refuse(message: str) -> ShapeError:
    return ShapeError(current_trace().locate(message))


@definition("com.microsoft::MatMulIntegerToFloat", outputs=("Y",))
def matmul_integer_to_float(
    a: Tensor,
    b: Tensor,
    a_scale: Tensor,
    b_scale: Tensor,
    a_zero_point: Tensor | None = None,
    b_zero_point: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """`((a - a_zero_point) @ (b - b_zero_point)) * a_scale * b_scale + bias`; the sums are exact, in int32.

    Args:
        a: int8 or uint8 [..., M, K]; a_scale and a_zero_point: one number.
        b: int8 or uint8 [K, N]; b_scale and b_zero_point: one number, or [N].
        bias: [N], of the dtype of the scales and the result.

    Source: ONNX Runtime's contrib operator MatMulIntegerToFloat. Its x86 kernels for processors with AVX2 and without
    VNNI add pairs of products in 16 bits, which saturates: weights of 7 bits do not.
    """
    sums = _emit("MatMulInteger", a, b, a_zero_point, b_zero_point)[0]
    result = F.cast(sums, a_scale.dtype) * (a_scale * b_scale)
    return result if bias is None else result + bias


@definition("com.microsoft::DynamicQuantizeMatMul", outputs=("Y",))
def dynamic_quantize_matmul(
    a: Tensor, b: Tensor, b_scale: Tensor, b_zero_point: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """`a @ ((b - b_zero_point) * b_scale) + bias`, with all of `a` rounded to one range of uint8 before.

    Args:
        a: float32 [..., M, K]. Its range, with 0 in it, is found when the model runs, over the whole tensor.
        b: int8 or uint8 [K, N]; b_scale and b_zero_point: one number, or [N].
        bias: float32 [N].

    Source: ONNX Runtime's contrib operator DynamicQuantizeMatMul; the range is that of ONNX's DynamicQuantizeLinear-11.
    """
    quantized, scale, zero_point = _emit("DynamicQuantizeLinear", a, count=3)
    return matmul_integer_to_float(quantized, b, scale, b_scale, zero_point, b_zero_point, bias)


@definition("com.microsoft::MatMulNBits", outputs=("Y",))
def matmul_nbits(
    a: Tensor,
    b: Tensor,
    scales: Tensor,
    zero_points: Tensor | None = None,
    g_idx: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    K: int,
    N: int,
    block_size: int,
    bits: int = 4,
    accuracy_level: int = 0,
    weight_prepacked: int = 0,
) -> Tensor:
    """`a @ w^T + bias`, with `w` [N, K] in blocks of `block_size` integers that share a scale and a zero point.

    Args:
        a: [..., K].
        b: uint8 [N, blocks, block_size * bits / 8], blocks = ceil(K / block_size), packed.
        scales: [N, blocks], or flat.
        zero_points: packed uint8 [N, ceil(blocks * bits / 8)], or [N, blocks] of the dtype of `a`, or either flat;
            without it every zero point is 2^(bits - 1).
        g_idx: int32 [K], the block of each feature; without it feature k is of block k / block_size.
        bias: [N].
        accuracy_level: the least precision that a kernel may compute in: 0 and 1 are float32, 4 is int8. ONNX Runtime's
            CPU kernels then round each block of a row of `a` to int8 symmetrically, which this definition does not do.

    Raises:
        ShapeError: bits that are not 2, 4 or 8, or weights whose layout is a kernel's own.

    Source: ONNX Runtime's contrib operator MatMulNBits.
    """
    if weight_prepacked:
        raise _refuse("MatMulNBits with weight_prepacked=1 has weights in the layout of one kernel: export without it")
    blocks = -(-K // block_size)
    integers = F.reshape(_unpacked(b, bits, "MatMulNBits"), (N, blocks, block_size))
    numbers = F.cast(integers, scales.dtype)  # [N, blocks, block_size]
    scale = F.reshape(scales, (N, blocks, 1))
    zero_point: Tensor | float = 2.0 ** (bits - 1)
    if zero_points is not None:
        zeros = zero_points
        if zeros.dtype is DType.UINT8:
            packed = F.reshape(zeros, (N, -(-blocks * bits // 8)))
            zeros = F.cast(_unpacked(packed, bits, "MatMulNBits")[:, :blocks], scales.dtype)
        zero_point = F.reshape(zeros, (N, blocks, 1))
    if g_idx is None:
        weight = F.reshape((numbers - zero_point) * scale, (N, blocks * block_size))[:, :K]
    else:
        flat = F.reshape(numbers, (N, blocks * block_size))[:, :K]
        shift = zero_point
        if isinstance(zero_point, Tensor):
            shift = F.gather(F.reshape(zero_point, (N, blocks)), g_idx, 1)  # [N, K]
        weight = (flat - shift) * F.gather(F.reshape(scale, (N, blocks)), g_idx, 1)
    result = F.matmul(a, F.cast(F.transpose(weight, (1, 0)), a.dtype))
    return result if bias is None else result + bias


@definition("com.microsoft::GatherBlockQuantized", outputs=("output",))
def gather_block_quantized(
    data: Tensor,
    indices: Tensor,
    scales: Tensor,
    zero_points: Tensor | None = None,
    *,
    bits: int = 4,
    block_size: int = 128,
    gather_axis: int = 0,
    quantize_axis: int = 1,
) -> Tensor:
    """The slices of `data` at `indices` along `gather_axis`, as floats of the dtype of `scales`.

    Args:
        data: int4 or uint4, or uint8 that holds `bits` bits an element, packed along the last axis.
        indices: int32 or int64 of any shape; negative ones count from the end.
        scales: the shape of `data` unpacked, with ceil(size / block_size) in place of the size on `quantize_axis`.
        zero_points: the shape of the scales, uint8 ones packed along the last axis. Without them 0 for int4 and uint4,
            and 2^(bits - 1) for uint8.

    Source: ONNX Runtime's contrib operator GatherBlockQuantized.
    """
    rank = scales.rank
    gathered, quantized = gather_axis % rank, quantize_axis % rank
    packed = data.dtype is DType.UINT8
    zero = 2.0 ** (bits - 1) if packed else 0.0
    if not packed:  # Gather takes no elements of 4 bits
        data = F.cast(data, "int8")
        zero_points = None if zero_points is None else F.cast(zero_points, "int8")
    if gathered == quantized:
        table = _dequantized(data, scales, zero_points, zero, bits, block_size, quantized)
        return F.gather(table, indices, gathered)
    rows = F.gather(data, indices, gathered)
    row_scales = F.gather(scales, indices, gathered)
    row_zeros = None if zero_points is None else F.gather(zero_points, indices, gathered)
    axis = quantized + (indices.rank - 1 if quantized > gathered else 0)
    return _dequantized(rows, row_scales, row_zeros, zero, bits, block_size, axis)


def _dequantized(
    data: Tensor, scales: Tensor, zero_points: Tensor | None, zero: float, bits: int, block_size: int, axis: int
) -> Tensor:
    """`(data - zero_points) * scales`, each of them unpacked and repeated first."""
    key = "GatherBlockQuantized"
    packed = data.dtype is DType.UINT8
    numbers = F.cast(_unpacked(data, bits, key) if packed else data, scales.dtype)
    size = numbers.shape[axis]
    shift: Tensor | float = zero
    if zero_points is not None:
        zeros = zero_points
        if packed:
            zeros = _first(_unpacked(zeros, bits, key), scales.shape[-1], -1)
        shift = _repeated(F.cast(zeros, scales.dtype), block_size, size, axis)
    return (numbers - shift) * _repeated(scales, block_size, size, axis)


def _unpacked(packed: Tensor, bits: int, key: str) -> Tensor:
    """uint8 [..., bytes] as the uint8 integers in it, [..., bytes * 8 / bits]."""
    if bits == 8:
        return packed
    if bits not in (2, 4):
        raise _refuse(f"{key} was given bits={bits}: expected 2, 4 or 8")
    shifts = F.as_tensor(np.arange(0, 8, bits, dtype=np.uint8))
    parts = _emit("BitShift", F.unsqueeze(packed, (-1,)), shifts, direction="RIGHT")[0]  # [..., bytes, 8 / bits]
    low = _emit("BitwiseAnd", parts, F.as_tensor(np.asarray(2**bits - 1, np.uint8)))[0]
    return F.reshape(low, (*packed.shape[:-1], packed.shape[-1] * (8 // bits)))


def _repeated(parameter: Tensor, block_size: int, size: Dim, axis: int) -> Tensor:
    """Each element of `parameter` along `axis`, `block_size` times in a row, up to `size` elements."""
    shape = parameter.shape
    spread = F.expand(F.unsqueeze(parameter, (axis + 1,)), (*shape[: axis + 1], block_size, *shape[axis + 1 :]))
    whole = F.reshape(spread, (*shape[:axis], shape[axis] * block_size, *shape[axis + 1 :]))
    return _first(whole, size, axis)


def _first(x: Tensor, size: Dim, axis: int) -> Tensor:
    """The first `size` elements along `axis`."""
    place = (slice(None),) * (axis % x.rank)
    found = x.shape[axis]
    if found == size:
        return x
    if isinstance(size, int) and isinstance(found, int) and found < size:
        raise _refuse(f"{format_shape(x.shape)} has fewer than {size} elements on axis {axis}")
    return x[(*place, slice(0, size))]
