"""ArgMax, ArgMin, TopK, CumSum and Unique against ONNX Runtime."""

from __future__ import annotations

import ml_dtypes
import numpy as np

RNG = np.random.default_rng(10)
X = RNG.standard_normal((2, 3, 4)).astype(np.float32)
TIES = np.array([[1, 3, 3, 2], [0, 0, -1, 0]], dtype=np.int64)
K = np.array([2], dtype=np.int64)

CASES = [
    *[(key, (X,), {}) for key in ("ArgMax", "ArgMin")],
    *[(key, (X,), {"axis": -1, "keepdims": 0}) for key in ("ArgMax", "ArgMin")],
    *[(key, (TIES.astype(np.int32),), {"axis": 1}) for key in ("ArgMax", "ArgMin")],
    *[(key, (TIES.astype(np.int32),), {"axis": 1, "select_last_index": 1}) for key in ("ArgMax", "ArgMin")],
    ("ArgMax", (X.astype(ml_dtypes.bfloat16),), {"axis": 1}, "none"),
    ("TopK", (X, K), {}),
    ("TopK", (X, K), {"axis": 1, "largest": 0}),
    ("TopK", (TIES, K), {}),
    ("TopK", (TIES, K), {"largest": 0}),
    ("TopK", (TIES, np.array([0], dtype=np.int64)), {}),
    ("CumSum", (X, np.int64(1)), {}),
    ("CumSum", (X, np.int32(-1)), {"exclusive": 1}),
    ("CumSum", (X, np.array([0], dtype=np.int64)), {"reverse": 1}),
    ("CumSum", (TIES, np.int64(1)), {"reverse": 1, "exclusive": 1}),
    ("Unique", (TIES,), {}),
    ("Unique", (TIES,), {"axis": 1}),
    ("Unique", (X,), {}),
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)
