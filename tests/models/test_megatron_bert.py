"""Megatron-BERT against transformers: BERT's heads on an encoder that normalises first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tfgraph
from tests.models.encoder_parity import SMALL, encoder_errors, names_in_transformers
from tests.models.parity import assert_exact, random_model, save
from tfgraph.errors import ConfigError
from tfgraph.models.megatron_bert import FAMILY, MegatronBertConfig
from tfgraph.models.names import checkpoint_name

HEADS = [architecture.name for architecture in FAMILY.architectures]


@pytest.mark.parametrize("name", HEADS)
def test_every_kind_of_batch(name: str, tmp_path: Path) -> None:
    assert_exact(encoder_errors(name, tmp_path))


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_act": "gelu_new", "layer_norm_eps": 1e-5, "num_hidden_layers": 4},
        {"tie_word_embeddings": False},
        {"num_attention_heads": 12, "type_vocab_size": 3},
    ],
    ids=str,
)
def test_settings(changes: dict[str, object], tmp_path: Path) -> None:
    assert_exact(encoder_errors("MegatronBertForPreTraining", tmp_path, **changes))


def test_the_bias_of_the_head_under_either_name(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    save(random_model("MegatronBertForMaskedLM", **SMALL), tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    bias = weights.pop("cls.predictions.bias")
    for name in ("cls.predictions.bias", "cls.predictions.decoder.bias"):
        save_file({**weights, name: bias}, file)
        assert np.array_equal(tfgraph.load(tmp_path).module.state_dict()["head.decoder.bias"].numpy(), bias)


@pytest.mark.parametrize("name", HEADS)
def test_every_parameter_has_the_name_that_transformers_gives_it(name: str) -> None:
    architecture = FAMILY.architecture_named(name)
    module = architecture.build(MegatronBertConfig(**SMALL, labels=("a", "b", "c")))
    ours = {checkpoint_name(path, architecture.names): each.shape for path, each in module.named_parameters()}
    labels = 2 if architecture.task == "question-answering" else 3
    assert ours == names_in_transformers(name, FAMILY.aliases, num_labels=labels)


def test_all_is_fused(tmp_path: Path) -> None:
    compiled = tfgraph.compile(tfgraph.load(save(random_model("MegatronBertForPreTraining", **SMALL), tmp_path)))
    assert compiled.report.as_dict()["fused"] == {
        "Attention": 2, "LayerNormalization": 6, "com.microsoft::BiasGelu": 3,
    }  # fmt: skip


def test_a_decoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="'is_decoder' is True: megatron-bert models are built as encoders only"):
        MegatronBertConfig.from_dict({**SMALL, "is_decoder": True})
