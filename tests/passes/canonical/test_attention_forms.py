"""What exporters put around attention: scales, masks and guards (the modules of these names in `passes/canonical`)."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl import functional as F
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.interpret import interpret
from tfgraph.passes.canonical import CANONICAL

F32 = np.float32
HEADS = {"q": "batch 4 seq 8", "k": "batch 4 keys 8"}
SIZES = ({}, {"batch": 1, "seq": 1, "keys": 1})
KEEP = {"q": "batch 4 5 8", "k": "batch 4 7 8", "keep": "bool batch 1 5 7"}
LOWEST = -3.4028234663852886e38


def scores_of(q, k):
    return F.matmul(q, F.swap_axes(k, -1, -2))


def test_a_scale_moves_behind_the_views_on_the_way_to_a_product(fires):
    expected = {"Transpose": 1, "Mul": 1, "MatMul": 1}
    after = fires("scale_after_view", lambda q, k: scores_of(q, k * 0.5), expected, **HEADS)
    assert [node.key for node in after] == ["Transpose", "Mul", "MatMul"]

    def folded(q, k):
        heads = F.transpose(F.reshape(k * 0.5, (*k.shape[:2], 4, 2)), (0, 2, 3, 1))
        return F.matmul(q, heads)

    fires("scale_after_view", folded, {**expected, "Reshape": 1}, q="batch 4 seq 2", k="batch keys 8")


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


def test_a_soft_cap_has_a_scale_of_its_own(fires, leaves):
    def merged(q, k):
        return F.tanh(scores_of(q, k) * 0.005) * 50.0

    after = fires("part_soft_cap", merged, {"Transpose": 1, "MatMul": 1, "Mul": 2, "Div": 1, "Tanh": 1}, **HEADS)
    assert [node.key for node in after][-4:] == ["Mul", "Div", "Tanh", "Mul"]
    unscaled = {"Transpose": 1, "MatMul": 1, "Mul": 1, "Div": 1, "Tanh": 1}
    fires("part_soft_cap", lambda q, k: F.tanh(scores_of(q, k) * 0.02) * 50.0, unscaled, **HEADS)
    leaves("part_soft_cap", lambda q, k: F.tanh(scores_of(q, k) * 0.125 / 50.0) * 50.0, **HEADS)
    leaves("divide_by_constant", lambda q, k: F.tanh(scores_of(q, k) * 0.125 / 50.0) * 50.0, **HEADS)
    leaves("part_soft_cap", lambda q, k: F.tanh(F.exp(q) * 0.02) * 50.0, **HEADS)  # no scores
    leaves("part_soft_cap", lambda q, k: F.sigmoid(scores_of(q, k) * 0.02) * 50.0, **HEADS)

    def shared(q, k):
        capped = F.tanh(scores_of(q, k) * 0.02)
        return capped * 50.0, capped

    leaves("part_soft_cap", shared, **HEADS)


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
    plain = {"Transpose": 1, "MatMul": 1, "Softmax": 1}
    fires("drop_nan_guard", lambda q, k: guarded(scores_of(q, k), op), plain, **HEADS)
    fires("drop_nan_guard", lambda q, k: guarded(scores_of(q, k) / 4.0, op), {**plain, "Div": 1}, **HEADS)
    capped = {**plain, "Tanh": 1, "Mul": 1}
    fires("drop_nan_guard", lambda q, k: guarded(F.tanh(scores_of(q, k)) * 9.0, op), capped, **HEADS)
    chosen = {**plain, "Where": 1}
    fires("drop_nan_guard", lambda q, k, keep: guarded(F.where(keep, scores_of(q, k), LOWEST), op), chosen, **KEEP)


def test_a_mask_of_minus_infinity_is_raised_when_its_guard_goes(fires, op):
    def biased(q, k, keep):
        return guarded(scores_of(q, k) + F.where(keep, 0.0, -np.inf), op)

    def chosen(q, k, keep):
        return guarded(F.where(keep, scores_of(q, k), -np.inf), op)

    def given(q, k, mask):
        return guarded(mask + scores_of(q, k), op)

    def chosen_twice(q, k, keep):
        return guarded(F.where(keep, F.where(keep, scores_of(q, k), -np.inf), -np.inf), op)

    plain = {"Transpose": 1, "MatMul": 1, "Softmax": 1}
    sizes = {"sizes": ({},)}  # the first key is seen
    fires("drop_nan_guard", chosen_twice, {**plain, "Where": 2}, **KEEP, **sizes)
    fires("drop_nan_guard", biased, {**plain, "Where": 1, "Add": 1}, **KEEP, **sizes)
    fires("drop_nan_guard", chosen, {**plain, "Where": 1}, **KEEP, **sizes)
    mask = np.where(np.arange(7) < 5, 0, -np.inf).astype(F32).reshape(1, 1, 1, 7)
    shapes = {"q": "batch 4 5 8", "k": "batch 4 7 8", "mask": "1 1 1 7"}
    fires("drop_nan_guard", given, {**plain, "Max": 1, "Add": 1}, **shapes, **sizes, inputs={"mask": mask})


def test_a_query_that_sees_nothing_stays_finite_without_its_guard(graph_of, op):
    """Minus infinity without the guard would make it NaN, and, in the next layer, every other query as well."""

    def two_layers(q, keep):
        x = q
        for _ in range(2):
            weights = guarded(scores_of(x, x) + F.where(keep, 0.0, -np.inf), op)
            x = F.matmul(weights, x)
        return x

    before = graph_of(two_layers, q="1 2 3 8", keep="bool 1 1 3 3")
    after = copy_graph(before)
    assert CANONICAL.apply(after)["drop_nan_guard"] == 2
    causal_and_left_padded = np.array([[0, 0, 0], [0, 1, 0], [0, 1, 1]], bool).reshape(1, 1, 3, 3)
    given = {"q": np.random.default_rng(1).standard_normal((1, 2, 3, 8)).astype(F32), "keep": causal_and_left_padded}
    expected, result = interpret(before, given)["output"], interpret(after, given)["output"]
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result[:, :, 1:], expected[:, :, 1:], rtol=1e-5, atol=1e-6)


def test_a_guard_that_does_more_stays(leaves, op):
    leaves("drop_nan_guard", lambda q, k: guarded(scores_of(q, k), op, 1.0), **HEADS)
    leaves("drop_nan_guard", lambda q, k: F.where(op("IsNaN", F.relu(q)), 0.0, F.relu(q)), **HEADS)
    pair = {"q": HEADS["k"], "k": HEADS["k"]}
    leaves("drop_nan_guard", lambda q, k: F.where(op("IsNaN", F.softmax(k)), 0.0, F.softmax(q)), **pair)
    leaves("drop_nan_guard", lambda q, k: F.where(op("IsInf", F.softmax(q)), 0.0, F.softmax(q)), **HEADS)
    leaves("drop_nan_guard", lambda q, k: guarded(F.log(F.relu(q)), op), **HEADS)  # minus infinity of its own
    # two masks of the lowest number add up to minus infinity: `gather_masks` comes first
    leaves("drop_nan_guard", lambda q, k, m: guarded((scores_of(q, k) + m) + m, op), **HEADS, m="seq keys")


def scaled_gpt2(x, kept):
    return (x * kept) * 0.125 - (1.0 - kept) * 10000.0


def test_a_mask_that_replaces_scores(fires, leaves):
    shapes = {"q": "batch 4 5 8", "k": "batch 4 7 8", "mask": "bool batch 1 5 7"}
    hidden = np.arange(7) >= np.arange(1, 6)[:, None]
    inputs = {"mask": np.broadcast_to(hidden, (2, 1, 5, 7))}
    plain = {"Transpose": 1, "MatMul": 1, "Where": 1, "Softmax": 1}
    given = {**shapes, "sizes": ({},), "inputs": inputs}

    def hides(q, k, mask):
        return F.softmax(F.where(mask, -10000.0, scores_of(q, k)))

    fires("mask_by_where", hides, {**plain, "Not": 1}, **given)
    seen = {**given, "inputs": {"mask": ~inputs["mask"]}}
    for low in (-10000.0, -1e9, -np.inf):

        def keeps(q, k, mask, low=low):
            return F.softmax(F.where(mask, scores_of(q, k) * 0.5, low))

        fires("mask_by_where", keeps, {**plain, "Mul": 1}, **seen)

    def biased(q, k, mask, bias):
        return F.softmax(F.where(mask, scores_of(q, k) + bias, LOWEST))

    fires("mask_by_where", biased, {**plain, "Add": 1}, bias="1 4 5 7", **seen)


def test_what_replaces_scores_otherwise_stays(leaves):
    shapes = {"q": "batch 4 5 8", "k": "batch 4 7 8", "mask": "bool batch 1 5 7"}
    forms = [
        lambda q, k, mask: F.softmax(F.where(mask, scores_of(q, k), LOWEST)),  # already is
        lambda q, k, mask: F.softmax(F.where(mask, scores_of(q, k), -1.0)),  # not low enough
        lambda q, k, mask: F.softmax(F.where(mask, -1.0, scores_of(q, k))),
        lambda q, k, mask: F.softmax(F.where(mask, F.sin(scores_of(q, k)), -1e9)),  # no scores
        lambda q, k, mask: F.relu(F.where(mask, scores_of(q, k), -1e9)),  # no softmax
        lambda q, k, mask: F.softmax(F.where(mask, scores_of(q, k), F.negate(scores_of(q, k)))),
    ]
    for form in forms:
        leaves("mask_by_where", form, **shapes)

    def shown(q, k, mask):
        masked = F.where(mask, scores_of(q, k), -1e9)
        return F.softmax(masked), masked

    leaves("mask_by_where", shown, **shapes)

    leaves("mask_by_where", causal, q=shapes["q"], k=shapes["k"])


def causal(q, k, number=LOWEST):
    rows, columns = (F.arange(0, size) for size in (5, 7))
    keep = F.unsqueeze(columns, (0,)) <= F.unsqueeze(rows, (1,))
    return F.softmax(F.where(keep, scores_of(q, k), number))


@pytest.mark.parametrize("number", [-1e9, -np.inf])
def test_a_causal_mask_hides_by_the_lowest_number(fires, number):
    kept = {"Range": 2, "Unsqueeze": 2, "LessOrEqual": 1, "Transpose": 1, "MatMul": 1, "Where": 1, "Softmax": 1}
    fires("mask_by_where", lambda q, k: causal(q, k, number), kept, q=KEEP["q"], k=KEEP["k"])


def test_a_mask_that_multiplies_and_subtracts_is_a_choice(fires, leaves):
    def gpt2(x, m):
        kept = F.cast(m, "float32")
        return x * kept - (1.0 - kept) * 10000.0

    shapes = {"x": "batch 4 seq keys", "m": "bool 1 1 seq keys"}
    fires("mask_by_choice", gpt2, {"Where": 1}, **shapes)
    fires("mask_by_choice", lambda x, m: scaled_gpt2(x, F.cast(m, "float32")), {"Mul": 1, "Where": 1}, **shapes)

    def viewed(x, m):
        kept = F.reshape(F.cast(m, "float32"), (1, 1, 5, 7))
        return x * kept - (1.0 - kept) * 10000.0

    fires("mask_by_choice", viewed, {"Reshape": 1, "Where": 1}, x="batch 4 5 7", m="bool 5 7")

    def wider(x, m):
        kept = F.cast(m, "float32")
        return x * kept - F.subtract(np.ones((3, 1, 1, 1), F32), kept) * 10000.0

    leaves("mask_by_choice", wider, x="1 4 seq keys", m="bool 1 1 seq keys")
    numbers = {"x": "batch 4 seq keys", "m": "1 1 seq keys"}
    leaves("mask_by_choice", lambda x, m: x * m - (1.0 - m) * 10000.0, **numbers)  # more than 0 and 1
    leaves("mask_by_choice", lambda x, m: x * F.cast(m, "float32") - (1.0 - x) * 10000.0, **shapes)
    leaves("mask_by_choice", lambda x, m: x * F.cast(m, "float32") - (2.0 - F.cast(m, "float32")) * 10000.0, **shapes)


CHOSEN = {"q": "2 4 5 8", "k": "2 4 7 8"}
SEEN = np.arange(7) < 4  # the first four keys


def test_a_mask_that_replaces_scores_has_one_form(fires):
    plain = {"Transpose": 1, "MatMul": 1, "Where": 1, "Softmax": 1}
    fires("mask_by_where", lambda q, k: F.softmax(F.where(SEEN, scores_of(q, k), -10000.0)), plain, **CHOSEN)
    fires(
        "mask_by_where",
        lambda q, k: F.softmax(F.where(~SEEN, LOWEST, scores_of(q, k))),
        {**plain, "Not": 1},
        **CHOSEN,
    )
    fires(
        "mask_by_where",
        lambda q, k, bias: F.softmax(F.where(SEEN, scores_of(q, k) * 0.5 + bias, LOWEST)),
        {**plain, "Mul": 1, "Add": 1},
        **CHOSEN,
        bias="1 4 5 7",
    )


def test_a_choice_that_is_no_mask_or_already_in_form_stays(leaves):
    leaves("mask_by_where", lambda q, k: F.softmax(F.where(SEEN, scores_of(q, k), LOWEST)), **CHOSEN)
    leaves("mask_by_where", lambda q, k: F.softmax(F.where(SEEN, scores_of(q, k), -1.0)), **CHOSEN)
    leaves("mask_by_where", lambda x: F.softmax(F.where(SEEN, x, -10000.0)), x="2 4 5 7")

    def shared(q, k):
        masked = F.where(SEEN, scores_of(q, k), -10000.0)
        return F.softmax(masked), masked

    leaves("mask_by_where", shared, **CHOSEN)


def test_a_mask_that_is_subtracted(fires, leaves):
    given = {"q": "2 4 5 8", "k": "2 4 7 8", "mask": "2 1 5 7"}

    def minus(q, k, mask):
        return F.softmax(F.matmul(q, F.swap_axes(k, -1, -2)) - mask)

    expected = {"Transpose": 1, "MatMul": 1, "Mul": 1, "Add": 1, "Softmax": 1}
    fires("add_negated_mask", minus, expected, **given)
    leaves("add_negated_mask", lambda q, k, mask: F.matmul(q, F.swap_axes(k, -1, -2)) - mask, **given)  # no softmax
    leaves("add_negated_mask", lambda q, k, mask: F.softmax(mask - F.matmul(q, F.swap_axes(k, -1, -2))), **given)
