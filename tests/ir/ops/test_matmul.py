"""MatMul, Gemm, MatMulInteger and Einsum against ONNX Runtime."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from tfgraph.ir.interpret import evaluate
from tfgraph.ir.optable import get_spec

RNG = np.random.default_rng(12)
A = RNG.standard_normal((2, 1, 3, 4)).astype(np.float32)
B = RNG.standard_normal((5, 4, 6)).astype(np.float32)
LEFT = RNG.standard_normal((3, 4)).astype(np.float32)
RIGHT = RNG.standard_normal((4, 6)).astype(np.float32)
BIAS = RNG.standard_normal(6).astype(np.float32)
BYTES = RNG.integers(0, 255, (3, 4)).astype(np.uint8)
SIGNED = RNG.integers(-100, 100, (4, 6)).astype(np.int8)
ROW_ZERO = np.array([1, 2, 3], dtype=np.uint8)
COLUMN_ZERO = RNG.integers(-9, 9, 6).astype(np.int8)
Q = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)

CASES = [
    ("MatMul", (A, B), {}),
    ("MatMul", (LEFT, RIGHT), {}),
    ("MatMul", (LEFT[0], RIGHT), {}),
    ("MatMul", (A, RIGHT[:, 0].copy()), {}),
    ("MatMul", (LEFT[0], RIGHT[:, 0].copy()), {}),
    ("MatMul", (LEFT.astype(np.float16), RIGHT.astype(np.float16)), {}),
    ("MatMul", (LEFT.astype(ml_dtypes.bfloat16), RIGHT.astype(ml_dtypes.bfloat16)), {}, "none"),
    ("MatMul", (LEFT.astype(np.int32), RIGHT.astype(np.int32)), {}),
    ("Gemm", (LEFT, RIGHT), {}),
    ("Gemm", (LEFT, RIGHT, BIAS), {}),
    ("Gemm", (LEFT, RIGHT, BIAS), {"alpha": 0.5, "beta": 2.0}),
    ("Gemm", (LEFT.T.copy(), RIGHT.T.copy(), BIAS[:1]), {"transA": 1, "transB": 1}),
    ("Gemm", (LEFT.astype(np.float16), RIGHT.astype(np.float16), BIAS.astype(np.float16)), {}),
    ("MatMulInteger", (BYTES, SIGNED), {}),
    ("MatMulInteger", (BYTES, SIGNED, np.uint8(12), np.int8(-3)), {}),
    ("MatMulInteger", (BYTES, SIGNED, np.uint8(12), COLUMN_ZERO), {}),
    ("MatMulInteger", (BYTES, SIGNED, ROW_ZERO), {}, "none"),
    ("MatMulInteger", (BYTES, SIGNED, None, np.int8(5)), {}),
    ("Einsum", (Q, Q), {"equation": "bhqd,bhkd->bhqk"}),
    ("Einsum", (Q, Q), {"equation": "b h q d, b h k d -> b h q k"}),
    ("Einsum", (LEFT, RIGHT), {"equation": "ij,jk"}),
    ("Einsum", (LEFT,), {"equation": "ij->ji"}),
    ("Einsum", (LEFT,), {"equation": "ij->"}),
    ("Einsum", (Q, Q), {"equation": "...ij,...kj->...ik"}),
    ("Einsum", (Q, RIGHT[:, :5].copy()), {"equation": "...ij,ij->...i"}),
    ("Einsum", (LEFT, LEFT), {"equation": "ij,ij->i"}),
    ("Einsum", (LEFT[:, :1].copy(), RIGHT), {"equation": "ij,jk->ik"}),
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)


def test_zero_points_by_row():
    (result,) = evaluate(get_spec("MatMulInteger"), (BYTES, SIGNED, ROW_ZERO), {})
    shifted = BYTES.astype(np.int32) - ROW_ZERO.astype(np.int32)[:, None]
    np.testing.assert_array_equal(result, shifted @ SIGNED.astype(np.int32))


def test_bfloat16_products_are_summed_in_float32():
    ones = np.ones((1, 1024), dtype=ml_dtypes.bfloat16)
    (result,) = evaluate(get_spec("MatMul"), (ones, ones.T), {})
    assert result.dtype == ml_dtypes.bfloat16
    assert float(result[0, 0]) == 1024.0
