"""Functions of one operand against ONNX Runtime, and the error function against the C library's."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np

from tfgraph.ir.ops.erf import erf

X = np.linspace(-3, 3, 25, dtype=np.float32).reshape(5, 5)
UNIT = (X / 3.01).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(1.01)
N = np.array([[3, -4, 0]], dtype=np.int64)
HALVES = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4], dtype=np.float32)
EVERYWHERE = (
    "Neg", "Abs", "Sign", "Exp", "Erf", "Floor", "Ceil", "Round", "Sin", "Cos", "Tan", "Atan", "Tanh", "Identity",
)  # fmt: skip

CASES = [
    *[(key, (X,), {}) for key in (*EVERYWHERE, "Sinh", "Cosh", "Asinh")],
    *[(key, (X.astype(np.float16),), {}) for key in EVERYWHERE if key not in ("Sin", "Cos", "Tan", "Atan")],
    *[(key, (X.astype(ml_dtypes.bfloat16),), {}, "onnx") for key in ("Neg", "Abs", "Exp", "Tanh")],
    *[(key, (UNIT,), {}) for key in ("Asin", "Acos", "Atanh")],
    *[(key, (POSITIVE,), {}) for key in ("Sqrt", "Log", "Reciprocal", "Acosh")],
    *[(key, (X,), {}) for key in ("Sqrt", "Log", "Reciprocal")],
    *[(key, (POSITIVE.astype(np.float16),), {}) for key in ("Sqrt", "Log", "Reciprocal")],
    *[(key, (N,), {}) for key in ("Neg", "Abs", "Sign", "Identity")],
    *[(key, (N[0],), {}) for key in ("Neg", "Abs", "Sign", "Identity")],
    *[(key, (HALVES,), {}) for key in ("Round", "Floor", "Ceil")],
    ("Abs", (np.array([3, 250], dtype=np.uint8),), {}),
    ("Exp", (np.float32(100),), {}),
    ("Identity", (np.array([True, False]),), {}),
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)


def test_erf_is_exact_in_float64():
    x = np.concatenate([np.linspace(-8, 8, 4001), [0.0, -0.0, 1e-300, 3.0, np.inf, -np.inf]])
    expected = np.array([math.erf(element) for element in x])
    assert np.max(np.abs(erf(x) - expected)) < 1e-15
    small = np.array([1e-9, 1e-5, 1e-3])
    np.testing.assert_allclose(erf(small), [math.erf(element) for element in small], rtol=1e-14)


def test_erf_of_nan_is_nan_and_keeps_the_dtype():
    result = erf(np.array([np.nan, 1.0], dtype=np.float32))
    assert result.dtype == np.float32
    assert np.isnan(result[0])
