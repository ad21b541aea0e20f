"""Masks for kernels that add a mask, and for kernels that take one number a key."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl import functional as F
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.verify import verify
from tfgraph.passes.attention_masks import prepare_masks

F32 = np.float32
SHAPES = {"q": "batch 4 seq 6", "k": "batch 4 keys 6", "v": "batch 4 keys 6"}
SIZES = ({}, {"batch": 1, "seq": 1, "keys": 1})


@pytest.fixture
def prepared(graph_of, same_numbers, target_with, op):
    """`prepared(make_mask, layout, mask="...")`: an attention's graph, and its mask, after the pass."""

    def run(make_mask, layout="folded", inputs=None, past=False, **specs):
        def forward(q, k, v, past_key=None, past_value=None, **given):
            cached = [past_key, past_value] if past else []
            results = op("Attention", q, k, v, make_mask(**given), *cached, outputs=3 if past else 1)
            return results[0] if past else results

        cache = {"past_key": "batch 4 past 6", "past_value": "batch 4 past 6"} if past else {}
        before = graph_of(forward, **SHAPES, **cache, **specs)
        after = copy_graph(before)
        prepare_masks(after, target_with(layout))
        verify(after)
        same_numbers(before, after, SIZES, inputs)
        (node,) = [node for node in after if node.key == "Attention"]
        return after, node.required(3)

    return run


def keys(graph):
    return [node.key for node in graph if node.key != "Attention"]


def test_a_target_that_chooses_by_its_mask_keeps_it(graph_of, op, target_with):
    graph = graph_of(lambda q, k, v, mask: op("Attention", q, k, v, mask), **SHAPES, mask="bool batch 1 1 keys")
    before = str(graph)
    assert not prepare_masks(graph, target_with("heads", whole_masks=False)).changed
    assert str(graph) == before


def test_a_boolean_mask_becomes_a_bias(prepared):
    graph, mask = prepared(lambda mask: mask, mask="bool batch 1 seq keys")
    assert keys(graph) == ["Where"]
    where = mask.producer
    assert (where.required(1).constant.numpy(), where.required(2).constant.numpy()) == (0.0, np.finfo(F32).min)


def test_a_whole_bias_stays(prepared):
    for shape in ("batch 4 seq keys", "1 4 seq keys", "batch 1 seq keys", "1 1 seq keys"):
        graph, mask = prepared(lambda mask: mask, mask=shape)
        assert keys(graph) == []
        assert mask is graph.inputs["mask"]


@pytest.mark.parametrize("shape", ["batch 1 1 keys", "1 1 1 keys", "seq keys", "4 1 keys", "batch 1 seq 1", "1 1"])
@pytest.mark.parametrize("dtype", ["float32", "bool"])
def test_a_mask_that_broadcasts_is_written_out(prepared, shape, dtype):
    graph, mask = prepared(lambda mask: mask, mask=f"{dtype} {shape}")
    assert mask.rank == 4
    assert "Expand" in keys(graph)
    leading = [1] * (4 - len(shape.split())) + shape.split()
    assert [str(dim) for dim in mask.shape[:2]] == [str(dim) for dim in leading[:2]]
    assert [str(dim) for dim in mask.shape[2:]] == ["seq", "keys"]


def test_a_mask_over_past_and_present_keys(prepared):
    graph, mask = prepared(lambda mask: mask, past=True, mask="batch 1 1 past+keys")
    assert str(mask.shape[3]) in ("past + keys", "keys + past")
    assert "Add" in keys(graph) or "Shape" in keys(graph)


def test_layers_expand_one_mask_once(graph_of, op, target_with):
    def forward(x, mask):
        for _ in range(3):
            x = op("Attention", F.sin(x), F.cos(x), x, mask)
        return x

    graph = graph_of(forward, x="batch 4 seq 6", mask="batch 1 1 seq")
    prepare_masks(graph, target_with("folded"))
    from tfgraph.passes.cleanup import clean

    for _ in range(3):
        clean(graph, None)
    assert keys(graph).count("Expand") == 1


def from_tokens(tokens):
    return F.unsqueeze(F.cast(tokens, "bool"), (1, 2))


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_tokens_are_found_for_kernels_that_take_them(prepared, dtype):
    graph, mask = prepared(from_tokens, "microsoft", tokens=f"{dtype} batch keys")
    assert keys(graph)[-3:] == ["Equal", "Reshape", "Where"]
    assert keys(graph).count("Cast") == (dtype == "int64")
    assert [str(dim) for dim in mask.shape] == ["batch", "1", "1", "keys"]


@pytest.mark.parametrize(
    "make",
    [
        from_tokens,
        lambda tokens: F.cast(F.unsqueeze(tokens, (1, 2)), "bool"),
        lambda tokens: F.cast(F.cast(F.unsqueeze(tokens, (1, 2)), "float32"), "bool"),
    ],
)
def test_tokens_are_found_through_views_and_casts(prepared, make):
    graph, mask = prepared(make, "microsoft", tokens="int64 batch keys")
    assert mask.producer.key == "Where" and "Equal" in keys(graph)


@pytest.mark.parametrize(
    ("make", "specs"),
    [
        (lambda mask: mask, {"mask": "bool batch 1 1 keys"}),
        (lambda mask: F.cast(mask, "bool"), {"mask": "int64 batch 1 1 keys"}),  # four axes from the start
        (lambda mask: F.unsqueeze(F.cast(mask, "bool"), (1,)), {"mask": "int64 batch seq keys"}),
        (lambda mask: F.unsqueeze(mask > 0, (1, 2)), {"mask": "int64 batch keys"}),
        (lambda mask: F.unsqueeze(~F.cast(mask, "bool"), (1, 2)), {"mask": "int64 batch keys"}),
        (lambda mask: F.unsqueeze(F.cast(mask, "bool"), (1, 2)), {"mask": "float32 batch keys"}),
    ],
)
def test_other_masks_are_written_out_even_there(prepared, make, specs):
    graph, mask = prepared(make, "microsoft", **specs)
    assert "Equal" not in keys(graph)
    assert [str(dim) for dim in mask.shape[2:]] == ["seq", "keys"]


def test_integers_in_another_shape_are_no_tokens(graph_of, op, target_with, same_numbers):
    """[1, batch * keys] seen as [batch, 1, 1, keys]."""

    def forward(q, flat):
        return op("Attention", q, q, q, F.reshape(F.cast(flat, "bool"), (2, 1, 1, 3)))

    before = graph_of(forward, q="2 4 3 6", flat="int64 1 6")
    after = copy_graph(before)
    prepare_masks(after, target_with("microsoft"))
    same_numbers(before, after, inputs={"flat": np.array([[1, 1, 0, 1, 0, 0]])})
    assert "Equal" not in keys(after)


def test_half_precision_has_a_lowest_number_of_its_own(graph_of, op, target_with):
    specs = {name: f"float16 {shape}" for name, shape in SHAPES.items()}
    graph = graph_of(lambda mask, **qkv: op("Attention", *qkv.values(), mask), mask="bool batch 1 seq keys", **specs)
    prepare_masks(graph, target_with("folded"))
    where = next(node for node in graph if node.key == "Where")
    assert where.required(2).constant.numpy() == np.float16(-65504)
