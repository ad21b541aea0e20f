"""BERT's models against transformers: the same weights, the same outputs, whatever is padded."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import ConfigError, ShapeError
from tfgraph.ir.interpret import interpret
from tfgraph.models.bert import FAMILY, BertConfig, BertModel
from tfgraph.models.names import checkpoint_name
from tfgraph.pretrained import load

MASKS = {
    "full": [[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1]],
    "right": [[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]],
    "left": [[0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1, 1]],
    "holes": [[1, 0, 1, 1, 0, 1, 1], [0, 1, 0, 0, 1, 1, 0]],
    "one token": [[1], [1]],
}
HEADS = [architecture.name for architecture in FAMILY.architectures]
SMALL = BertConfig(53, 32, 2, 4, 48, 24)


def declare(task):
    """The small model for a task, without weights."""
    return FAMILY.architecture_for(task).build(SMALL)


def make_inputs(mask, vocab_size=53, choices=0):
    """Random ids and types for a mask [B, S]; with `choices`, [B, choices, S]."""
    generator = np.random.default_rng(3)
    attention_mask = np.array(mask)
    if choices:
        attention_mask = np.stack([np.roll(attention_mask, shift, axis=1) for shift in range(choices)], axis=1)
    shape = attention_mask.shape
    return {
        "input_ids": generator.integers(0, vocab_size, shape),
        "attention_mask": attention_mask,
        "token_type_ids": generator.integers(0, 2, shape),
    }


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("name", HEADS)
def test_outputs_are_those_of_transformers(name, mask, make_checkpoint, run, transformers_outputs, assert_close):
    model, folder = make_checkpoint(name)
    pretrained = load(folder)
    assert pretrained.task == FAMILY.architecture_named(name).task
    inputs = make_inputs(mask, choices=3 if name == "BertForMultipleChoice" else 0)
    assert_close(run(pretrained, inputs), transformers_outputs(model, inputs))


@pytest.mark.parametrize(
    "overrides",
    [
        {"hidden_size": 30, "num_attention_heads": 6},  # heads of 5 features
        {"hidden_size": 21, "num_attention_heads": 3, "intermediate_size": 7},
        {"num_attention_heads": 1, "num_hidden_layers": 1, "type_vocab_size": 1},
        {"hidden_act": "gelu_new"},
        {"hidden_act": "relu"},
        {"hidden_act": "silu"},
        {"layer_norm_eps": 0.5},
    ],
    ids=lambda overrides: ",".join(f"{key}={value}" for key, value in overrides.items()),
)
def test_sizes_and_settings(overrides, make_checkpoint, run, transformers_outputs, assert_close):
    model, folder = make_checkpoint("BertForPreTraining", **overrides)
    inputs = make_inputs(MASKS["holes"])
    inputs["token_type_ids"] %= overrides.get("type_vocab_size", 2)
    assert_close(run(load(folder), inputs), transformers_outputs(model, inputs))


def test_decoder_of_its_own(make_checkpoint, run, transformers_outputs, assert_close):
    model, folder = make_checkpoint("BertForMaskedLM", tie_word_embeddings=False)
    pretrained = load(folder)
    assert pretrained.module.num_parameters() == declare("masked-lm").num_parameters() + 53 * 32
    inputs = make_inputs(MASKS["left"])
    assert_close(run(pretrained, inputs), transformers_outputs(model, inputs))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype, make_checkpoint, transformers_outputs):
    model, folder = make_checkpoint("BertForPreTraining")
    pretrained = load(folder, dtype=dtype)
    assert {str(weight.dtype) for weight in pretrained.module.state_dict().values()} == {dtype}
    inputs = make_inputs(MASKS["holes"])
    ours, theirs = interpret(pretrained.trace(), inputs), transformers_outputs(model, inputs)
    for name, expected in theirs.items():
        assert ours[name].dtype == dtype
        error = np.abs(ours[name].astype(np.float32) - expected).max() / np.abs(expected).max()
        assert error < {"float16": 5e-3, "bfloat16": 5e-2}[dtype]


def test_without_mask_and_types(make_checkpoint, transformers_outputs, assert_close):
    model, folder = make_checkpoint("BertForTokenClassification")
    inputs = {"input_ids": make_inputs(MASKS["full"])["input_ids"]}
    graph = trace(load(folder).module, input_ids=spec("int64", ["batch", "seq"]))
    assert_close(interpret(graph, inputs), transformers_outputs(model, inputs))


def test_fixed_sizes(make_checkpoint, transformers_outputs, assert_close):
    model, folder = make_checkpoint("BertForMultipleChoice")
    inputs = make_inputs(MASKS["holes"], choices=4)
    graph = trace(load(folder).module, **{name: spec("int64", array.shape) for name, array in inputs.items()})
    assert_close(interpret(graph, inputs), transformers_outputs(model, inputs))


def test_padding_has_no_influence(make_checkpoint, run):
    _, folder = make_checkpoint("BertForSequenceClassification")
    pretrained = load(folder)
    inputs = make_inputs([[1, 1, 1, 1, 0, 0, 0]])
    padded = run(pretrained, inputs)["logits"]
    alone = run(pretrained, {name: array[:, :4] for name, array in inputs.items()})["logits"]
    np.testing.assert_allclose(padded, alone, rtol=1e-5)
    other = inputs | {"input_ids": np.where(inputs["attention_mask"] == 1, inputs["input_ids"], 11)}
    assert np.array_equal(run(pretrained, other)["logits"], padded)


@pytest.mark.parametrize("architecture", FAMILY.architectures, ids=HEADS)
def test_every_parameter_has_the_name_that_transformers_gives_it(architecture, make_checkpoint):
    model, _ = make_checkpoint(architecture.name)
    config = BertConfig(53, 32, 2, 4, 48, 24, labels=("a", "b", "c"))
    ours = {
        checkpoint_name(path, architecture.names): parameter.shape
        for path, parameter in architecture.build(config).named_parameters()
    }
    theirs = {FAMILY.aliases.get(path, path): tuple(p.shape) for path, p in model.named_parameters()}
    assert ours == theirs


def test_the_decoder_shares_the_table_of_word_embeddings():
    for model in (declare("masked-lm"), declare("pre-training")):
        assert model.head.decoder.weight is model.base.embeddings.word.weight
        paths = [path for path, parameter in model.named_parameters() if parameter is model.head.decoder.weight]
        assert paths == ["base.embeddings.word.weight"]


def test_parameters_of_bert_base():
    config = BertConfig(30522, 768, 12, 12, 3072, 512)
    assert BertModel(config).num_parameters() == 109_482_240
    assert BertModel(config, pooler=False).num_parameters() == 109_482_240 - 768 * 769


def test_tracing_twice_gives_the_same_text():
    inputs = FAMILY.input_specs("masked-lm")
    model = declare("masked-lm")
    assert str(trace(model, **inputs)) == str(trace(model, **inputs))


def test_layers_are_named_by_their_path():
    graph = trace(BertModel(SMALL), **FAMILY.input_specs("base"))
    scopes = {node.scope for node in graph}
    assert {"embeddings", "encoder.layers.0.attention.query", "encoder.layers.1.mlp.down", "pooler.dense"} <= scopes


def test_the_mask_is_prepared_once_for_all_layers():
    graph = trace(BertModel(BertConfig(53, 32, 6, 4, 48, 24)), **FAMILY.input_specs("base"))
    assert sum(node.op == "Cast" and node.attributes["to"] == "bool" for node in graph) == 1


def test_a_mask_of_another_length_is_refused_where_it_is_used():
    inputs = FAMILY.input_specs("base") | {"attention_mask": spec("int64", ["batch", "other"])}
    with pytest.raises(ShapeError, match=r"models/encoder\.py:\d+: .*attention_mask is .*\[batch, other\].*seq"):
        trace(BertModel(SMALL), **inputs)


def test_choices_need_three_axes():
    module = declare("multiple-choice")
    with pytest.raises(ShapeError, match=r"expected a tensor of shape \[batch, choices, seq\], and got \[batch, seq\]"):
        trace(module, **FAMILY.input_specs("base"))


def test_a_task_that_bert_has_not():
    with pytest.raises(ConfigError, match=r"unknown bert task 'masked-ml': did you mean 'masked-lm'"):
        FAMILY.architecture_for("masked-ml")
