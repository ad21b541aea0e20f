"""The fast transpose puts every element where numpy's does, whatever the sizes, the strides and the alignment."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfgraph.ir.transpose import transpose_into

DTYPES = [np.bool_, np.int8, np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int64]


def numbered(rows: int, columns: int, dtype: type) -> np.ndarray:
    """Distinct elements, as far as the dtype has so many."""
    bits = np.arange(rows * columns, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    itemsize = np.dtype(dtype).itemsize
    if dtype is np.bool_:
        return (bits >> np.uint64(63)).astype(np.bool_).reshape(rows, columns)
    return (bits >> np.uint64(64 - 8 * itemsize)).astype(f"u{itemsize}").view(dtype).reshape(rows, columns)


def bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(np.uint8)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 300), columns=st.integers(1, 300), wide=st.booleans())
def test_it_is_numpys_transpose(dtype: type, rows: int, columns: int, wide: bool) -> None:
    columns *= 16 if wide else 1  # whole units of 16 bytes, which is the fast way
    source = numbered(rows, columns, dtype)
    out = np.zeros((columns, rows), dtype)
    transpose_into(source, out)
    np.testing.assert_array_equal(bits(out), bits(source.T))


@pytest.mark.parametrize("columns", [slice(0, 64), slice(8, 72), slice(3, 67)])
def test_of_a_part_into_a_part(columns: slice) -> None:
    """Rows of the source that are not adjacent, and not aligned; rows of the result that are parts of longer ones."""
    source = numbered(200, 96, np.float16)
    whole = np.zeros((70, 500), np.float16)
    transpose_into(source[:, columns], whole[2:66, 50:250])
    expected = np.zeros_like(whole)
    expected[2:66, 50:250] = source[:, columns].T
    np.testing.assert_array_equal(bits(whole), bits(expected))


def test_nans_keep_their_bits() -> None:
    source = np.arange(0x7C00, 0x8000, dtype=np.uint16).view(np.float16).reshape(32, 32)
    out = np.zeros((32, 32), np.float16)
    transpose_into(source, out)
    np.testing.assert_array_equal(out.view(np.uint16), source.view(np.uint16).T)
