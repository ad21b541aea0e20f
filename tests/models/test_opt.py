"""OPT against transformers, and its published sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgraph
from tests.models.decoder_checks import IDS, drop_prefix, fused_operators, half_errors, head_error, our_size, their_size
from tests.models.parity import TOLERANCE, assert_exact, causal_lm_errors, random_model, save
from tfgraph.errors import ConfigError
from tfgraph.models.opt import CONFIGS, OPTConfig, OPTModel

SMALL = {
    "vocab_size": 61,
    "hidden_size": 36,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "ffn_dim": 50,
    "max_position_embeddings": 32,
}
LIKE_350M = {"do_layer_norm_before": False, "word_embed_proj_dim": 20}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        LIKE_350M,
        {"_remove_final_layer_norm": True, "tie_word_embeddings": False},
        {"enable_bias": False, "activation_function": "gelu", "word_embed_proj_dim": 40},
    ],
)
def test_every_kind_of_batch(changes: dict[str, Any], tmp_path: Path) -> None:
    assert_exact(causal_lm_errors("OPTForCausalLM", tmp_path, **{**SMALL, **IDS, **changes}))


@pytest.mark.parametrize("name", ["OPTModel", "OPTForSequenceClassification"])
def test_other_heads(name: str, tmp_path: Path) -> None:
    assert head_error(name, tmp_path, **SMALL, **LIKE_350M) <= TOLERANCE


@pytest.mark.parametrize(("changes", "norms"), [({}, 5), (LIKE_350M, 4)])
def test_everything_is_fused(changes: dict[str, Any], norms: int, tmp_path: Path) -> None:
    fused = fused_operators("OPTForCausalLM", tmp_path, **SMALL, **changes)
    assert fused == {"Attention": 2, "LayerNormalization": norms}


def test_half_precision(tmp_path: Path) -> None:
    assert max(half_errors("OPTForCausalLM", tmp_path, **SMALL, **LIKE_350M).values()) <= 1


def test_checkpoints_of_the_base_model(tmp_path: Path) -> None:
    """Released checkpoints have no prefix, whatever is loaded from them."""
    folder = save(random_model("OPTForCausalLM", **SMALL), tmp_path)
    named = tfgraph.load(folder, task="causal-lm").module.state_dict()
    whole = {name: constant.numpy() for name, constant in named.items()}
    drop_prefix(folder, "model.")
    for name, constant in tfgraph.load(folder, task="causal-lm").module.state_dict().items():
        assert np.array_equal(constant.numpy(), whole.pop(name))
    assert not whole


def test_word_embeddings_of_their_own_width() -> None:
    config = OPTConfig.from_dict({**SMALL, "word_embed_proj_dim": 20})
    model = OPTModel(config)
    assert model.word.weight.shape == (61, 20)
    assert model.project_in is not None and model.project_in.weight.shape == (36, 20)
    assert model.project_out is not None and model.project_out.weight.shape == (20, 36)
    assert OPTModel(OPTConfig.from_dict({**SMALL, "word_embed_proj_dim": 36})).project_in is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer_norm_elementwise_affine": False}, "'layer_norm_elementwise_affine' is False: only True is built here"),
        ({"word_embed_proj_dim": 0}, "word_embed_proj_dim is 0: expected a whole number of at least 1"),
        ({"do_layer_norm_before": 1}, "'do_layer_norm_before' is 1: expected true or false"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"config.json: {message}"):
        OPTConfig.from_dict({**SMALL, **changes})


PUBLISHED = {
    "opt-125m": 125_239_296,
    "opt-350m": 331_196_416,
    "opt-1.3b": 1_315_758_080,
    "opt-2.7b": 2_651_596_800,
    "opt-6.7b": 6_658_473_984,
    "opt-13b": 12_853_473_280,
}


@pytest.mark.parametrize("name", CONFIGS)
def test_published_sizes(name: str) -> None:
    config = CONFIGS[name]
    settings = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "ffn_dim": 4 * config.hidden_size,
        "do_layer_norm_before": config.do_layer_norm_before,
        "word_embed_proj_dim": config.word_embed_proj_dim,
    }
    size = our_size(config)
    assert size == their_size("OPTForCausalLM", **settings)
    assert name not in PUBLISHED or size == PUBLISHED[name]
    said = float(name.removeprefix("opt-")[:-1]) * (1e6 if name.endswith("m") else 1e9)
    assert size == pytest.approx(said, rel=0.06)
