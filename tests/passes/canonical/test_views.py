"""Reshapes and transposes (`passes/canonical/views.py`)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfgraph.dsl import functional as F
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.dims import symbol
from tfgraph.passes.canonical import CANONICAL
from tfgraph.passes.canonical.views import matrix_transpose, static_target

BATCH, SEQ = symbol("batch"), symbol("seq")


@pytest.mark.parametrize(
    ("source", "wanted", "target"),
    [
        ((BATCH, SEQ, 8), (BATCH, SEQ, 2, 4), [0, 0, 2, 4]),
        ((BATCH, SEQ, 8), (BATCH * SEQ, 8), [-1, 8]),
        ((BATCH, 8), (8, BATCH), [8, -1]),
        ((2, 3), (6,), [6]),
        ((BATCH, SEQ, 2, 4), (BATCH, 2, SEQ, 4), [0, 2, -1, 4]),
        ((BATCH, SEQ), (SEQ, BATCH), None),  # two sizes are open
        ((0, 3), (3, 0), None),  # 0 would copy an axis
        ((8,), (BATCH, 8), [-1, 8]),
    ],
)
def test_the_target_of_a_reshape(source, wanted, target):
    assert static_target(source, wanted) == target


def test_squeezes_are_reshapes(fires):
    fires("view_is_reshape", lambda x: F.unsqueeze(x, (1, -1)), {"Reshape": 1}, x="batch seq 8")
    fires("view_is_reshape", lambda x: F.squeeze(F.unsqueeze(x, (1,)), (1,)), {"Reshape": 2}, x="batch seq 8")


def test_a_squeeze_that_shifts_two_open_sizes_stays(leaves):
    leaves("view_is_reshape", lambda x: F.unsqueeze(x, (0,)), x="batch seq 8")


def test_a_flattening_is_a_reshape(fires, op):
    fires("view_is_reshape", lambda x: op("Flatten", x, axis=2), {"Reshape": 1}, x="batch seq 4 8")
    fires("view_is_reshape", lambda x: F.relu(op("Flatten", x, axis=1)), {"Relu": 1}, x="batch 8")


def test_views_of_shapes_stay(leaves, op):
    """Their elements are what the sizes of other reshapes come from."""
    leaves("view_is_reshape", lambda x: F.unsqueeze(op("Squeeze", op("Shape", x, end=1)), (0,)), x="batch seq 8")


def test_a_reshape_to_the_same_shape_goes(fires):
    fires("simplify_reshape", lambda x: F.relu(F.reshape(x, x.shape)), {"Relu": 1}, x="batch seq 8")


def test_a_reshape_of_a_reshape_is_one(fires):
    def there_and_back(x):
        return F.relu(F.reshape(F.reshape(x, (x.shape[0], x.shape[1], 2, 4)), x.shape))

    fires("simplify_reshape", there_and_back, {"Relu": 1}, x="batch seq 8")
    fires(
        "simplify_reshape",
        lambda x: F.reshape(F.reshape(x, (x.shape[0] * x.shape[1], 8)), (x.shape[0], x.shape[1], 2, 4)),
        {"Reshape": 1},
        x="batch seq 8",
    )


def test_a_computed_target_becomes_a_constant(fires, op):
    def computed(x):
        batch, seq = (op("Shape", x, start=axis, end=axis + 1) for axis in (0, 1))
        return op("Reshape", x, op("Concat", batch, seq, np.array([2]), np.array([-1]), axis=0))

    after = fires("simplify_reshape", computed, {"Reshape": 1}, x="batch seq 8")
    assert next(iter(after)).required(1).content == (0, 0, 2, 4)


def test_a_reshape_with_two_open_sizes_stays(leaves, op):
    def turned(x):
        batch, seq = (op("Shape", x, start=axis, end=axis + 1) for axis in (0, 1))
        return op("Reshape", x, op("Concat", seq, batch, axis=0))

    leaves("simplify_reshape", turned, x="batch seq")
    leaves("simplify_reshape", lambda x: F.reshape(x, (x.shape[0], 2, 4)), x="batch 8")


def test_a_transpose_between_a_flattening_and_its_inverse_works_on_the_axes_as_they_were(fires):
    def flat(x):
        batch, heads = x.shape[:2]
        turned = F.transpose(F.reshape(x, (batch * heads, *x.shape[2:])), (0, 2, 1))
        return F.reshape(turned, (batch, heads, x.shape[3], x.shape[2]))

    after = fires("unflatten_transpose", flat, {"Transpose": 1}, x="batch 3 seq 8")
    assert next(iter(after)).attributes["perm"] == (0, 1, 3, 2)


def test_a_transpose_that_moves_the_flattened_axis_stays(leaves):
    def moved(x):
        turned = F.transpose(F.reshape(x, (x.shape[0] * 3, 5, 8)), (1, 0, 2))
        return F.reshape(turned, (5, x.shape[0], 3, 8))

    def regrouped(x):
        turned = F.transpose(F.reshape(x, (x.shape[0] * 6, 5, 8)), (0, 2, 1))
        return F.reshape(turned, (x.shape[0], 3, 2, 8, 5))

    leaves("unflatten_transpose", moved, x="batch 3 5 8")
    leaves("unflatten_transpose", regrouped, x="batch 2 3 5 8")  # other leading axes than before


def test_transposes_merge(fires, op):
    fires("merge_transposes", lambda x: F.relu(F.transpose(x, (0, 1, 2))), {"Relu": 1}, x="batch seq 8")
    after = fires(
        "merge_transposes",
        lambda x: F.transpose(F.transpose(x, (0, 2, 1, 3)), (0, 2, 3, 1)),
        {"Transpose": 1},
        x="batch seq 4 8",
    )
    assert next(iter(after)).attributes["perm"] == (0, 1, 3, 2)
    fires("merge_transposes", lambda x: F.relu(F.swap_axes(F.swap_axes(x, 1, 2), 1, 2)), {"Relu": 1}, x="batch seq 8")
    after = fires("merge_transposes", lambda x: op("Transpose", x), {"Transpose": 1}, x="batch seq 8")
    assert next(iter(after)).attributes["perm"] == (2, 1, 0)


def test_a_transpose_that_is_read_twice_still_merges_into_its_reader(fires):
    def shared(x):
        turned = F.transpose(x, (0, 2, 1, 3))
        return turned, F.transpose(turned, (2, 1, 0, 3))

    fires("merge_transposes", shared, {"Transpose": 2}, x="batch seq 4 8")


def test_the_exchange_of_the_last_two_axes_stays_alone(leaves):
    leaves("merge_transposes", lambda x: F.swap_axes(F.transpose(x, (0, 2, 1, 3)), -1, -2), x="batch seq 4 8")


def test_the_matrix_transpose_of_keys_is_parted(fires):
    after = fires(
        "part_matrix_transpose",
        lambda q, k: F.matmul(q, F.transpose(k, (0, 2, 3, 1))),
        {"Transpose": 2, "MatMul": 1},
        q="batch 4 seq 8",
        k="batch keys 4 8",
    )
    perms = [node.attributes["perm"] for node in after if node.key == "Transpose"]
    assert perms == [(0, 2, 1, 3), matrix_transpose(4)]


def test_transposes_that_sum_over_another_axis_are_not_parted(leaves):
    shapes = {"q": "batch 4 seq 8", "k": "batch 4 keys 8"}
    leaves("part_matrix_transpose", lambda q, k: F.matmul(q, F.swap_axes(k, -1, -2)), **shapes)
    leaves("part_matrix_transpose", lambda q, k: F.matmul(q, F.transpose(k, (1, 0, 2))), q="4 seq 8", k="8 4 5")


@given(data=st.data())
@settings(max_examples=60)
def test_any_chain_of_views_keeps_its_elements(graph_of, same_numbers, data):
    """Random transposes, squeezes and reshapes of [batch, 2, seq, 6], then a product with a weight."""

    def forward(x):
        for _ in range(data.draw(st.integers(1, 5))):
            kind = data.draw(st.sampled_from(["transpose", "split", "merge", "unsqueeze", "squeeze", "scale"]))
            shape = x.shape
            if kind == "transpose":
                x = F.transpose(x, data.draw(st.permutations(range(x.rank))))
            elif kind == "split":
                even = [axis for axis, dim in enumerate(shape) if isinstance(dim, int) and dim % 2 == 0]
                if even:
                    axis = data.draw(st.sampled_from(even))
                    x = F.reshape(x, (*shape[:axis], 2, shape[axis] // 2, *shape[axis + 1 :]))
            elif kind == "merge" and x.rank > 2:
                axis = data.draw(st.integers(0, x.rank - 2))
                x = F.reshape(x, (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]))
            elif kind == "unsqueeze" and x.rank < 6:
                x = F.unsqueeze(x, (data.draw(st.integers(0, x.rank)),))
            elif kind == "squeeze" and 1 in [dim for dim in shape if isinstance(dim, int)]:
                x = F.squeeze(x, (shape.index(1),))
            elif kind == "scale":
                x = x * 0.5
        if isinstance(x.shape[-1], int):
            weight = np.linspace(-1, 1, x.shape[-1] * 3, dtype=np.float32).reshape(-1, 3)
            x = F.matmul(x, weight) + np.ones(3, np.float32)
        return x, F.matmul(x, F.swap_axes(x, -1, -2)) if x.rank > 1 else x

    before = graph_of(forward, x="batch 2 seq 6")
    after = copy_graph(before)
    CANONICAL.apply(after)
    same_numbers(before, after, ({}, {"batch": 1, "seq": 1}))
