"""DistilBERT against transformers, and its settings, which have names of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

import tfgraph
from tests.models.encoder_parity import encoder_errors, names_in_transformers
from tests.models.parity import assert_exact, random_model, save
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import ConfigError, TraceError
from tfgraph.models.distilbert import FAMILY, DistilBertConfig, DistilBertModel
from tfgraph.models.names import checkpoint_name

HEADS = [architecture.name for architecture in FAMILY.architectures]
THEIRS = {"dim": 36, "n_layers": 2, "n_heads": 4, "hidden_dim": 50, "vocab_size": 61, "max_position_embeddings": 24}
SMALL = DistilBertConfig(61, 36, 2, 4, 50, 24, labels=("a", "b", "c"))


@pytest.mark.parametrize("name", HEADS)
def test_every_kind_of_batch(name: str, tmp_path: Path) -> None:
    assert_exact(encoder_errors(name, tmp_path, hidden_dim=50))


@pytest.mark.parametrize(
    "changes", [{"activation": "relu"}, {"tie_word_embeddings": False}, {"sinusoidal_pos_embds": True}], ids=str
)
def test_settings(changes: dict[str, object], tmp_path: Path) -> None:
    assert_exact(encoder_errors("DistilBertForMaskedLM", tmp_path, hidden_dim=50, **changes))


def test_its_names_for_settings_are_read() -> None:
    config = DistilBertConfig.from_dict({**THEIRS, "activation": "relu", "num_labels": 3})
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (36, 2, 4)
    assert (config.intermediate_size, config.hidden_act, config.num_labels) == (50, "relu", 3)


def test_what_is_fixed_cannot_be_set() -> None:
    assert DistilBertConfig.from_dict({**THEIRS, "type_vocab_size": 2, "layer_norm_eps": 0.1}).layer_norm_eps == 1e-12
    with pytest.raises(TypeError, match="type_vocab_size"):
        DistilBertConfig(61, 36, 2, 4, 50, 24, type_vocab_size=2)


@pytest.mark.parametrize("name", ["dim", "n_layers", "hidden_dim"])
def test_an_error_names_the_setting_as_the_file_does(name: str) -> None:
    with pytest.raises(ConfigError, match=f"config.json: '{name}' is 'x': expected an integer"):
        DistilBertConfig.from_dict({**THEIRS, name: "x"})


def test_token_types_are_refused() -> None:
    texts = spec("int64", ["batch", "seq"])
    with pytest.raises(TraceError, match=r"in 'embeddings': token_type_ids for an encoder that has no token types"):
        trace(DistilBertModel(SMALL), input_ids=texts, token_type_ids=texts)
    assert list(FAMILY.input_specs("base")) == ["input_ids", "attention_mask"]


@pytest.mark.parametrize("name", HEADS)
def test_every_parameter_has_the_name_that_transformers_gives_it(name: str) -> None:
    architecture = FAMILY.architecture_named(name)
    module = architecture.build(SMALL)
    ours = {checkpoint_name(path, architecture.names): each.shape for path, each in module.named_parameters()}
    labels = 2 if architecture.task == "question-answering" else 3
    assert ours == names_in_transformers(name, FAMILY.aliases, hidden_dim=50, num_labels=labels)


def test_all_is_fused(tmp_path: Path) -> None:
    compiled = tfgraph.compile(tfgraph.load(save(random_model("DistilBertForMaskedLM", **THEIRS), tmp_path)))
    assert compiled.report.as_dict()["fused"] == {
        "Attention": 2, "LayerNormalization": 6, "com.microsoft::BiasGelu": 3,
    }  # fmt: skip
