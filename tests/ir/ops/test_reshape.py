"""Shape, Reshape, Transpose, Squeeze, Expand and their like against ONNX Runtime."""

from __future__ import annotations

import numpy as np

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
V = np.array([5, 6, 7], dtype=np.int64)
S = np.array(9, dtype=np.int64)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


CASES = [
    ("Shape", (X,), {}),
    ("Shape", (X,), {"start": 1}),
    ("Shape", (X,), {"start": -2, "end": -1}),
    ("Shape", (X,), {"start": 2, "end": 1}),
    ("Shape", (X,), {"start": -9, "end": 9}),
    ("Size", (X,), {}),
    ("Size", (np.float32(1),), {}),
    ("Reshape", (X, ints(6, 4)), {}),
    ("Reshape", (X, ints(0, -1)), {}),
    ("Reshape", (X, ints(2, 0, 2, -1)), {}),
    ("Reshape", (X, ints(-1)), {}),
    ("Reshape", (X[:0], ints(0, 5)), {"allowzero": 1}),
    ("Reshape", (V[:1], ints()), {}),
    ("Reshape", (S, ints(1)), {}),
    ("Reshape", (V, ints(-1)), {}),
    ("Flatten", (X,), {}),
    ("Flatten", (X,), {"axis": 0}),
    ("Flatten", (X,), {"axis": 3}),
    ("Flatten", (X,), {"axis": -1}),
    ("Transpose", (X,), {}),
    ("Transpose", (X,), {"perm": (0, 2, 1)}),
    ("Transpose", (V,), {}),
    ("Squeeze", (X[:1, :, :1], ints(0, -1)), {}),
    ("Squeeze", (X[:1, :, :1],), {}),
    ("Squeeze", (X[:1, :, :1], ints(-1)), {}),
    ("Squeeze", (V[:1], ints(0)), {}),
    ("Unsqueeze", (X, ints(0)), {}),
    ("Unsqueeze", (X, ints(-1, 1)), {}),
    ("Unsqueeze", (S, ints(0)), {}),
    ("Expand", (X[:1], ints(2, 1, 4)), {}),
    ("Expand", (X[0], ints(2, 1, 1)), {}),
    ("Expand", (X, ints(1)), {}),
    ("Expand", (V[:1], ints(4)), {}),
    ("Expand", (S, ints(3)), {}),
    ("Expand", (V, ints(3)), {}),
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)
