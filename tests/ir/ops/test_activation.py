"""Activations and Clip against ONNX Runtime."""

from __future__ import annotations

import numpy as np

X = np.linspace(-6, 6, 24, dtype=np.float32).reshape(2, 3, 4)
FAR = np.array([-200.0, -90.0, 0.0, 90.0, 200.0], dtype=np.float32)
N = np.array([-3, 4, 0], dtype=np.int32)
SLOPE = np.array([[0.1], [0.2], [0.3]], dtype=np.float32)
PLAIN = ("Relu", "Sigmoid", "Softplus", "Softsign", "LeakyRelu", "Elu", "Selu", "HardSigmoid", "ThresholdedRelu")

CASES = [
    *[(key, (X,), {}) for key in (*PLAIN, "Celu", "Shrink")],
    *[(key, (FAR,), {}) for key in PLAIN],
    *[(key, (X.astype(np.float16),), {}) for key in ("Relu", "Sigmoid", "LeakyRelu", "Elu", "Softplus")],
    *[(key, (X,), {"alpha": 0.3}) for key in ("LeakyRelu", "Elu", "Celu", "HardSigmoid", "ThresholdedRelu")],
    ("Selu", (X,), {"alpha": 1.1, "gamma": 2.0}),
    ("HardSigmoid", (X,), {"alpha": 0.1, "beta": 0.3}),
    ("Shrink", (X,), {"bias": 0.7, "lambd": 1.5}),
    ("Relu", (N,), {}),
    ("PRelu", (X, SLOPE), {}),
    ("PRelu", (X, np.array([0.5], dtype=np.float32)), {}),
    ("Clip", (X,), {}),
    ("Clip", (X, np.float32(-1), np.float32(2)), {}),
    ("Clip", (X, None, np.float32(2)), {}),
    ("Clip", (X, np.float32(0)), {}),
    ("Clip", (X, np.float32(2), np.float32(-2)), {}),
    ("Clip", (N, np.int32(-1), np.int32(1)), {}),
    ("Clip", (X.astype(np.float16), np.float16(-1), np.float16(1)), {}),
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)
