"""Reductions over axes against ONNX Runtime."""

from __future__ import annotations

import ml_dtypes
import numpy as np

RNG = np.random.default_rng(9)
X = RNG.standard_normal((2, 3, 4)).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(0.1)
N = RNG.integers(-5, 6, (2, 3)).astype(np.int64)
V = np.array([2, 3, -4], dtype=np.int64)
ALL = (
    "ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare",
    "ReduceLogSum", "ReduceLogSumExp",
)  # fmt: skip
EXACT = ("ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin")


def axes(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


CASES = [
    *[(key, (POSITIVE, axes(-1)), {}) for key in ALL],
    *[(key, (POSITIVE, axes(0, 2)), {"keepdims": 0}) for key in ALL],
    *[(key, (POSITIVE,), {}) for key in ALL],
    *[(key, (POSITIVE,), {"keepdims": 0}) for key in ALL],
    *[(key, (POSITIVE, axes()), {"noop_with_empty_axes": 1}) for key in EXACT],
    *[(key, (POSITIVE, axes()), {"noop_with_empty_axes": 1}, "onnx") for key in ALL if key not in EXACT],
    *[(key, (POSITIVE, axes()), {}) for key in ALL],
    *[(key, (POSITIVE.astype(np.float16), axes(1)), {}) for key in ("ReduceSum", "ReduceMean", "ReduceMax")],
    *[(key, (N, axes(1)), {}) for key in (*EXACT, "ReduceMean", "ReduceL1", "ReduceSumSquare")],
    *[(key, (V, axes(0)), {}) for key in EXACT],
    *[(key, (V,), {"keepdims": 0}) for key in EXACT],
    *[(key, (V.astype(np.int32), axes(-1)), {"keepdims": 0}) for key in EXACT],
    *[(key, (V, axes()), {"noop_with_empty_axes": 1}) for key in EXACT],
    *[(key, (X > 0, axes(1)), {}) for key in ("ReduceMax", "ReduceMin")],
    ("ReduceMean", (POSITIVE.astype(ml_dtypes.bfloat16), axes(1)), {}, "none"),
    ("ReduceLogSumExp", (X * 200, axes(1)), {}),
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)
