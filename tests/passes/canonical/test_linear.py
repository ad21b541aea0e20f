"""Linear layers and einsums (`passes/canonical/linear.py`, `einsum.py`)."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl import functional as F

F32 = np.float32
RNG = np.random.default_rng(3)
WEIGHT = RNG.standard_normal((8, 6)).astype(F32)
BIAS = RNG.standard_normal(6).astype(F32)


@pytest.mark.parametrize(
    ("attributes", "bias", "expected"),
    [
        ({}, None, {"MatMul": 1}),
        ({}, BIAS, {"MatMul": 1, "Add": 1}),
        ({"transB": 1}, BIAS, {"Transpose": 1, "MatMul": 1, "Add": 1}),
        ({"transA": 1}, None, {"Transpose": 1, "MatMul": 1}),
        ({"alpha": 0.5}, BIAS, {"MatMul": 1, "Mul": 1, "Add": 1}),
        ({"beta": 2.0}, BIAS, {"MatMul": 1, "Mul": 1, "Add": 1}),
        ({"beta": 0.0}, BIAS, {"MatMul": 1}),
        ({"alpha": 0.5, "beta": 2.0, "transB": 1}, BIAS[:1], {"Transpose": 1, "MatMul": 1, "Mul": 2, "Add": 1}),
    ],
)
def test_a_gemm_is_a_product_and_a_sum(fires, op, attributes, bias, expected):
    weight = WEIGHT.T if "transB" in attributes else WEIGHT
    x = "8 batch" if "transA" in attributes else "batch 8"
    fires("gemm_is_matmul", lambda x: op("Gemm", x, weight, bias, **attributes), expected, x=x)


def test_a_product_stays_a_product(leaves):
    leaves("gemm_is_matmul", lambda x: F.matmul(x, WEIGHT) + BIAS, x="batch 8")


def test_a_flattened_product_works_on_the_axes_as_they_were(fires):
    def flattened(x):
        return F.reshape(F.matmul(F.reshape(x, (-1, 8)), WEIGHT), (x.shape[0], 5, 6))

    after = fires("unflatten_matmul", flattened, {"MatMul": 1, "Reshape": 2}, x="batch 5 8")
    assert next(iter(after)).required(0) is after.inputs["x"]
    expected = {"MatMul": 1, "Reshape": 1}
    fires("unflatten_matmul", lambda x: F.matmul(F.reshape(x, (-1, 8)), WEIGHT), expected, x="batch 4 seq 8")


def test_heads_are_folded_before_the_product(fires):
    def merged(x):
        return F.reshape(F.matmul(F.reshape(x, (-1, 8)), WEIGHT), (x.shape[0], 5, 6))

    fires("unflatten_matmul", merged, {"MatMul": 1, "Reshape": 3}, x="batch 5 2 4")


def test_a_flattening_that_leaves_one_row_axis_stays(leaves):
    leaves("unflatten_matmul", lambda x: F.matmul(F.reshape(x, (-1, 8)), WEIGHT), x="batch 2 4")
    leaves("unflatten_matmul", lambda x: F.matmul(F.reshape(x, (-1, 8)), WEIGHT), x="batch 4 6")  # across the axes
    leaves("unflatten_matmul", lambda x, w: F.matmul(F.reshape(x, (-1, 8)), w), x="batch seq 8", w="batch 8 6")


def test_a_product_with_a_weight_of_open_width(leaves):
    """The reshape behind the product could not say its width."""
    leaves("unflatten_matmul", lambda x, w: F.matmul(F.reshape(x, (-1, 8)), w), x="batch seq 8", w="8 width")


def test_a_bias_after_a_flattening_is_added_before_it(fires):
    def flattened(x):
        return F.reshape(F.relu(x), (-1, 6)) + BIAS

    after = fires("unflatten_bias", flattened, {"Relu": 1, "Add": 1, "Reshape": 1}, x="batch seq 6")
    assert [node.key for node in after] == ["Relu", "Add", "Reshape"]


def test_sums_that_are_no_bias_stay(leaves):
    def read_twice(x):
        flat = F.reshape(F.relu(x), (-1, 6))
        return flat + BIAS, flat

    leaves("unflatten_bias", read_twice, x="batch seq 6")
    leaves("unflatten_bias", lambda x: F.reshape(x, (-1, 6)) + BIAS, x="batch 2 3")  # folds the axis of the bias
    leaves("unflatten_bias", lambda x, y: F.reshape(x, (-1, 6)) + y, x="batch seq 6", y="6")  # not constant
    leaves("unflatten_bias", lambda x: F.reshape(x, (-1, 1)) + BIAS, x="batch seq 1")  # widens what it is added to


def batched(x, y, heads):
    flat_x, flat_y = (F.reshape(value, (value.shape[0] * heads, *value.shape[2:])) for value in (x, y))
    return flat_x, flat_y


def test_a_flattened_batch_of_products_works_on_the_axes_as_they_were(fires):
    def scores(q, k):
        q3, k3 = batched(q, k, 4)
        return F.reshape(F.matmul(q3, F.swap_axes(k3, 1, 2)), (q.shape[0], 4, q.shape[2], k.shape[2]))

    shapes = {"q": "batch 4 5 8", "k": "batch 4 7 8"}
    fires("unflatten_product", scores, {"Transpose": 1, "MatMul": 1}, **shapes)
    weights = {"q": "batch 4 5 7", "k": "batch 4 7 8"}
    fires(
        "unflatten_product",
        lambda q, k: F.reshape(F.matmul(*batched(q, k, 4)), (q.shape[0], 4, 5, 8)),
        {"MatMul": 1},
        **weights,
    )


def test_a_batch_that_is_regrouped_or_read_twice_stays(leaves):
    shapes = {"q": "batch 4 5 7", "k": "batch 4 7 8"}
    leaves("unflatten_product", lambda q, k: F.reshape(F.matmul(*batched(q, k, 4)), (q.shape[0], 2, 2, 5, 8)), **shapes)
    leaves("unflatten_product", lambda q, k: F.reshape(F.matmul(*batched(q, k, 4)), (q.shape[0], 4, 8, 5)), **shapes)

    def twice(q, k):
        flat = F.matmul(*batched(q, k, 4))
        return F.reshape(flat, (q.shape[0], 4, 5, 8)), F.relu(flat)

    leaves("unflatten_product", twice, **shapes)

    def one_operand(q, k):
        flat = F.reshape(q, (8, 5, 7))
        return F.reshape(F.matmul(flat, k), (2, 4, 5, 8))

    leaves("unflatten_product", one_operand, q="2 4 5 7", k="8 7 8")


@pytest.mark.parametrize(
    ("equation", "shapes", "expected"),
    [
        ("bqhd,bkhd->bhqk", ("batch 5 4 8", "batch keys 4 8"), {"Transpose": 3, "MatMul": 1}),
        ("bhqk,bkhd->bqhd", ("batch 4 5 keys", "batch keys 4 8"), {"Transpose": 3, "MatMul": 1}),
        ("bsh,hnd->bsnd", ("batch seq 8", "8 4 6"), {"Transpose": 3, "MatMul": 1, "Reshape": 2}),
        ("bsnd,ndh->bsh", ("batch seq 4 6", "4 6 8"), {"Transpose": 3, "MatMul": 1, "Reshape": 2}),
        ("ij,jk->ki", ("batch 8", "8 6"), {"Transpose": 3, "MatMul": 1}),
        (" i j , j k -> i k ", ("batch 8", "8 6"), {"Transpose": 3, "MatMul": 1}),
        ("...ij,...jk->...ik", ("batch 3 4 8", "batch 3 8 6"), {"Transpose": 3, "MatMul": 1}),
        ("... i d, ... j d -> ... i j", ("batch 4 8", "batch 6 8"), {"Transpose": 3, "MatMul": 1}),
        ("...ij,jk->...ik", ("batch 3 4 8", "8 6"), {"Transpose": 3, "MatMul": 1}),
        ("bkhd,bqhd->bhqk", ("batch keys 4 8", "batch 5 4 8"), {"Transpose": 3, "MatMul": 1}),
        ("i,i->", ("8", "8"), {"Transpose": 3, "MatMul": 1, "Reshape": 2}),
    ],
)
def test_an_einsum_is_a_matrix_product(fires, op, equation, shapes, expected):
    x, y = shapes
    fires("einsum_is_matmul", lambda x, y: op("Einsum", x, y, equation=equation), expected, x=x, y=y)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk", ("batch 8", "8 6")),  # no result named
        ("...ij,...jk->...i", ("batch 4 8", "batch 8 6")),  # sums over a letter of one operand
        ("...ij,...jk->...ik", ("batch 3 4 8", "3 8 6")),  # dots of different ranks
        ("ii,ij->j", ("8 8", "8 6")),  # a diagonal
        ("ij,ik->i", ("batch 8", "batch 6")),  # sums over a letter of one operand
        ("ij,ij->ij", ("batch 8", "batch 8")),  # nothing is summed
        ("bij,bjk->bik", ("1 3 8", "batch 8 6")),  # a batch that broadcasts
        ("bqd,bkd->bqk", ("batch 3 1", "batch 5 8")),  # a summed axis that broadcasts
    ],
)
def test_other_einsums_stay(leaves, op, equation, shapes):
    x, y = shapes
    leaves("einsum_is_matmul", lambda x, y: op("Einsum", x, y, equation=equation), x=x, y=y)


def test_an_einsum_of_three_operands_stays(leaves, op):
    shapes = {"x": "5 8", "y": "8 6", "z": "6 4"}
    leaves("einsum_is_matmul", lambda x, y, z: op("Einsum", x, y, z, equation="ij,jk,kl->il"), **shapes)
