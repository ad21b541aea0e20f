"""Integers of fewer than eight bits: several of them in a byte of a file, and other integers cut down to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfgraph.ir.dtypes import DType


def unpacked(packed: np.ndarray[Any, Any], dtype: DType, size: int) -> np.ndarray[Any, Any]:
    """The first `size` elements in an array of bytes, as [size]: those in the low bits of a byte come first."""
    shifts = np.arange(0, 8, dtype.bits, dtype=np.uint8)
    return low_bits((packed[:, np.newaxis] >> shifts).reshape(-1)[:size], dtype)


def low_bits(integers: np.ndarray[Any, Any], dtype: DType) -> np.ndarray[Any, Any]:
    """The low bits of integers, as elements of a narrow integer dtype: 9 is -7 in int4, 1 in int2."""
    low = (integers & ((1 << dtype.bits) - 1)).astype(np.int8)
    sign = 1 << (dtype.bits - 1)
    signed = dtype in (DType.INT2, DType.INT4)
    return ((low ^ sign) - sign if signed else low).astype(dtype.numpy())
