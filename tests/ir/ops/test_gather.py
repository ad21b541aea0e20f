"""Gather, GatherElements, GatherND, Compress and NonZero against ONNX Runtime."""

from __future__ import annotations

import numpy as np

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
V = np.array([5, 6, 7], dtype=np.int64)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


CASES = [
    ("Gather", (X, ints(1, 0, 1)), {}),
    ("Gather", (X, ints(0, -1).reshape(1, 2)), {"axis": 1}),
    ("Gather", (X, np.int64(2)), {"axis": -1}),
    ("Gather", (X, np.int32(0)), {}),
    ("Gather", (V, np.int64(-1)), {}),
    ("Gather", (V, ints(2, 0)), {}),
    ("GatherElements", (X[0], ints(0, 2, 1, -1).reshape(1, 4)), {}),
    ("GatherElements", (X[0], ints(0, -4, 3).reshape(3, 1)), {"axis": 1}),
    ("GatherND", (X, ints(0, 1, 1, 2).reshape(2, 2)), {}),
    ("GatherND", (X, ints(0, 1, -1)), {}),
    ("GatherND", (X, ints(1, 0).reshape(2, 1)), {"batch_dims": 1}),
    ("GatherND", (X, ints(1, 2, 0, 3, 0, 0, 1, 1).reshape(2, 2, 2)), {"batch_dims": 1}),
    ("GatherND", (X, ints(3, 2, 1, 0, 1, 2).reshape(2, 3, 1)), {"batch_dims": 2}),
    ("Compress", (X, np.array([True, False, True])), {"axis": 1}),
    ("Compress", (X, np.array([False, True, True, False, True])), {}),
    ("NonZero", ((X % 3).astype(np.float32),), {}),
    ("NonZero", (np.array([[True, False], [True, True]]),), {}),
    ("NonZero", (np.zeros(3, dtype=np.int64),), {}),
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)
