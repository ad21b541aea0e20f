"""Queries, keys and values in the layouts that exporters leave them in: folded, transposed, without heads."""

from __future__ import annotations

from tfgraph.dsl import functional as F

SIZES = ({}, {"batch": 1})


def swap(x):
    return F.swap_axes(x, -1, -2)


def test_axes_are_folded_after_a_transpose(fires):
    """torch's MultiheadAttention ends so: [B, H, S, D] -> [B * H, S, D] -> [S, B * H, D] -> [S, B, H * D]."""

    def merged(x):
        batch, heads, seq, size = x.shape
        flat = F.transpose(F.reshape(x, (batch * heads, seq, size)), (1, 0, 2))
        return F.reshape(flat, (seq, batch, heads * size))

    after = fires("flatten_after_transpose", merged, {"Transpose": 1, "Reshape": 1}, x="batch 4 5 8", sizes=SIZES)
    assert after.outputs["output"].producer.required(0).shape[2:] == (4, 8)


def test_other_views_around_a_transpose_stay(leaves):
    def regrouped(x):  # [4, 6] are not folded, but regrouped
        return F.reshape(F.transpose(F.reshape(x, (8, 3, 5)), (1, 0, 2)), (3, 40))

    leaves("flatten_after_transpose", regrouped, x="4 6 5")

    def shared(x):
        turned = F.transpose(F.reshape(x, (8, 3, 5)), (1, 0, 2))
        return F.reshape(turned, (3, 40)), turned

    leaves("flatten_after_transpose", shared, x="2 4 3 5")
    leaves("flatten_after_transpose", lambda x: F.reshape(F.transpose(x, (1, 0, 2)), (3, 40)), x="8 3 5")


def test_the_transpose_of_a_product_is_one_of_its_operands(fires):
    pair = {"a": "batch 4 5 8", "b": "batch 4 7 8"}
    expected = {"Transpose": 3, "MatMul": 1}
    fires("transpose_of_product", lambda a, b: swap(F.matmul(a, swap(b))), expected, **pair)
    fires("transpose_of_product", lambda a, b: swap(F.matmul(a, swap(b)) * 0.5), {**expected, "Mul": 1}, **pair)


def test_the_transpose_of_other_products_stays(leaves):
    leaves("transpose_of_product", lambda a, b: swap(F.matmul(a, b)), a="batch 5 8", b="batch 8 7")
    leaves("transpose_of_product", lambda a, b: swap(F.matmul(F.softmax(a), swap(b))), a="batch 5 8", b="batch 7 8")
    leaves("transpose_of_product", lambda a, b: F.transpose(F.matmul(a, swap(b)), (1, 0, 2)), a="2 5 8", b="2 7 8")
    leaves("transpose_of_product", lambda a, b: swap(F.matmul(a, swap(b))), a="2 5 8", b="7 8")

    def shared(a, b):
        product = F.matmul(a, swap(b))
        return swap(product), product

    leaves("transpose_of_product", shared, a="2 5 8", b="2 7 8")


def attend(q, k, v):
    """Keys are given as [B, H, D, T], behind an operator that is no view."""
    return F.matmul(F.softmax(F.matmul(q, F.sin(k)) * 0.5), v)


def test_keys_that_come_transposed_are_turned_twice(fires):
    expected = {"Sin": 1, "Transpose": 2, "MatMul": 2, "Mul": 1, "Softmax": 1}
    fires("turn_keys", attend, expected, q="batch 4 5 8", k="batch 4 8 7", v="batch 4 7 6")


def test_other_operands_are_not_turned(leaves):
    leaves("turn_keys", lambda q, k: F.matmul(q, F.sin(k)), q="batch 4 5 8", k="batch 4 8 7")  # no softmax
    leaves("turn_keys", lambda q, k: F.softmax(F.matmul(q, swap(k))), q="batch 4 5 8", k="batch 4 7 8")
    leaves("turn_keys", attend, q="batch 5 8", k="batch 8 7", v="batch 7 6")  # no heads


def folded(x):
    """[B, H, S, D] -> [B * H, S, D]."""
    return F.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


def test_weights_are_taken_apart_as_values_are(fires):
    def weigh(scores, v):
        return F.matmul(F.softmax(scores), folded(v))

    expected = {"Softmax": 1, "Reshape": 2, "MatMul": 1}
    fires("separate_heads", weigh, expected, scores="8 5 7", v="2 4 7 6")

    def seq_first(scores, v):  # [T, B, H * D] -> [T, B * H, D] -> [B * H, T, D]
        return F.matmul(F.softmax(scores), F.transpose(F.reshape(v, (7, 8, 6)), (1, 0, 2)))

    fires("separate_heads", seq_first, {**expected, "Reshape": 3, "Transpose": 1}, scores="8 5 7", v="7 2 24")


def test_other_weights_stay_together(leaves):
    leaves("separate_heads", lambda s, v: F.matmul(F.sin(s), folded(v)), s="8 5 7", v="2 4 7 6")
    leaves("separate_heads", lambda s, v: F.matmul(F.softmax(s), F.sin(v)), s="8 5 7", v="8 7 6")
    leaves("separate_heads", lambda s, v: F.matmul(F.softmax(s), v), s="2 4 5 7", v="2 4 7 6")

    def shown(s, v):
        weights = F.softmax(s)
        return F.matmul(weights, folded(v)), weights

    leaves("separate_heads", shown, s="8 5 7", v="2 4 7 6")


def test_values_in_front_of_their_weights(fires, leaves):
    given = {"scores": "batch 4 5 7", "v": "batch 4 8 7"}
    swapped = {"Softmax": 1, "Transpose": 2, "MatMul": 1}
    fires("weights_before_values", lambda scores, v: F.matmul(v, swap(F.softmax(scores))), swapped, **given)
    leaves("weights_before_values", lambda scores, v: F.matmul(v, swap(F.sin(scores))), **given)
    leaves("weights_before_values", lambda scores, v: F.matmul(v, F.softmax(scores)), scores="2 4 7 5", v="2 4 8 7")
