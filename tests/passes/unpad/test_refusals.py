"""Where unpadding must not fire: whatever mixes tokens and is no attention whose mask hides padding."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph import functional as F


@pytest.fixture
def refused(graph_of, packed):
    """`refused(forward, **inputs)`: the reason that the pass gives; the graph must be what it was."""

    def run(forward, **specs):
        graph = graph_of(forward, **{"x": "batch seq 8", "mask": "int64 batch seq", **specs})
        after, result = packed(graph)
        assert not result.changes and str(after) == str(graph)
        return " | ".join(map(str, result.near_misses))

    return run


def test_attention_without_a_mask(refused, attend):
    reason = refused(lambda x, mask: {"a": attend(x, None), "mask": mask + 0})
    assert "it has no mask, so that nothing tells padding from tokens" in reason


def test_a_second_attention_without_the_mask(refused, attend, hiding):
    reason = refused(lambda x, mask: attend(attend(x, hiding(mask)), None))
    assert "its mask does not hide the tokens at which the batch's mask is 0" in reason


@pytest.mark.parametrize(
    "bias",
    [
        lambda mask: F.where(F.logical_not(F.equal(mask, 0))[:, None, None, :], -3.4e38, 0.0),  # the wrong way round
        lambda mask: F.where(F.logical_not(F.equal(mask, 0))[:, None, None, :], 0.0, -5.0),  # too little to hide
        lambda mask: (
            F.where(F.logical_not(F.equal(mask, 0))[:, None, :, None], 0.0, -3.4e38)
            + F.cast(mask, "float32")[:, None, None]
        ),
        lambda mask: F.cast(mask, "float32")[:, None, None],
        lambda mask: F.where(F.logical_not(F.equal(mask, 1))[:, None, None, :], 0.0, -3.4e38),
    ],
)
def test_masks_that_do_not_hide_padding(refused, attend, bias):
    assert "its mask does not hide the tokens" in refused(lambda x, mask: attend(x, bias(mask)))


def test_attention_over_the_axis_of_the_batch(refused, attend, hiding):
    reason = refused(lambda x, mask: F.transpose(attend(F.transpose(x, (1, 0, 2)), hiding(mask)), (1, 0, 2)))
    assert reason


def test_a_transposition_between_layers(refused, attend, hiding, weight):
    reason = refused(lambda x, mask: F.transpose(attend(x, hiding(mask)), (1, 0, 2)) @ weight(8, 8))
    assert "Transpose moves the axis of the texts" in reason


def test_softmax_over_tokens(refused, attend, hiding):
    reason = refused(lambda x, mask: F.softmax(attend(x, hiding(mask)), 1))
    assert "Softmax works along the axis of the tokens" in reason


@pytest.mark.parametrize("reduce", [F.reduce_mean, F.reduce_sum, F.reduce_max])
def test_pooling_without_the_mask(refused, attend, hiding, reduce):
    reason = refused(lambda x, mask: reduce(attend(x, hiding(mask)), [1]))
    assert "reads the places of padding" in reason


def test_pooling_by_a_mask_of_something_else(refused, attend, hiding):
    def forward(x, mask, other):
        return F.reduce_sum(attend(x, hiding(mask)) * other[:, :, None], [1])

    assert "reads the places of padding" in refused(forward, other="batch seq")


def test_products_of_tokens_with_tokens(refused, attend, hiding):
    def forward(x, mask):
        hidden = attend(x, hiding(mask))
        return hidden @ F.transpose(hidden, (0, 2, 1))

    assert "MatMul reads the places of padding" in refused(forward)


def test_places_known_only_when_it_runs(refused, op, attend, hiding):
    reason = refused(lambda x, mask, at: op("Gather", attend(x, hiding(mask)), at, axis=1), at="int64 n")
    assert "Gather reads the places of padding" in reason


def test_views_that_mix_tokens(refused, attend, hiding):
    reason = refused(lambda x, mask: F.reshape(attend(x, hiding(mask)), (mask.shape[0], -1)) * 2.0)
    assert "mixes the places of padding with others" in reason


def test_sizes_that_are_fixed(refused, attend, hiding):
    """Two texts of four tokens: a size of 4 may be that of anything else too."""
    reason = refused(lambda x, mask: attend(x, hiding(mask)), x="2 4 8", mask="int64 2 4")
    assert "an input [batch, seq] of open sizes" in reason


def test_a_graph_without_attention(refused, weight):
    assert refused(lambda x, mask: (x @ weight(8, 8)) * F.cast(mask, "float32")[:, :, None]) == ""


def test_attention_with_earlier_tokens(compiled):
    from tfgraph.models.family import TEXT_GENERATION

    plain, packed = compiled("gpt2", TEXT_GENERATION)
    assert "unpadded" not in packed.graph.metadata
    assert [node.key for node in packed.graph] == [node.key for node in plain.graph]
    assert any("packed tokens" in str(miss) for miss in packed.report.near_misses)


def test_masks_made_in_other_ways(graph_of, packed, compare, attend):
    """What exporters write: a product with a large number, a choice under a causal mask, a conjunction."""
    from tfgraph.ir.interpret import interpret

    def by_product(mask):
        return (1.0 - F.cast(mask, "float32"))[:, None, None] * -10000.0

    def with_bias(mask):
        return by_product(mask) + np.float32(0.5) * np.ones((1, 2, 1, 1), np.float32)

    def negated(mask):
        return F.where(F.equal(mask, 0)[:, None, None], -3.4e38, 0.0)

    def conjunction(mask):
        seen = F.logical_and(F.greater(mask, 0)[:, None, None], F.greater(mask, 0)[:, None, :, None])
        return F.where(seen, 0.0, -3.4e38)

    for bias in (by_product, with_bias, negated, conjunction):
        graph = graph_of(lambda x, mask, bias=bias: attend(x, bias(mask)), x="b s 8", mask="int64 b s")
        after, result = packed(graph)
        assert result.changes["unpad"], bias.__name__
        mask = np.array([[1, 1, 0], [1, 0, 1]])
        x = np.random.default_rng(0).standard_normal((2, 3, 8)).astype(np.float32)
        results = (interpret(each, {"x": x, "mask": mask})["output"] for each in (after, graph))
        compare(*results, mask)


def _picked_by_grid(mask, swapped):
    """`mask[b, s]` at [b, 0, 0, s], as exporters write a function of indices that is mapped over texts and places."""
    texts, places = F.arange(0, mask.shape[0]), F.arange(0, mask.shape[1])
    texts = F.expand(texts[:, None, None, None], (mask.shape[0], 1, 1, mask.shape[1]))[..., None]
    places = F.expand(places[None, None, None], (mask.shape[0], 1, 1, mask.shape[1]))[..., None]
    return F.concat([places, places] if swapped else [texts, places], -1)


@pytest.mark.parametrize("swapped", [False, True])
def test_masks_picked_by_index(graph_of, packed, op, attend, swapped):
    def forward(x, mask):
        seen = op("GatherND", F.greater(mask, 0), _picked_by_grid(mask, swapped))
        return attend(x, F.where(seen, 0.0, -3.4e38))

    _, result = packed(graph_of(forward, x="b s 8", mask="int64 b s"))
    assert bool(result.changes["unpad"]) is not swapped
