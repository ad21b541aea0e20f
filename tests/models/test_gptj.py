"""GPT-J against transformers, and its published size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgraph
from tests.models.decoder_checks import IDS, add_tensors, fused_operators, half_errors, head_error, our_size, their_size
from tests.models.parity import TOLERANCE, assert_exact, causal_lm_errors, random_model, save
from tfgraph.errors import ConfigError
from tfgraph.models.gptj import CONFIGS, GPTJConfig, GPTJModel

SMALL = {"vocab_size": 61, "n_embd": 36, "n_layer": 2, "n_head": 2, "n_positions": 32, "rotary_dim": 8}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rotary_dim": 18, "tie_word_embeddings": True},
        {"n_embd": 33, "n_head": 3, "n_inner": 50, "activation_function": "relu"},
    ],
)
def test_every_kind_of_batch(changes: dict[str, Any], tmp_path: Path) -> None:
    assert_exact(causal_lm_errors("GPTJForCausalLM", tmp_path, **{**SMALL, **IDS, **changes}))


@pytest.mark.parametrize("name", ["GPTJModel", "GPTJForSequenceClassification"])
def test_other_heads(name: str, tmp_path: Path) -> None:
    assert head_error(name, tmp_path, **SMALL) <= TOLERANCE


def test_everything_is_fused(tmp_path: Path) -> None:
    fused = fused_operators("GPTJForCausalLM", tmp_path, **SMALL)
    assert fused == {
        "Attention": 2, "LayerNormalization": 3, "RotaryEmbedding": 4, "com.microsoft::FastGelu": 2,
    }  # fmt: skip


def test_half_precision(tmp_path: Path) -> None:
    assert max(half_errors("GPTJForCausalLM", tmp_path, **SMALL).values()) <= 1


def test_masks_in_older_checkpoints_are_left_over(tmp_path: Path) -> None:
    folder = save(random_model("GPTJForCausalLM", **SMALL), tmp_path)
    add_tensors(
        folder,
        transformer__h__0__attn__bias=np.tri(8, dtype=bool)[None, None],
        transformer__h__0__attn__masked_bias=np.array(-1e9, np.float32),
    )
    for task in ("base", "text-generation"):
        assert tfgraph.load(folder, task=task).task == task


def test_rotary_positions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"config\.json: 'rotary_dim' is null: expected how many features"):
        GPTJConfig.from_dict({**SMALL, "rotary_dim": None})
    for wrong in (7, 20):
        with pytest.raises(ConfigError, match=f"rotary_dim={wrong}: .* expected an even number up to 18"):
            GPTJModel(GPTJConfig.from_dict({**SMALL, "rotary_dim": wrong}))


def test_published_size() -> None:
    settings = {"vocab_size": 50400, "n_embd": 4096, "n_layer": 28, "n_head": 16}
    assert our_size(CONFIGS["gpt-j-6b"]) == 6_050_882_784 == their_size("GPTJForCausalLM", **settings)
