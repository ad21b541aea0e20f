"""How far results may be apart and still be called equal: one table, for tests and for verification."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfgraph.ir.constant import Array
from tfgraph.ir.dtypes import DType

TOLERANCE = {
    DType.FLOAT64: 1e-10,
    DType.FLOAT32: 1e-5,
    DType.FLOAT16: 1e-2,
    DType.BFLOAT16: 5e-2,
}
"""Largest difference allowed, relative to the larger of 1 and the largest magnitude of the reference. Integers and
booleans must be equal."""


def arrays_in(result: Any) -> list[Array]:
    """The arrays in a result: one of a tensor, as many as a sequence has, none of an optional value that is missing."""
    if isinstance(result, list):
        return [array for item in result for array in arrays_in(item)]
    return [] if result is None else [result]


def relative_error(result: Array, reference: Array) -> float:
    """The largest difference, relative to the larger of 1 and the largest magnitude of the reference.

    Infinite where shapes differ, or where one is not finite and the other is not the same.
    """
    if result.shape != reference.shape:
        return float("inf")
    if result.size == 0:
        return 0.0
    wide, expected = result.astype(np.float64), reference.astype(np.float64)
    finite = np.isfinite(expected)
    same_elsewhere = np.array_equal(wide[~finite], expected[~finite], equal_nan=True)
    if not same_elsewhere or not np.isfinite(wide[finite]).all():
        return float("inf")
    if not finite.any():
        return 0.0
    scale = max(1.0, float(np.abs(expected[finite]).max()))
    return float(np.abs(wide[finite] - expected[finite]).max()) / scale
