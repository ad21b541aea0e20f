"""Add to Mean: numbers, types and content against ONNX Runtime."""

from __future__ import annotations

import ml_dtypes
import numpy as np

RNG = np.random.default_rng(7)
X = RNG.standard_normal((2, 3, 4)).astype(np.float32)
Y = RNG.standard_normal((3, 1)).astype(np.float32)
HALF = X.astype(np.float16)
BRAIN = X.astype(ml_dtypes.bfloat16)
N = RNG.integers(-9, 9, (2, 3)).astype(np.int64)
J = np.array([[-3], [2]], dtype=np.int64)
V = np.array([7, -7, 6, 0], dtype=np.int64)
W = np.array([2, 2, -4, 5], dtype=np.int64)
U = np.array([3, 200], dtype=np.uint8)

CASES = [
    *[(key, (X, Y), {}) for key in ("Add", "Sub", "Mul", "Div")],
    *[(key, (HALF, HALF[:1]), {}) for key in ("Add", "Sub", "Mul", "Div")],
    *[(key, (N, J), {}) for key in ("Add", "Sub", "Mul", "Div")],
    *[(key, (V, W), {}) for key in ("Add", "Sub", "Mul", "Div")],
    *[(key, (V.astype(np.int32), W.astype(np.int32)[:1]), {}) for key in ("Add", "Sub", "Mul", "Div")],
    ("Add", (U, U), {}),
    ("Div", (U, U[:1]), {}),
    ("Add", (np.float32(2), X), {}),
    ("Div", (X, np.zeros_like(Y)), {}),
    ("Add", (BRAIN, BRAIN[:, :1]), {}, "onnx"),
    ("Mod", (N, J), {}),
    ("Mod", (V, W), {}),
    ("Mod", (V, W), {"fmod": 1}),
    ("Mod", (N, J), {"fmod": 1}),
    ("Mod", (X, Y), {"fmod": 1}),
    ("Mod", (HALF, HALF[:1] + np.float16(2)), {"fmod": 1}),
    ("Pow", (np.abs(X), Y), {}),
    ("Pow", (X, np.float32(2)), {}),
    ("Pow", (X, np.int64(3)), {}),
    ("Pow", (V, np.int64(3)), {}),
    ("Pow", (V, np.float32(2.0)), {}),
    ("Pow", (HALF, np.float16(2)), {}),
    *[(key, (X, Y, X[:, :, :1]), {}) for key in ("Max", "Min", "Sum", "Mean")],
    *[(key, (X,), {}) for key in ("Max", "Min", "Sum", "Mean")],
    *[(key, (V, W), {}) for key in ("Max", "Min")],
    *[(key, (HALF, HALF[:1]), {}) for key in ("Max", "Min")],
    *[(key, (BRAIN, BRAIN[:1]), {}, "none") for key in ("Sum", "Mean")],
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)
