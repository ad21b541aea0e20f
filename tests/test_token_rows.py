"""Rows of token ids: padded as a loop would pad them, and put into batches that keep to their limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.errors import InputError
from tfgraph.token_rows import TokenRows

ROWS = st.lists(st.lists(st.integers(1, 99), max_size=9), min_size=1, max_size=12)


def rows_of(lists: list[list[int]]) -> TokenRows:
    return TokenRows.of(lists, [[number % 2 for number in row] for row in lists], pad_id=7, pad_type_id=3)


@given(ROWS, st.sampled_from(["right", "left"]), st.randoms(use_true_random=False))
def test_padded(lists, padding, random):
    chosen = random.sample(range(len(lists)), random.randint(1, len(lists)))
    found = rows_of(lists).padded(chosen, padding=padding)
    width = max(max(len(lists[index]) for index in chosen), 1)
    for place, index in enumerate(chosen):
        ids, missing = lists[index], width - len(lists[index])
        for name, values, filler in (
            ("input_ids", ids, 7),
            ("attention_mask", [1] * len(ids), 0),
            ("token_type_ids", [number % 2 for number in ids], 3),
        ):
            fill = [filler] * missing
            assert found[name][place].tolist() == (values + fill if padding == "right" else fill + values)
            assert found[name].dtype == np.int64


@given(ROWS, st.integers(1, 30), st.none() | st.integers(1, 5))
def test_batches(lists, max_tokens, max_rows):
    rows = rows_of(lists)
    batches = [batch.tolist() for batch in rows.batches(max_tokens=max_tokens, max_rows=max_rows)]
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(len(lists)))
    assert order == sorted(order, key=lambda index: (-len(lists[index]), index))
    for batch, following in zip(batches, [*batches[1:], []], strict=True):
        width = max(len(lists[batch[0]]), 1)
        assert len(batch) == 1 or len(batch) * width <= max_tokens
        assert max_rows is None or len(batch) <= max_rows
        is_full = (len(batch) + 1) * width > max_tokens or len(batch) == max_rows
        assert is_full or not following


@given(st.lists(ROWS, min_size=1, max_size=4))
def test_joined(parts):
    together = TokenRows.joined([rows_of(part) for part in parts])
    whole = rows_of([row for part in parts for row in part])
    for name in ("ids", "type_ids", "lengths"):
        np.testing.assert_array_equal(getattr(together, name), getattr(whole, name))


@pytest.mark.parametrize(("name", "limits"), [("max_tokens", {"max_tokens": 0}), ("max_tokens", {"max_tokens": 2.5})])
def test_limits_below_one(name, limits):
    with pytest.raises(InputError, match=f"{name} is .*: expected a whole number of at least 1"):
        next(rows_of([[1]]).batches(**limits))
