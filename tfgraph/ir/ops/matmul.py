"""Products of matrices: MatMul, Gemm, MatMulInteger. Einsum is in `einsum.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfgraph.errors import ShapeError
from tfgraph.ir.constant import Array
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Shape
from tfgraph.ir.dtypes import DType
from tfgraph.ir.ops.arithmetic import in_float32, silent
from tfgraph.ir.ops.rules import agree, broadcast_shapes, check_broadcasts_to, require_rank
from tfgraph.ir.optable import Operands
from tfgraph.ir.primitive import WIDE_NUMBERS, primitive

_BYTES = frozenset({DType.INT8, DType.UINT8})


def matmul_shape(given: Operands) -> Shape:
    """The shape of `A @ B`: numpy's rules, with batch axes that broadcast and vectors that lose their axis.

    Raises:
        ShapeError: the inner sizes differ, or an operand is a scalar.
    """
    left, right = given.shape(0), given.shape(1)
    what = f"{given.key} of {format_shape(left)} and {format_shape(right)}"
    if not left or not right:
        raise ShapeError(f"{what}: expected matrices or vectors, not scalars")
    rows, columns = left[-2:-1], right[-1:] if len(right) > 1 else ()
    inner_left, inner_right = left[-1], right[-2] if len(right) > 1 else right[0]
    if not agree(inner_left, inner_right):
        raise ShapeError(
            f"{what}: the inner sizes are {inner_left} (last axis of the first) and {inner_right} "
            f"({'last but one' if len(right) > 1 else 'only'} axis of the second), expected equal sizes"
        )
    return (*broadcast_shapes(left[:-2], right[:-2], key=what), *rows, *columns)


def _gemm_shape(given: Operands) -> Shape:
    left, right = require_rank(given, 0, 2), require_rank(given, 1, 2)
    rows, inner_left = reversed(left) if given.attributes["transA"] else left
    inner_right, columns = reversed(right) if given.attributes["transB"] else right
    if not agree(inner_left, inner_right):
        flags = f"transA={given.attributes['transA']}, transB={given.attributes['transB']}"
        raise ShapeError(
            f"Gemm of {format_shape(left)} and {format_shape(right)} with {flags}: "
            f"the inner sizes are {inner_left} and {inner_right}, expected equal sizes"
        )
    result = (rows, columns)
    if given.has(2):
        check_broadcasts_to(given, 2, result)
    return result


def _matmul(left: Array, right: Array) -> Any:
    return np.matmul(left, right)


def _gemm(
    left: Array, right: Array, bias: Array | None = None, *, alpha: float, beta: float, transA: int, transB: int
) -> Any:
    product = np.matmul(left.T if transA else left, right.T if transB else right)
    scaled = product * product.dtype.type(alpha) if alpha != 1 else product
    if bias is None:
        return scaled
    return scaled + (bias * bias.dtype.type(beta) if beta != 1 else bias)


def _matmul_integer(left: Array, right: Array, left_zero: Array | None = None, right_zero: Array | None = None) -> Any:
    """`(A - a_zero_point) @ (B - b_zero_point)` in int32; zero points by tensor, or by row of A and column of B."""
    wide_left, wide_right = left.astype(np.int32), right.astype(np.int32)
    if left_zero is not None:
        zero = left_zero.astype(np.int32)
        wide_left -= zero[..., None] if zero.ndim == 1 and zero.size > 1 else zero
    if right_zero is not None:
        wide_right -= right_zero.astype(np.int32)
    return np.matmul(wide_left, wide_right)


primitive(
    "MatMul", "A:T B:T -> Y:T", shape=matmul_shape, reference=silent(in_float32(_matmul)), since=1, T=WIDE_NUMBERS
)  # fmt: skip
primitive(
    "Gemm", "A:T B:T C?:T -> Y:T", shape=_gemm_shape, reference=in_float32(_gemm), since=11,
    attributes={"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}, T=WIDE_NUMBERS,
)  # fmt: skip
primitive(
    "MatMulInteger", "A:T B:U a_zero_point?:T b_zero_point?:U -> Y:int32", shape=matmul_shape,
    reference=_matmul_integer, since=10, T=_BYTES, U=_BYTES,
)  # fmt: skip
