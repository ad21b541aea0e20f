"""BLOOM against transformers, and its published sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgraph
from tests.models.decoder_checks import IDS, drop_prefix, fused_operators, half_errors, head_error, our_size, their_size
from tests.models.parity import TOLERANCE, assert_exact, batch, causal_lm_errors, random_model, relative_error, save
from tfgraph.errors import CheckpointError, ConfigError
from tfgraph.models.bloom import CONFIGS, BloomConfig

SMALL = {"vocab_size": 61, "hidden_size": 36, "n_layer": 2, "n_head": 4}


@pytest.mark.parametrize("changes", [{}, {"n_head": 6, "tie_word_embeddings": False}, {"n_head": 3, "n_layer": 1}])
def test_every_kind_of_batch(changes: dict[str, Any], tmp_path: Path) -> None:
    assert_exact(causal_lm_errors("BloomForCausalLM", tmp_path, **{**SMALL, **IDS, **changes}))


@pytest.mark.parametrize("name", ["BloomModel", "BloomForSequenceClassification", "BloomForTokenClassification"])
def test_other_heads(name: str, tmp_path: Path) -> None:
    assert head_error(name, tmp_path, **SMALL) <= TOLERANCE


def test_everything_is_fused(tmp_path: Path) -> None:
    fused = fused_operators("BloomForCausalLM", tmp_path, **SMALL)
    assert fused == {"Attention": 2, "LayerNormalization": 6, "com.microsoft::FastGelu": 2}


def test_half_precision(tmp_path: Path) -> None:
    assert max(half_errors("BloomForCausalLM", tmp_path, **SMALL).values()) <= 1


def test_without_a_mask(tmp_path: Path) -> None:
    import torch

    model = random_model("BloomForCausalLM", **SMALL, **IDS)
    pretrained = tfgraph.load(save(model, tmp_path), task="causal-lm")
    ids, mask = batch(61, "no padding")
    graph = tfgraph.trace(pretrained.module, input_ids=tfgraph.spec("int64", ["batch", "seq"]))
    ours = tfgraph.compile(graph).run({"input_ids": ids})["logits"]
    with torch.no_grad():
        theirs = model(torch.from_numpy(ids)).logits.numpy()
    assert relative_error(ours, theirs, mask == 1) <= TOLERANCE


def test_checkpoints_of_the_base_model(tmp_path: Path) -> None:
    """Released checkpoints have no prefix, whatever is loaded from them."""
    folder = save(random_model("BloomForCausalLM", **SMALL), tmp_path)
    named = tfgraph.load(folder, task="causal-lm").module.state_dict()
    whole = {name: constant.numpy() for name, constant in named.items()}
    drop_prefix(folder, "transformer.")
    for name, constant in tfgraph.load(folder, task="causal-lm").module.state_dict().items():
        assert np.array_equal(constant.numpy(), whole.pop(name))
    assert not whole


def test_older_names_of_settings() -> None:
    config = BloomConfig.from_dict({"vocab_size": 61, "n_embed": 32, "n_layer": 3, "num_attention_heads": 4})
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (32, 3, 4)
    assert config.max_position_embeddings == 2048
    assert BloomConfig.from_dict({**SMALL, "seq_length": 128}).max_position_embeddings == 128
    assert config.max_length is None  # what the model was trained with is no limit


def test_a_residual_of_the_normalised_state_is_refused() -> None:
    message = "config.json: 'apply_residual_connection_post_layernorm' is True: only False is built here"
    with pytest.raises(ConfigError, match=message):
        BloomConfig.from_dict({**SMALL, "apply_residual_connection_post_layernorm": True})


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    import json

    folder = save(random_model("BloomForCausalLM", **SMALL), tmp_path)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "hidden_size": 40}))
    with pytest.raises(CheckpointError, match=r"query_key_value.*has the shape \[108.*together have 120 rows"):
        tfgraph.load(folder)


PUBLISHED = {
    "bloom-560m": 559_214_592,
    "bloom-1b1": 1_065_314_304,
    "bloom-1b7": 1_722_408_960,
    "bloom-3b": 3_002_557_440,
    "bloom-7b1": 7_069_016_064,
    "bloom-176b": 176_247_271_424,
}


@pytest.mark.parametrize("name", CONFIGS)
def test_published_sizes(name: str) -> None:
    config = CONFIGS[name]
    settings = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "n_layer": config.num_hidden_layers,
        "n_head": config.num_attention_heads,
    }
    assert our_size(config) == PUBLISHED[name] == their_size("BloomForCausalLM", **settings)
