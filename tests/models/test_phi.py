"""Phi-1 to Phi-2 against transformers, and their published sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.models.decoder_checks import IDS, fused_operators, half_errors, head_error, our_size, their_size
from tests.models.parity import TOLERANCE, assert_exact, causal_lm_errors
from tfgraph.errors import ConfigError
from tfgraph.models.phi import CONFIGS, PhiConfig

SMALL = {
    "vocab_size": 61,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "intermediate_size": 50,
    "max_position_embeddings": 32,
}
NORMED = {"qk_layernorm": True, "num_key_value_heads": 2}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {**NORMED, "tie_word_embeddings": True},
        {"hidden_size": 45, "num_attention_heads": 5, "num_key_value_heads": 1, "layer_norm_eps": 0.1},
    ],
)
def test_every_kind_of_batch(changes: dict[str, Any], tmp_path: Path) -> None:
    assert_exact(causal_lm_errors("PhiForCausalLM", tmp_path, **{**SMALL, **IDS, **changes}))


@pytest.mark.parametrize("name", ["PhiModel", "PhiForSequenceClassification", "PhiForTokenClassification"])
def test_other_heads(name: str, tmp_path: Path) -> None:
    assert head_error(name, tmp_path, **SMALL) <= TOLERANCE


@pytest.mark.parametrize(("changes", "norms"), [({}, 3), (NORMED, 7)])
def test_everything_is_fused(changes: dict[str, Any], norms: int, tmp_path: Path) -> None:
    fused = fused_operators("PhiForCausalLM", tmp_path, **SMALL, **changes)
    assert fused == {
        "Attention": 2, "LayerNormalization": norms, "RotaryEmbedding": 4, "com.microsoft::FastGelu": 2,
    }  # fmt: skip


def test_half_precision(tmp_path: Path) -> None:
    assert max(half_errors("PhiForCausalLM", tmp_path, **SMALL, qk_layernorm=True).values()) <= 1


def test_settings_of_rotary_positions() -> None:
    config = PhiConfig.from_dict({**SMALL, "partial_rotary_factor": 0.4, "rope_theta": 500})
    assert (config.partial_rotary_factor, config.rope_theta) == (0.4, 500.0)
    assert PhiConfig.from_dict(SMALL).partial_rotary_factor == 0.5
    with pytest.raises(ConfigError, match="'partial_rotary_factor' is 2: expected a positive number up to 1"):
        PhiConfig.from_dict({**SMALL, "partial_rotary_factor": 2})


PUBLISHED = {"phi-1": 1_418_270_720, "phi-1.5": 1_418_270_720, "phi-2": 2_779_683_840}


@pytest.mark.parametrize("name", CONFIGS)
def test_published_sizes(name: str) -> None:
    config = CONFIGS[name]
    settings = {
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "intermediate_size": 4 * config.hidden_size,
    }
    assert our_size(config) == PUBLISHED[name] == their_size("PhiForCausalLM", **settings)
