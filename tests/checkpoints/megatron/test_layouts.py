"""The orders of rows in fused query, key and value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.checkpoints.megatron.writer import fuse
from tfgraph.checkpoints.megatron.layouts import split_query_key_value
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import ArrayConstant


@given(
    version=st.sampled_from([0.0, 1.0, 2.0, 3.0]),
    heads=st.integers(1, 4),
    head_dim=st.integers(1, 5),
    columns=st.sampled_from([None, 1, 3]),
)
def test_each_part_is_what_was_fused(version: float, heads: int, head_dim: int, columns: int | None) -> None:
    shape = (heads * head_dim,) if columns is None else (heads * head_dim, columns)
    parts = [np.random.default_rng(part).standard_normal(shape).astype(np.float32) for part in range(3)]
    fused = ArrayConstant(fuse(parts, heads, version))
    split = split_query_key_value(fused, version, heads, head_dim, "x")
    assert list(split) == ["query", "key", "value"]
    for expected, found in zip(parts, split.values(), strict=True):
        assert np.array_equal(found.numpy(), expected)


@pytest.mark.parametrize("shape", [(), (11,), (24, 4)])
def test_another_number_of_rows_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(CheckpointError, match="expected 12 rows, for query, key and value of 2 heads with 2 features"):
        split_query_key_value(ArrayConstant(np.zeros(shape, np.float32)), 2.0, 2, 2, "x")
