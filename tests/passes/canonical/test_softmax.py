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


def test_weights_that_are_normalised_after_the_values(fires, leaves):
    def late(x, v, axes=-1):
        powers = F.exp(x - F.reduce_max(x, (-1,)))
        return F.matmul(powers, v) / F.reduce_sum(powers, (axes,))

    expected = {"ReduceMax": 1, "Sub": 1, "Softmax": 1, "MatMul": 1}
    fires("divide_before_values", late, expected, x="batch 3 5 6", v="batch 3 6 8")
    leaves("divide_before_values", lambda x, v: late(x, v, -2), x="2 3 6 6", v="2 3 6 6")
    leaves("divide_before_values", lambda x, y, v: F.matmul(F.exp(x), v) / F.reduce_sum(F.exp(y), (-1,)),
           x="2 5 6", y="2 5 6", v="2 6 8")  # fmt: skip


def test_exponents_of_logarithms(fires, leaves, op):
    last = np.asarray([-1])
    fires("softmax_of_logarithms", lambda x: F.exp(op("LogSoftmax", x, axis=-1)), {"Softmax": 1}, x="batch 8")
    fires("softmax_of_logarithms", lambda x: F.exp(x - op("ReduceLogSumExp", x, last)), {"Softmax": 1}, x="batch 8")
    summed = lambda x: F.exp(x - op("Log", F.reduce_sum(F.exp(x), (-1,))))  # noqa: E731
    fires("softmax_of_logarithms", summed, {"Softmax": 1}, x="batch 8")
    leaves("softmax_of_logarithms", lambda x, y: F.exp(x - op("ReduceLogSumExp", y, last)), x="batch 8", y="batch 8")
    leaves("softmax_of_logarithms", lambda x: F.exp(x - op("ReduceLogSumExp", x, np.asarray([0]))), x="batch 8")
