"""ScatterND, ScatterElements and TensorScatter against ONNX Runtime."""

from __future__ import annotations

import numpy as np

RNG = np.random.default_rng(11)
X = RNG.standard_normal((3, 4)).astype(np.float32)
ROWS = RNG.standard_normal((2, 4)).astype(np.float32)
CACHE = RNG.standard_normal((2, 3, 5, 4)).astype(np.float32)
NEW = RNG.standard_normal((2, 3, 2, 4)).astype(np.float32)
REDUCTIONS = ("none", "add", "mul", "max", "min")


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


CASES = [
    *[("ScatterND", (X, ints(2, 0).reshape(2, 1), ROWS), {"reduction": how}) for how in REDUCTIONS],
    ("ScatterND", (X, ints(2, 0, -1, 3).reshape(2, 2), ROWS[0, :2].copy()), {}),
    ("ScatterND", (X, ints(1, 1).reshape(2, 1), ROWS), {"reduction": "add"}),
    *[("ScatterElements", (X, ints(2, 0).reshape(1, 2), ROWS[:1, :2]), {"reduction": how}) for how in REDUCTIONS],
    ("ScatterElements", (X, ints(2, -1).reshape(2, 1), ROWS[:, :1].copy()), {"axis": 1}),
    ("ScatterElements", (X, ints(1, 1).reshape(2, 1), ROWS[:, :1].copy()), {"reduction": "add"}),
    ("TensorScatter", (CACHE, NEW), {}),
    ("TensorScatter", (CACHE, NEW, ints(3, 0)), {}),
    ("TensorScatter", (CACHE, NEW, ints(4, 1)), {"mode": "circular"}),
    ("TensorScatter", (CACHE[:, 0], NEW[:, 0], ints(0, 2)), {"axis": 1}),
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)
