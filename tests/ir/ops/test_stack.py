"""Concat, Tile, DepthToSpace and SpaceToDepth against ONNX Runtime."""

from __future__ import annotations

import numpy as np

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
V = np.array([5, 6], dtype=np.int64)
IMAGE = np.arange(2 * 8 * 2 * 4, dtype=np.float32).reshape(2, 8, 2, 4)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


CASES = [
    ("Concat", (X, X[:, :1]), {"axis": 1}),
    ("Concat", (X, X, X), {"axis": -1}),
    ("Concat", (X,), {"axis": 0}),
    ("Concat", (V, V[:1], ints()), {"axis": 0}),
    ("Tile", (X, ints(1, 2, 3)), {}),
    ("Tile", (V, ints(3)), {}),
    ("Tile", (X, ints(0, 1, 1)), {}),
    ("DepthToSpace", (IMAGE,), {"blocksize": 2}),
    ("DepthToSpace", (IMAGE,), {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", (IMAGE,), {"blocksize": 2}),
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)
