"""Softmax, Dropout, BatchNormalization and their like against ONNX Runtime."""

from __future__ import annotations

import ml_dtypes
import numpy as np

RNG = np.random.default_rng(13)
X = RNG.standard_normal((2, 3, 4)).astype(np.float32)
HALF = X.astype(np.float16)
C = [np.abs(RNG.standard_normal(3)).astype(np.float32) for _ in range(4)]
MASKED = np.where(X > 0, X, -np.inf).astype(np.float32)
MASKED[..., 0] = 1.0
SOFT = ("Softmax", "LogSoftmax", "Hardmax")

CASES = [
    *[(key, (X,), {}) for key in SOFT],
    *[(key, (X * 100,), {"axis": 1}) for key in SOFT],
    *[(key, (X,), {"axis": 0}) for key in SOFT],
    *[(key, (MASKED,), {}) for key in ("Softmax", "LogSoftmax")],
    *[(key, (HALF,), {}) for key in ("Softmax", "LogSoftmax")],
    ("Softmax", (X.astype(ml_dtypes.bfloat16),), {}, "onnx"),
    ("Dropout", (X,), {}),
    ("Dropout", (X, np.float32(0.3)), {"seed": 1}),
    ("Dropout", (X, np.float32(0.3), np.bool_(False)), {}),
    ("BatchNormalization", (X, *C), {}),
    ("BatchNormalization", (X[..., 0].copy(), *C), {"epsilon": 0.1}),
    ("BatchNormalization", (X[..., None].copy(), *C), {"momentum": 0.5}),
    ("InstanceNormalization", (X, *C[:2]), {}),
    ("InstanceNormalization", (X[..., None].copy(), *C[:2]), {"epsilon": 0.1}),
    ("LpNormalization", (X,), {}),
    ("LpNormalization", (X,), {"p": 1, "axis": 1}),
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)
