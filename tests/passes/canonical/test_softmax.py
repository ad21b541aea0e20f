"""Softmax written out, shifted, or over another axis (`passes/canonical/softmax.py`), and between views."""

from __future__ import annotations

import numpy as np

from tfgraph.dsl import functional as F

SCORES = {"x": "batch 4 seq 7"}


def total(op, x, axis=-1, keepdims=1):
    return op("ReduceSum", x, np.asarray([axis]), keepdims=keepdims)


def test_a_softmax_written_out(fires, op):
    def by_hand(x):
        exponentials = op("Exp", x - F.reduce_max(x, (-1,)))
        return exponentials / total(op, exponentials)

    fires("softmax_by_hand", by_hand, {"ReduceMax": 1, "Sub": 1, "Softmax": 1}, **SCORES)


def test_other_quotients_of_powers_stay(leaves, op):
    def over(axis):
        def quotient(x):
            exponentials = op("Exp", x)
            return exponentials / total(op, exponentials, axis)

        return quotient

    leaves("softmax_by_hand", over(-2), **SCORES)

    def of_another(x, y):
        return op("Exp", x) / total(op, op("Exp", y))

    leaves("softmax_by_hand", of_another, x="batch 7", y="batch 7")


def test_the_largest_score_need_not_be_subtracted(fires, leaves):
    fires("drop_largest", lambda x: F.softmax(x - F.reduce_max(x, (-1,))), {"Softmax": 1}, **SCORES)
    leaves("drop_largest", lambda x: F.softmax(x - F.reduce_max(x, (-2,))), **SCORES)
    leaves("drop_largest", lambda x, y: F.softmax(x - F.reduce_max(y, (-1,))), x="batch 7", y="batch 7")
    leaves("drop_largest", lambda x: F.softmax(x - F.reduce_mean(x, (-1,))), **SCORES)


def test_a_softmax_over_the_last_axis_but_one_that_is_transposed(fires, leaves):
    def turned(x):
        return F.swap_axes(F.softmax(x, -2), -1, -2)

    fires("softmax_over_last_axis", turned, {"Transpose": 1, "Softmax": 1}, **SCORES)
    leaves("softmax_over_last_axis", lambda x: F.swap_axes(F.softmax(x), -1, -2), **SCORES)
    leaves("softmax_over_last_axis", lambda x: F.transpose(F.softmax(x, -2), (1, 0, 2, 3)), **SCORES)

    def shared(x):
        weights = F.softmax(x, -2)
        return F.swap_axes(weights, -1, -2), weights

    leaves("softmax_over_last_axis", shared, **SCORES)


def folded(x):
    """[B, H, S, T] -> [B * H, S, T]."""
    return F.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


def test_a_softmax_is_in_front_of_the_view_that_folds_heads(fires, leaves):
    after = fires(
        "softmax_before_folding", lambda x: F.softmax(folded(x)), {"Softmax": 1, "Reshape": 1}, x="batch 4 5 7"
    )
    assert [node.key for node in after] == ["Softmax", "Reshape"]
    leaves("softmax_before_folding", lambda x: F.softmax(F.reshape(x, (8, 7, 5))), x="2 4 5 7")  # other rows
    leaves("softmax_before_folding", lambda x: F.softmax(folded(x), -2), x="batch 4 5 7")
    leaves("softmax_before_folding", lambda x: F.softmax(F.reshape(x, (2, 4, 5, 7))), x="8 5 7")


def test_a_softmax_is_behind_the_view_that_takes_heads_apart(fires, leaves):
    def apart(x):
        return F.reshape(F.softmax(x), (2, 4, 5, 7))

    after = fires("softmax_after_unfolding", apart, {"Softmax": 1, "Reshape": 1}, x="8 5 7")
    assert [node.key for node in after] == ["Reshape", "Softmax"]
    leaves("softmax_after_unfolding", lambda x: F.reshape(F.softmax(x), (2, 4, 7, 5)), x="8 5 7")
    leaves("softmax_after_unfolding", lambda x: F.reshape(F.softmax(x, -2), (2, 4, 5, 7)), x="8 5 7")

    def shared(x):
        weights = F.softmax(x)
        return F.reshape(weights, (2, 4, 5, 7)), weights

    leaves("softmax_after_unfolding", shared, x="8 5 7")
