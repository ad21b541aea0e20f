"""Models declared by name: their tasks, their inputs, and that they compile and run as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tfgraph as tg
from tfgraph.errors import ConfigError, TraceError
from tfgraph.models.declared import DeclaredModel, build, main_task
from tfgraph.models.decoder_config import DecoderConfig
from tfgraph.models.encoder_config import EncoderConfig
from tfgraph.models.family import SENTENCE_EMBEDDING, TASKS
from tfgraph.models.registry import FAMILIES, find_family
from tfgraph.models.seq2seq_config import Seq2SeqConfig

TINY = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def tiny(name: str, **settings: Any) -> Any:
    """The configuration of a published model, made small."""
    config = tg.models.configs[name]
    return replace(config, **{**TINY, "max_position_embeddings": 32, "intermediate_size": 48, **settings})


def test_a_model_by_name() -> None:
    model = tg.models.build("bert-tiny")
    assert isinstance(model, DeclaredModel)
    assert model.config is tg.models.configs["bert-tiny"]
    assert (model.task, model.family.model_type, model.num_parameters()) == ("base", "bert", 4_385_920)
    assert {name: str(each) for name, each in model.input_specs.items()} == dict.fromkeys(
        ("input_ids", "attention_mask", "token_type_ids"), "int64[batch, seq]"
    )


@pytest.mark.parametrize("model_type", FAMILIES)
def test_main_tasks(model_type: str) -> None:
    task = main_task(find_family(model_type))
    config = find_family(model_type).config
    expected = {EncoderConfig: "base", DecoderConfig: "text-generation", Seq2SeqConfig: "seq2seq-lm"}
    assert task == next(main for kind, main in expected.items() if issubclass(config, kind))


def test_a_decoder_compiles_and_runs_with_its_cache() -> None:
    compiled = tg.compile(tg.models.build(tiny("gpt2")), target="cpu")
    ids = np.array([[1, 2, 3], [4, 5, 6]])
    cache = {
        name: np.zeros((2, 4, 0, 8), np.float32) for name in compiled.graph.inputs if name.startswith("past_key_values")
    }
    outputs = compiled.run({"input_ids": ids, "attention_mask": np.ones_like(ids), **cache})
    assert outputs["logits"].shape == (2, 61)
    assert np.ptp(outputs["logits"]) > 0
    assert outputs["present.1.key"].shape == (2, 4, 3, 8)


def test_an_encoder_decoder_is_one_graph_unless_it_writes() -> None:
    config = tiny("t5-small", head_dim=8)
    scoring = build(config)
    assert list(scoring.parts) == ["model"]
    assert list(scoring.trace().outputs) == ["logits"]
    writing = build(config, task="text-generation")
    assert list(writing.parts) == ["encoder", "decoder"]
    assert list(writing.input_specs) == ["input_ids", "attention_mask"]
    assert tg.compile(writing.parts["decoder"]).graph.metadata["part"] == "decoder"
    with pytest.raises(TraceError) as caught:
        tg.compile(writing)
    assert str(caught.value) == (
        "t5 for text-generation is 2 graphs, encoder and decoder: compile each, as in "
        "tfgraph.compile(model.parts['encoder']), or build the model with task='seq2seq-lm', which is one graph"
    )


def test_the_graph_says_what_it_is() -> None:
    graph = build(tiny("bert-tiny"), task="masked-lm").trace()
    assert graph.name == "BertForMaskedLM"
    assert graph.metadata == {"model_type": "bert", "task": "masked-lm"}
    assert str(graph) == str(build(tiny("bert-tiny"), task="masked-lm").trace())


def test_it_is_traced_with_other_inputs_through_its_module() -> None:
    model = build(tiny("bert-tiny"))
    graph = tg.trace(model.module, input_ids=tg.spec("int64", [1, 5]))
    assert str(graph.outputs["last_hidden_state"].shape) == "(1, 5, 32)"


def test_weights_may_be_given() -> None:
    model = build(tiny("bert-tiny"))
    model.module.init_weights(seed=3)
    inputs = {name: np.ones((1, 4), np.int64) for name in model.input_specs}
    given = tg.compile(model).run(inputs)["last_hidden_state"]
    absent = tg.compile(build(tiny("bert-tiny"))).run(inputs)["last_hidden_state"]
    assert np.abs(given - absent).max() > 0.1


def test_it_is_exported(tmp_path: Any) -> None:
    model: Any = build(tiny("bert-tiny"), task="masked-lm")
    tg.export(model, tmp_path / "out")
    outputs = tg.open(tmp_path / "out").run({name: np.ones((2, 3), np.int64) for name in model.input_specs})
    assert outputs["logits"].shape == (2, 3, 61)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_task_of_every_family_is_traced(model_type: str) -> None:
    family = find_family(model_type)
    name = next(name for name, config in tg.models.configs.items() if config.model_type == model_type)
    assert {each.task for each in family.architectures} <= set(TASKS) - {SENTENCE_EMBEDDING}
    for architecture in family.architectures:
        model = build(small(name), task=architecture.task)
        for part in model.parts.values():
            assert part.trace().outputs


def small(name: str) -> Any:
    """The published configuration with two layers, which costs nothing, since no weight is made."""
    config = tg.models.configs[name]
    lists = {field: () for field in ("layer_types", "attention_layers") if getattr(config, field, None)}
    return replace(config, num_hidden_layers=2, **lists)


@pytest.mark.parametrize(
    ("model", "task", "message"),
    [
        ("gpt-2", None, "unknown published model 'gpt-2': did you mean 'gpt2'"),
        ("gpt2", "masked-lm", "unknown gpt2 task 'masked-lm': it can be 'base', 'text-generation'"),
        (3, None, "cannot build a model from 3: expected a name such as 'gpt2', see tfgraph.models.configs, or a"),
        (None, None, "cannot build a model from None"),
        ({"model_type": "gpt2"}, None, "cannot build a model from {'model_type': 'gpt2'}"),
    ],
)
def test_what_cannot_be_built(model: Any, task: str | None, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(model, task=task)
    assert str(caught.value).startswith(message)
