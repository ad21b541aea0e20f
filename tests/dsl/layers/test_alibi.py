"""ALiBi where positions are given: texts with padding anywhere, and with a cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph import nn


class Biased(nn.Module):
    """The bias of the last `queries` of the keys whose positions are given; the others are of a cache."""

    def __init__(self, bias: nn.AlibiBias) -> None:
        self.bias = bias

    def forward(self, positions: nn.Tensor, queries: nn.Tensor, past: nn.Tensor | None = None) -> nn.Tensor:
        count = queries.shape[0]
        cached = 0 if past is None else past.shape[0]
        return self.bias(count, cached + count, cached, positions)


@given(st.data(), st.booleans())
def test_biases_are_distances_times_slopes(run: Callable[..., Any], data: st.DataObject, bidirectional: bool) -> None:
    batch, queries, past = (data.draw(st.integers(low, 4)) for low in (1, 1, 0))
    rows = st.lists(st.integers(0, 5000), min_size=past + queries, max_size=past + queries)
    positions = np.array(data.draw(st.lists(rows, min_size=batch, max_size=batch)))
    arrays = {"positions": positions, "queries": np.zeros(queries, np.float32)}
    if past:
        arrays["past"] = np.zeros(past, np.float32)
    shapes = {"positions": "batch keys", "queries": "queries", "past": "past"}
    result = run(Biased(nn.AlibiBias(6, bidirectional)), shapes, **arrays)
    distances = positions[:, None, :] - positions[:, past:, None]
    signed = -np.abs(distances) if bidirectional else distances
    expected = signed[:, None] * nn.alibi_slopes(6)[:, None, None].astype(np.float64)
    assert result.shape == (batch, 6, queries, past + queries)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize("past", [0, 2])
def test_positions_that_count_up_are_those_that_are_not_given(past: int, run: Callable[..., Any]) -> None:
    class Alike(nn.Module):
        def __init__(self) -> None:
            self.bias = nn.AlibiBias(4)

        def forward(self, positions: nn.Tensor) -> nn.Tensor:
            return self.bias(3, past + 3, past) - self.bias(3, past + 3, past, positions)

    difference = run(Alike(), {"positions": f"batch {past + 3}"}, positions=np.arange(past + 3)[None])
    assert difference.shape == (1, 4, 3, past + 3) and not difference.any()
