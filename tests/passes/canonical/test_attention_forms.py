"""What exporters put around attention: scales, masks, guards (`passes/canonical/scales.py`, `masks.py`, `guards.py`)."""

from __future__ import annotations

import numpy as np

from tfgraph.dsl import functional as F

F32 = np.float32
HEADS = {"q": "batch 4 seq 8", "k": "batch 4 keys 8"}
SIZES = ({}, {"batch": 1, "seq": 1, "keys": 1})
LOWEST = -3.4028234663852886e38


def scores_of(q, k):
    return F.matmul(q, F.swap_axes(k, -1, -2))


def test_a_scale_moves_behind_the_views_on_the_way_to_a_product(fires):
    after = fires("scale_after_view", lambda q, k: scores_of(q, k * 0.5), {"Transpose": 1, "Mul": 1, "MatMul": 1}, **HEADS)
    assert [node.key for node in after] == ["Transpose", "Mul", "MatMul"]

    def folded(q, k):
        heads = F.transpose(F.reshape(k * 0.5, (*k.shape[:2], 4, 2)), (0, 2, 3, 1))
        return F.matmul(q, heads)

    fires("scale_after_view", folded, {"Reshape": 1, "Transpose": 1, "Mul": 1, "MatMul": 1}, q="batch 4 seq 2", k="batch keys 8")


def test_a_scale_in_front_of_a_linear_layer_or_read_elsewhere_stays(leaves):
    weight = np.ones((5, 8), F32)
    leaves("scale_after_view", lambda x: F.matmul(F.swap_axes(x * 0.5, 1, 2), weight), x="batch 5 seq")
    leaves("scale_after_view", lambda x: F.relu(F.swap_axes(x * 0.5, 1, 2)), x="batch 5 seq")

    def shared(q, k):
        scaled = k * 0.5
        return scores_of(q, scaled), scaled

    leaves("scale_after_view", shared, **HEADS)

    def turned_twice(q, k):
        turned = F.swap_axes(k * 0.5, -1, -2)
        return F.matmul(q, turned), F.relu(turned)

    leaves("scale_after_view", turned_twice, **HEADS)


def test_scales_move_behind_a_product(fires):
    fires(
        "scale_after_product",
        lambda q, k: F.matmul(q * 0.5, F.swap_axes(k, -1, -2) * 0.25),
        {"Transpose": 1, "MatMul": 1, "Mul": 2},
        **HEADS,
    )


def test_a_scale_of_a_weight_or_of_another_reader_stays(leaves):
    weight = np.ones((8, 8), F32)
    leaves("scale_after_product", lambda x: F.matmul(x * 0.5, weight), x="batch 8")
    leaves("scale_after_product", lambda x, y: F.matmul(x, y * np.ones((8, 8), F32)), x="batch 8", y="8 8")

    def shared(q, k):
        scaled = q * 0.5
        return scores_of(scaled, k), scaled

    leaves("scale_after_product", shared, **HEADS)


def test_masks_of_one_softmax_become_one_operand(fires):
    masks = {"bias": "1 4 seq keys", "mask": "batch 1 1 keys"}
    fires(
        "gather_masks",
        lambda q, k, bias, mask: F.softmax((scores_of(q, k) * 0.5 + bias) + mask),
        {"Transpose": 1, "MatMul": 1, "Mul": 1, "Add": 2, "Softmax": 1},
        **HEADS,
        **masks,
    )
    fires(
        "gather_masks",
        lambda q, k, bias, mask: F.softmax(mask + (bias + scores_of(q, k))),
        {"Transpose": 1, "MatMul": 1, "Add": 2, "Softmax": 1},
        **HEADS,
        **masks,
    )


def test_a_choice_and_a_mask_become_one_operand(fires):
    keep = np.ones((2, 1, 5, 7), bool)
    keep[..., 3:] = False
    fires(
        "gather_masks",
        lambda q, k, keep, mask: F.softmax(F.where(keep, scores_of(q, k), LOWEST) + mask),
        {"Transpose": 1, "MatMul": 1, "Where": 1, "Add": 1, "Softmax": 1},
        q="batch 4 5 8",
        k="batch 4 7 8",
        keep="bool batch 1 5 7",
        mask="batch 1 1 7",
        sizes=({},),
        inputs={"keep": keep},
    )


def test_sums_that_are_no_masks_stay(leaves):
    def also_returned(q, k, bias, mask):
        biased = scores_of(q, k) + bias
        return F.softmax(biased + mask), biased

    def total_returned(q, k, bias, mask):
        total = (scores_of(q, k) + bias) + mask
        return F.softmax(total), total

    shapes = {**HEADS, "bias": "batch 4 seq keys", "mask": "batch 1 seq keys"}
    leaves("gather_masks", also_returned, **shapes)
    leaves("gather_masks", total_returned, **shapes)
    leaves("gather_masks", lambda q, k, bias, mask: F.softmax(scores_of(q, k) + mask), **shapes)
    leaves("gather_masks", lambda q, k, bias, mask: F.softmax((F.relu(bias) + bias) + mask), **shapes)
    leaves("gather_masks", lambda q, k, bias, mask: F.softmax((scores_of(q, k) * bias) + mask), **shapes)


def test_a_choice_of_another_number_than_the_lowest_stays(leaves):
    shapes = {"q": "batch 4 5 8", "k": "batch 4 7 8", "keep": "bool batch 1 5 7", "mask": "batch 1 1 7"}
    leaves("gather_masks", lambda q, k, keep, mask: F.softmax(F.where(keep, scores_of(q, k), -1.0) + mask), **shapes)
    leaves("gather_masks", lambda q, k, keep, mask: F.softmax(F.where(keep, LOWEST, scores_of(q, k)) + mask), **shapes)


def test_one_number_added_to_all_scores_goes(fires):
    fires("drop_shift", lambda x: F.softmax(x + 3.0), {"Softmax": 1}, x="batch seq 8")


def test_what_shifts_scores_differently_stays(leaves):
    leaves("drop_shift", lambda x: F.softmax(x + np.arange(8, dtype=F32)), x="batch seq 8")
    leaves("drop_shift", lambda x: F.softmax(x * 3.0), x="batch seq 8")
    leaves("drop_shift", lambda x: F.softmax(x + np.full((1, 1, 1), 3.0, F32)), x="seq 8")  # one axis more
    leaves("drop_shift", lambda x: F.softmax(x + LOWEST), x="batch seq 8")  # absorbs the scores: all weights are equal


def guarded(scores, op, replacement=0.0):
    weights = F.softmax(scores)
    return F.where(op("IsNaN", weights), replacement, weights)


def test_a_guard_of_scores_that_are_always_finite_goes(fires, op):
    fires("drop_nan_guard", lambda q, k: guarded(scores_of(q, k), op), {"Transpose": 1, "MatMul": 1, "Softmax": 1}, **HEADS)


def test_a_guard_that_does_more_stays(leaves, op):
    leaves("drop_nan_guard", lambda q, k: guarded(scores_of(q, k), op, 1.0), **HEADS)
    leaves("drop_nan_guard", lambda q, k: F.where(op("IsNaN", F.relu(q)), 0.0, F.relu(q)), **HEADS)
    leaves("drop_nan_guard", lambda q, k: F.where(op("IsNaN", F.softmax(k)), 0.0, F.softmax(q)), q=HEADS["k"], k=HEADS["k"])
    leaves("drop_nan_guard", lambda q, k: F.where(op("IsInf", F.softmax(q)), 0.0, F.softmax(q)), **HEADS)
