"""Range, ConstantOfShape, EyeLike, Trilu and OneHot against ONNX Runtime."""

from __future__ import annotations

import numpy as np

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def number(value: float, dtype: object = np.int64) -> np.ndarray:
    return np.array(value, dtype=dtype)


CASES = [
    ("Range", (number(0), number(5), number(1)), {}),
    ("Range", (number(10), number(1), number(-3)), {}),
    ("Range", (number(3), number(1), number(1)), {}),
    ("Range", (number(1, np.int32), number(9, np.int32), number(2, np.int32)), {}),
    ("Range", (number(0, np.float32), number(1, np.float32), number(0.25, np.float32)), {}),
    ("ConstantOfShape", (ints(2, 3),), {}),
    ("ConstantOfShape", (ints(),), {"value": 2.5}),
    ("ConstantOfShape", (ints(3),), {"value": -1, "dtype": "int64"}),
    ("ConstantOfShape", (ints(2),), {"value": 1, "dtype": "bool"}),
    ("ConstantOfShape", (ints(0, 2),), {}),
    ("EyeLike", (X[0],), {}),
    ("EyeLike", (X[0],), {"k": 1, "dtype": "int64"}),
    ("EyeLike", (X[0],), {"k": -1}),
    ("Trilu", (X,), {}),
    ("Trilu", (X,), {"upper": 0}),
    ("Trilu", (X, number(1)), {}),
    ("Trilu", (X, number(-1)), {"upper": 0}),
    ("Trilu", (X, number(9)), {}),
    ("Trilu", (X[0].astype(np.int64), number(-2)), {}),
    ("Trilu", (X[0] > 5,), {"upper": 0}),
    ("OneHot", (ints(0, 2, -1, 5), number(3), np.array([0, 1], dtype=np.float32)), {}),
    ("OneHot", (ints(0, 2).reshape(2, 1), ints(4), np.array([-1, 1], dtype=np.float32)), {"axis": 0}),
    ("OneHot", (ints(0, 2).reshape(1, 2), number(3), np.array([5, 6], dtype=np.int64)), {"axis": 1}),
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)
