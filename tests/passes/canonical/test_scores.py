"""Scores on their way to a softmax: scaled after their mask, floored, or with operands expanded to their shape."""

from __future__ import annotations

import numpy as np

from tfgraph.dsl import functional as F

F32 = np.float32
LOWEST = -3.4028234663852886e38
HEADS = {"q": "batch 4 5 8", "k": "batch 4 7 8"}
MASK = np.where(np.arange(7) < 4, 0, LOWEST).astype(F32)
PLAIN = {"Transpose": 1, "MatMul": 1, "Softmax": 1}


def scores_of(q, k):
    return F.matmul(q, F.swap_axes(k, -1, -2))


def test_a_scale_after_the_mask_scales_both(fires):
    def biased(q, k):
        return F.softmax((scores_of(q, k) + MASK) * 0.25)

    after = fires("scale_inside_mask", biased, {**PLAIN, "Mul": 2, "Add": 1}, **HEADS)
    assert [node.key for node in after][-2:] == ["Add", "Softmax"]

    def chosen(q, k, keep):
        return F.softmax(F.where(keep, scores_of(q, k), LOWEST) * 0.25)

    fires("scale_inside_mask", chosen, {**PLAIN, "Mul": 1, "Where": 1}, keep="bool batch 1 5 7", **HEADS)


def test_a_scale_of_other_sums_stays(leaves):
    leaves("scale_inside_mask", lambda q, k: F.relu((scores_of(q, k) + MASK) * 0.25), **HEADS)  # no softmax
    leaves("scale_inside_mask", lambda q, k: F.softmax((F.sin(q) + F32(2.0)) * 0.25) + k, q="2 4 7 8", k="2 4 7 8")

    def shown(q, k):
        total = scores_of(q, k) + MASK
        return F.softmax(total * 0.25), total

    leaves("scale_inside_mask", shown, **HEADS)
    keep = np.arange(7) < 4
    leaves("scale_inside_mask", lambda q, k: F.softmax(F.where(keep, scores_of(q, k), -1.0) * 0.25), **HEADS)
    leaves("scale_inside_mask", lambda q, k: F.softmax(F.where(keep, scores_of(q, k), -10000.0) * 0.25), **HEADS)


def test_a_floor_under_masked_scores_goes(fires):
    def floored(q, k):
        return F.softmax(F.maximum(scores_of(q, k) + F.where(np.arange(7) < 4, 0.0, LOWEST), LOWEST))

    fires("drop_floor", floored, {**PLAIN, "Where": 1, "Add": 1}, **HEADS)
    fires("drop_floor", lambda q, k: F.softmax(F.maximum(scores_of(q, k), LOWEST)), PLAIN, **HEADS)


def test_a_higher_floor_or_one_under_other_numbers_stays(leaves):
    leaves("drop_floor", lambda q, k: F.softmax(F.maximum(scores_of(q, k), -1.0)), **HEADS)
    leaves("drop_floor", lambda q, k: F.relu(F.maximum(scores_of(q, k), LOWEST)), **HEADS)
    leaves("drop_floor", lambda x: F.softmax(F.maximum(F.log(F.relu(x)), LOWEST)), x="batch 7")  # minus infinity

    def shown(q, k):
        scores = F.maximum(scores_of(q, k), LOWEST)
        return F.softmax(scores), scores

    leaves("drop_floor", shown, **HEADS)


def test_an_operand_need_not_be_expanded_to_the_shape_of_another(fires):
    def masked(x, m):
        return F.where(F.expand(m, x.shape), LOWEST, x)

    fires("drop_expanded_operand", masked, {"Where": 1}, x="batch 4 5 7", m="bool batch 1 1 7")
    fires("drop_expanded_operand", lambda x, y: x + F.expand(y, x.shape), {"Add": 1}, x="batch 5 7", y="7")


def test_what_only_the_expansion_makes_large_is_expanded(leaves):
    leaves("drop_expanded_operand", lambda x, y: x + F.expand(y, (3, 5, 7)), x="5 7", y="1 5 7")
    leaves("drop_expanded_operand", lambda m: F.where(F.expand(m, (3, 5, 7)), 1.0, 0.0), m="bool 1 5 7")
    leaves("drop_expanded_operand", lambda x, y: F.matmul(x, F.expand(y, (7, 7))), x="7 7", y="1 7")


def test_a_constant_with_leading_ones_is_a_vector(fires):
    weight = np.linspace(0.5, 1.5, 8, dtype=F32)
    fires("vector_operand", lambda x: x * weight.reshape(1, 1, 8), {"Reshape": 1, "Mul": 1}, x="batch seq 8")
    fires("vector_operand", lambda x: x - weight.reshape(1, 8), {"Reshape": 1, "Sub": 1}, x="batch seq 8")


def test_other_constants_stay(leaves):
    weight = np.linspace(0.5, 1.5, 8, dtype=F32)
    leaves("vector_operand", lambda x: x * weight, x="batch seq 8")
    leaves("vector_operand", lambda x: x * weight.reshape(1, 1, 8), x="seq 8")  # it adds an axis
    leaves("vector_operand", lambda x: x * weight.reshape(1, 8, 1), x="batch 8 8")
    leaves("vector_operand", lambda x: x * weight.reshape(2, 4), x="batch 2 4")
    leaves("vector_operand", lambda x: x * weight[:1].reshape(1, 1), x="batch 8")
