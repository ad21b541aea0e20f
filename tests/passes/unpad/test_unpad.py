"""Unpadding leaves results at tokens as they were, for every family and every kind of padding; what runs is packed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tfgraph as tg
from tfgraph import functional as F
from tfgraph.errors import InputError
from tfgraph.ir.interpret import interpret

KINDS = {
    "no padding": [[1, 1, 1, 1], [1, 1, 1, 1]],
    "right padding": [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]],
    "left padding": [[1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]],
    "holes": [[1, 0, 1, 1], [0, 1, 0, 1], [1, 0, 0, 1]],
    "one text": [[1, 1, 1, 0]],
    "one token": [[1]],
    "no tokens": [[0, 0, 0]],
    "a text without tokens": [[0, 0, 0], [1, 1, 0]],
}
MODELS = [
    ("bert", "base"),
    ("bert", "masked-lm"),
    ("bert", "question-answering"),
    ("bert", "sequence-classification"),
    ("bert", "token-classification"),
    ("roberta", "base"),
    ("albert", "base"),
    ("distilbert", "base"),
    ("t5", "encoder"),
    ("gpt2", "base"),
    ("qwen3", "base"),
]


def changes(model: tg.CompiledModel) -> int:
    """How many nodes run on packed tokens."""
    return sum(stage.result.changes["unpad"] for stage in model.report.stages)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("model_type", "task"), MODELS)
def test_results_at_tokens_stay(compiled, same_at_tokens, model_type, task, kind):
    plain, packed = compiled(model_type, task)
    same_at_tokens(plain, packed, KINDS[kind])


@pytest.mark.parametrize(("model_type", "task"), MODELS)
def test_linear_layers_and_norms_run_on_packed_tokens(compiled, widths, model_type, task):
    plain, packed = compiled(model_type, task)
    if task == "sequence-classification":
        return  # its head runs on [batch, features]
    for key in ("MatMul", "LayerNormalization", "com.microsoft::BiasGelu", "Sum"):
        before, after = widths(plain.graph, key), widths(packed.graph, key)
        assert len(before) == len(after)
        assert sum(before) - sum(after) == len([rank for rank in before if rank == 3])
    assert changes(packed)
    assert not [miss for miss in packed.report.near_misses if "packed" in str(miss)]


def test_attention_runs_on_texts(compiled):
    _, packed = compiled("bert")
    assert [node.output.shape[2] for node in packed.graph if node.key == "Attention"] == [32, 32]
    assert {str(node.output.shape[1]) for node in packed.graph if node.key == "Attention"} == {"seq"}


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    left=st.booleans(),
    extra=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_any_lengths(compiled, same_at_tokens, lengths, left, extra, seed):
    places = np.arange(max(lengths) + extra)
    right = places < np.array(lengths)[:, None]
    same_at_tokens(*compiled("bert"), right[:, ::-1] if left else right, seed)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(1, 7), st.integers(0, 2**28 - 1))
def test_any_mask(compiled, same_at_tokens, rows, columns, bits):
    mask = [[bits >> (row * columns + column) & 1 for column in range(columns)] for row in range(rows)]
    same_at_tokens(*compiled("gpt2"), mask)


def test_padding_is_not_computed(compiled):
    """Ids at padding that no table holds would be an error if anything looked them up."""
    plain, packed = compiled("bert")
    mask = np.array([[1, 1, 1], [1, 0, 0]])
    ids = np.where(mask == 1, 7, 999)
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}
    kept = {**given, "input_ids": np.where(mask == 1, ids, 0)}
    np.testing.assert_allclose(
        packed.run(given)["last_hidden_state"][0], plain.run(kept)["last_hidden_state"][0], atol=1e-5
    )


@pytest.mark.parametrize("target", ["onnx"])
def test_other_layouts_of_attention(compiled, same_at_tokens, target):
    for model_type in ("bert", "qwen3"):
        plain, packed = compiled(model_type, "base", target)
        assert changes(packed)
        for kind in ("right padding", "holes"):
            same_at_tokens(plain, packed, KINDS[kind])


def test_places_that_a_model_picks_are_kept(graph_of, packed, compare, attend, hiding):
    def forward(x, mask):
        hidden = attend(x, hiding(mask))
        return {"first": hidden[:, 0], "last": hidden[:, -1], "second": hidden[:, 1:2]}

    graph = graph_of(forward, x="batch seq 8", mask="int64 batch seq")
    after, result = packed(graph)
    assert result.changes["unpad"]
    mask = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    inputs = {"x": np.random.default_rng(0).standard_normal((3, 3, 8)).astype(np.float32), "mask": mask}
    for name, expected in interpret(graph, inputs).items():
        compare(interpret(after, inputs)[name], expected, np.ones((3, 9)), name)


def test_masked_means_need_no_padding(graph_of, packed, compare, attend, hiding):
    def forward(x, mask):
        hidden = attend(x, hiding(mask))
        weights = F.cast(mask, "float32")[:, :, None]
        return F.reduce_sum(hidden * weights, [1]) / F.maximum(F.reduce_sum(weights, [1]), 1e-9)

    graph = graph_of(forward, x="batch seq 8", mask="int64 batch seq")
    after, result = packed(graph)
    assert result.changes["unpad"] and not result.near_misses
    for seed, kind in enumerate(KINDS.values()):
        mask = np.array(kind)
        x = np.random.default_rng(seed).standard_normal((*mask.shape, 8)).astype(np.float32)
        inputs = {"x": x, "mask": mask}
        compare(interpret(after, inputs)["output"], interpret(graph, inputs)["output"], np.ones((len(mask), 9)))


def test_a_table_of_places_is_read_by_place(graph_of, packed, compare, attend, hiding, weight):
    """A number for each place, added between layers, is that of the token's place in its text."""

    def forward(x, places, mask):
        hidden = attend(x, hiding(mask)) + places
        return F.tanh(hidden) @ weight(8, 8) + places[None]

    graph = graph_of(forward, x="batch seq 8", places="seq 8", mask="int64 batch seq")
    after, result = packed(graph)
    assert result.changes["unpad"]
    mask = np.array([[1, 1, 0, 1], [0, 1, 1, 0]])
    draw = np.random.default_rng(4).standard_normal
    inputs = {"x": draw((2, 4, 8)).astype(np.float32), "places": draw((4, 8)).astype(np.float32), "mask": mask}
    compare(interpret(after, inputs)["output"], interpret(graph, inputs)["output"], mask)


def test_quantised_products_are_packed(graph_of, packed, op, attend, hiding, weight):
    codes = np.random.default_rng(1).integers(-90, 90, (8, 6)).astype(np.int8)

    def forward(x, mask):
        hidden = attend(x, hiding(mask))
        quantised, scale, zero = op("DynamicQuantizeLinear", hidden, outputs=3)
        return F.cast(op("MatMulInteger", quantised, codes, zero), "float32") * (scale * np.float32(0.01))

    graph = graph_of(forward, x="batch seq 8", mask="int64 batch seq")
    after, result = packed(graph)
    assert result.changes["unpad"]
    assert [node.output.rank for node in after if node.key in ("DynamicQuantizeLinear", "MatMulInteger")] == [2, 2]
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
    x = np.random.default_rng(2).standard_normal((2, 4, 8)).astype(np.float32)
    expected = interpret(graph, {"x": x, "mask": mask})["output"]
    x[1, 2:] *= 1000  # at padding: it no longer widens the range
    found = interpret(after, {"x": x, "mask": mask})["output"]
    assert np.abs(found - expected)[mask == 1].max() < 0.02 * np.abs(expected).max()
    assert not found[mask == 0].any()


def test_unpad_needs_fused_attention():
    with pytest.raises(InputError, match="unpad=True packs tokens around fused attention, and fuse=False leaves none"):
        tg.compile(tg.trace(lambda x: x, x=tg.spec("float32", ["n"])), fuse=False, unpad=True)


def test_verification_allows_for_padding():
    from tests.passes.unpad.conftest import SETTINGS
    from tfgraph.models.bert import BertConfig

    model = tg.models.build(BertConfig.from_dict(SETTINGS["bert"]), task="masked-lm")
    assert tg.compile(model, unpad=True, verify=True).graph.metadata["unpadded"] == "attention_mask"
