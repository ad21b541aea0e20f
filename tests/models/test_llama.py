"""Checkpoints of LLaMA: tensors that releases hold besides, tied heads. Results are in `test_rotary_families.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tfgraph
from tests.models.parity import batch, random_model, save
from tests.models.rotary_families import settings
from tfgraph.errors import CheckpointError

FILE = "model.safetensors"


def logits(folder: Path) -> np.ndarray[Any, Any]:
    ids, mask = batch(61, "no padding")
    compiled = tfgraph.compile(tfgraph.load(folder, task="causal-lm"))
    result: np.ndarray[Any, Any] = compiled.run({"input_ids": ids, "attention_mask": mask})["logits"]
    return result


def test_what_a_model_does_not_use_is_left_alone(tmp_path: Path) -> None:
    """Early releases hold the frequencies of rotary positions, and some tied ones a head."""
    tied = settings("llama", tie_word_embeddings=True, pretraining_tp=2)
    folder = save(random_model("LlamaForCausalLM", **tied), tmp_path)
    before = logits(folder)
    weights = load_file(folder / FILE)
    assert "lm_head.weight" not in weights
    for layer in range(2):
        weights[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = np.ones(4, np.float32)
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    save_file(weights, folder / FILE)
    np.testing.assert_array_equal(logits(folder), before)


def test_a_head_of_its_own_has_to_be_there(tmp_path: Path) -> None:
    folder = save(random_model("LlamaForCausalLM", **settings("llama")), tmp_path)
    weights = load_file(folder / FILE)
    del weights["lm_head.weight"]
    save_file(weights, folder / FILE)
    with pytest.raises(CheckpointError, match=r"lm_head\.weight"):
        tfgraph.load(folder)
    assert tfgraph.load(folder, task="base").module.num_parameters() > 0


def test_attention_without_a_near_miss(tmp_path: Path) -> None:
    folder = save(random_model("LlamaForCausalLM", **settings("llama")), tmp_path)
    assert not tfgraph.compile(tfgraph.load(folder), target="cpu").report.near_misses
