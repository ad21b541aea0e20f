"""BitShift and the bitwise operators against ONNX Runtime."""

from __future__ import annotations

import numpy as np

A = np.array([[1, 200, 37]], dtype=np.uint8)
B = np.array([[1], [3]], dtype=np.uint8)
N = np.array([5, -6, 7], dtype=np.int32)

CASES = [
    ("BitShift", (A, B), {"direction": "LEFT"}),
    ("BitShift", (A, B), {"direction": "RIGHT"}),
    *[(key, (A, B), {}) for key in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")],
    *[(key, (N, N[:1]), {}) for key in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")],
    ("BitwiseNot", (A,), {}),
    ("BitwiseNot", (N,), {}),
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)
