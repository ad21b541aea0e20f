"""And to Where: numbers, types and content against ONNX Runtime."""

from __future__ import annotations

import numpy as np

RNG = np.random.default_rng(8)
P = np.array([[True, False, True]])
Q = np.array([[True], [False]])
X = RNG.standard_normal((2, 3)).astype(np.float32)
Y = np.round(X, 1)
V = np.array([7, -7, 6, 0], dtype=np.int64)
W = np.array([7, 2, -4, 5], dtype=np.int64)
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -1.0], dtype=np.float32)
COMPARISONS = ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")

CASES = [
    *[(key, (P, Q), {}) for key in ("And", "Or", "Xor")],
    *[(key, (P[0], P[0, ::-1].copy()), {}) for key in ("And", "Or", "Xor")],
    ("Not", (P,), {}),
    ("Not", (P[0],), {}),
    *[(key, (X, Y[:1]), {}) for key in COMPARISONS],
    *[(key, (V, W), {}) for key in COMPARISONS],
    *[(key, (V.astype(np.int32), np.int32(6)), {}) for key in COMPARISONS],
    *[(key, (X.astype(np.float16), Y.astype(np.float16)), {}) for key in COMPARISONS],
    ("Equal", (P, Q), {}),
    ("Equal", (SPECIAL, SPECIAL), {}),
    ("Where", (Q, X, Y[:, :1]), {}),
    ("Where", (P[0], V[:3], W[:3]), {}),
    ("Where", (np.array([True]), V, W), {}),
    ("Where", (np.bool_(False), V, W[:1]), {}),
    ("Where", (Q, X.astype(np.float16), np.float16(1)), {}),
    ("IsNaN", (SPECIAL,), {}),
    ("IsNaN", (SPECIAL.astype(np.float16),), {}),
    ("IsInf", (SPECIAL,), {}),
    ("IsInf", (SPECIAL,), {"detect_negative": 0}),
    ("IsInf", (SPECIAL,), {"detect_positive": 0}),
    ("IsInf", (SPECIAL,), {"detect_negative": 0, "detect_positive": 0}),
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)
