"""Keys and values that all query heads share (`passes/canonical/heads.py`)."""

from __future__ import annotations

from tfgraph.dsl import functional as F

ONE = {"q": "batch 4 seq 8", "k": "batch 1 keys 8", "v": "batch 1 keys 8"}
SIZES = ({}, {"batch": 1, "seq": 1, "keys": 1})


def attend(q, k, v):
    return F.matmul(F.softmax(F.matmul(q, F.swap_axes(k, -1, -2)) * 0.5), v)


def test_one_head_of_keys_and_values_is_repeated_for_all_queries(fires):
    expected = {"Transpose": 1, "MatMul": 2, "Mul": 1, "Softmax": 1, "Reshape": 4, "Expand": 2}
    fires("write_out_single_head", attend, expected, sizes=SIZES, **ONE)


def test_a_head_axis_made_by_a_reshape_is_made_by_a_transpose(fires):
    def without_axis(p, v):
        return F.matmul(F.softmax(p), F.unsqueeze(v, (1,)))

    expected = {"Softmax": 1, "MatMul": 1, "Transpose": 1, "Reshape": 3, "Expand": 1}
    fires("write_out_single_head", without_axis, expected, sizes=SIZES, p="batch 4 seq keys", v="batch keys 8")


def test_products_outside_attention_and_equal_heads_stay(leaves):
    leaves("write_out_single_head", lambda q, k: F.matmul(q, F.swap_axes(k, -1, -2)), q=ONE["q"], k=ONE["k"])
    leaves("write_out_single_head", attend, q="batch 1 seq 8", k=ONE["k"], v=ONE["v"])
    leaves("write_out_single_head", attend, q=ONE["q"], k="batch 4 keys 8", v="batch 4 keys 8")
    leaves("write_out_single_head", attend, q=ONE["q"], k="1 1 keys 8", v="1 1 keys 8")

    def shown(q, k):
        scores = F.matmul(q, F.swap_axes(k, -1, -2))
        return F.softmax(scores), scores

    leaves("write_out_single_head", shown, q=ONE["q"], k=ONE["k"])


def folded_scores(q, k, bias, scale=None):
    batch, heads, seq, _ = q.shape
    flat = F.matmul(F.reshape(q, (batch * heads, seq, 8)), F.swap_axes(F.reshape(k, (batch * heads, seq, 8)), 1, 2))
    flat = flat if scale is None else flat * scale
    return F.reshape(flat + F.reshape(bias, (batch * heads, 1, seq)), (batch, heads, seq, seq))


BIASED = {"q": "batch 4 5 8", "k": "batch 4 5 8", "bias": "batch 4 5"}
UNFOLDED = {"Reshape": 4, "Transpose": 1, "MatMul": 1, "Add": 1}


def test_a_bias_is_added_to_scores_over_separate_heads(fires):
    def scaled(q, k, bias):
        return folded_scores(q, k, bias, 0.25)

    after = fires("unflatten_masked_scores", folded_scores, UNFOLDED, sizes=({}, {"batch": 1}), **BIASED)
    assert [node.output.rank for node in after if node.key == "Add"] == [4]
    fires("unflatten_masked_scores", scaled, {**UNFOLDED, "Mul": 1}, sizes=({}, {"batch": 1}), **BIASED)


def test_sums_that_are_no_scores_or_are_read_elsewhere_stay(leaves):
    def no_product(q, bias):
        flat = F.reshape(q, (q.shape[0] * 4, q.shape[2], 8)) + F.reshape(bias, (q.shape[0] * 4, 1, 8))
        return F.reshape(flat, q.shape)

    leaves("unflatten_masked_scores", no_product, q="batch 4 seq 8", bias="batch 4 8")

    def shared(q, k, bias):
        batch, heads, seq, _ = q.shape
        flat = F.matmul(F.reshape(q, (8, 5, 8)), F.swap_axes(F.reshape(k, (8, 5, 8)), 1, 2))
        total = flat + F.reshape(bias, (8, 1, 5))
        return F.reshape(total, (batch, heads, seq, seq)), total

    leaves("unflatten_masked_scores", shared, q="2 4 5 8", k="2 4 5 8", bias="2 4 5")
