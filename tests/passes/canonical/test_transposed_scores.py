"""Scores masked and normalised in another order of axes (`passes/canonical/transposed_scores.py`)."""

from __future__ import annotations

import pytest

from tfgraph.dsl import functional as F

AWAY, BACK = (2, 3, 0, 1), (2, 3, 0, 1)
SCORES = "b 4 s t"  # [batch, heads, queries, keys]


def test_a_softmax_over_what_becomes_the_last_axis(fires, op):
    def turned(scores, mask):
        weights = op("Softmax", F.transpose(scores, AWAY) + mask, axis=-3)
        return F.transpose(weights, BACK)

    given = {"scores": SCORES, "mask": "s t 1 1"}
    fires("transpose_before_softmax", turned, {"Transpose": 2, "Add": 1, "Softmax": 1}, **given)
    fires(
        "transpose_before_softmax",
        lambda scores: F.transpose(op("Softmax", F.transpose(scores, AWAY), axis=1), BACK),
        {"Transpose": 2, "Softmax": 1},
        scores=SCORES,
    )


def test_a_softmax_over_another_axis_stays(leaves, op):
    for axis in (-1, -2, -4):
        leaves(
            "transpose_before_softmax",
            lambda scores, axis=axis: F.transpose(op("Softmax", F.transpose(scores, AWAY), axis=axis), BACK),
            scores=SCORES,
        )


def test_a_softmax_that_is_read_elsewhere_or_was_not_turned_before_stays(leaves, op):
    def read_twice(scores):
        weights = op("Softmax", F.transpose(scores, AWAY), axis=-3)
        return F.transpose(weights, BACK), F.relu(weights)

    leaves("transpose_before_softmax", read_twice, scores=SCORES)
    leaves("transpose_before_softmax", lambda x: F.transpose(op("Softmax", x, axis=-3), BACK), x="s t b 4")
    leaves(
        "transpose_before_softmax",
        lambda scores: F.transpose(op("Softmax", F.transpose(scores, (2, 3, 1, 0)), axis=-3), BACK),
        scores=SCORES,
    )


def test_a_sum_is_turned_with_its_operands(fires):
    def turned(scores, mask):
        return F.transpose(F.transpose(scores, AWAY) + mask, BACK)

    fires("transpose_before_sum", turned, {"Transpose": 1, "Add": 1}, scores=SCORES, mask="s t 1 4")
    fires("transpose_before_sum", turned, {"Transpose": 1, "Add": 1}, scores=SCORES, mask="s t b 1")


@pytest.mark.parametrize("back", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 3, 1, 0)])
def test_a_sum_that_is_turned_otherwise_stays(leaves, back):
    leaves(
        "transpose_before_sum",
        lambda scores, mask: F.transpose(F.transpose(scores, AWAY) + mask, back),
        scores=SCORES,
        mask="s t 1 4",
    )


def test_a_sum_with_an_operand_of_fewer_axes_or_another_reader_stays(leaves):
    leaves(
        "transpose_before_sum",
        lambda scores, mask: F.transpose(F.transpose(scores, AWAY) + mask, BACK),
        scores=SCORES,
        mask="b 4",
    )

    def read_twice(scores, mask):
        total = F.transpose(scores, AWAY) + mask
        return F.transpose(total, BACK), F.relu(total)

    leaves("transpose_before_sum", read_twice, scores=SCORES, mask="s t 1 4")
