"""Shapes as text, and the tokens and masks that candidates run on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.bench.shapes import INPUTS, PADDINGS, BatchShape, full_inputs, padded_inputs
from tfgraph.errors import InputError

SIZES = st.integers(1, 40)


@given(SIZES, SIZES)
def test_a_shape_reads_as_it_prints(batch, seq):
    assert BatchShape.parse(str(BatchShape(batch, seq))) == BatchShape(batch, seq)


def test_a_shape_may_be_written_with_a_capital_or_spaces_around():
    assert BatchShape.parse(" 8X128 ") == BatchShape(8, 128)


@pytest.mark.parametrize("text", ["", "8", "8x", "x128", "8*128", "8x128x2", "-1x5", "0x5", "5x0", "8x9999999"])
def test_what_is_no_shape_is_refused(text):
    with pytest.raises(InputError, match=r"is no shape: expected BATCHxLENGTH, such as 8x128"):
        BatchShape.parse(text)


@given(SIZES, SIZES)
def test_padded_rows_have_a_token_and_their_kind_of_padding(batch, seq):
    inputs = padded_inputs(BatchShape(batch, seq), vocab_size=7)
    assert tuple(inputs) == INPUTS
    assert all(array.shape == (batch, seq) and array.dtype == np.int64 for array in inputs.values())
    assert inputs["input_ids"].min() >= 0
    assert inputs["input_ids"].max() < 7
    assert set(np.unique(inputs["token_type_ids"])) <= {0, 1}
    mask = inputs["attention_mask"]
    assert mask.any(axis=1).all()
    for row in range(batch):
        kind = PADDINGS[row % len(PADDINGS)]
        if seq >= 6:
            assert (mask[row].all(), bool(mask[row, -1]), bool(mask[row, 0])) == {
                "none": (True, True, True),
                "right": (False, False, True),
                "left": (False, True, False),
                "holes": (False, bool(mask[row, -1]), True),
            }[kind]


def test_inputs_depend_on_the_seed_alone():
    shape = BatchShape(4, 9)
    first, same, other = (padded_inputs(shape, 50, seed) for seed in (0, 0, 1))
    assert np.array_equal(first["input_ids"], same["input_ids"])
    assert not np.array_equal(first["input_ids"], other["input_ids"])


def test_timed_inputs_have_no_padding():
    assert full_inputs(BatchShape(5, 9), 50)["attention_mask"].all()
