"""LLaMA, Mistral, Qwen2, Qwen3, Gemma 1 to 3 and Mixtral against transformers; what is fused in each."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgraph
from tests.models.decoder_checks import fused_operators, half_errors, head_error
from tests.models.parity import (
    assert_exact,
    batch,
    causal_lm_errors,
    expected_logits,
    random_model,
    relative_error,
    save,
)
from tests.models.rotary_families import FAMILIES, LLAMA3, VARIANTS, settings
from tfgraph.ir.dtypes import DType
from tfgraph.tolerance import TOLERANCE


@pytest.mark.parametrize(("model_type", "changes"), VARIANTS)
def test_every_kind_of_batch(model_type: str, changes: dict[str, Any], tmp_path: Path) -> None:
    name = f"{FAMILIES[model_type][0]}ForCausalLM"
    assert_exact(causal_lm_errors(name, tmp_path, **settings(model_type, **changes)))


@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.parametrize("head", ["Model", "ForSequenceClassification"])
def test_other_heads(model_type: str, head: str, tmp_path: Path) -> None:
    stem = {"gemma3_text": "Gemma3Text"}.get(model_type, FAMILIES[model_type][0])
    assert head_error(f"{stem}{head}", tmp_path, **settings(model_type)) <= 1e-5


LLAMA_FUSED = {
    "Attention": 2,
    "RotaryEmbedding": 4,
    "RMSNormalization": 1,
    "com.microsoft::SkipSimplifiedLayerNormalization": 4,
    "com.microsoft::QuickGelu": 2,
}
FUSED: dict[str, dict[str, int]] = {
    "llama": {},
    "mistral": {},
    "qwen2": {},
    "qwen3": {"RMSNormalization": 5},  # of query and key too
    "gemma": {"com.microsoft::FastGelu": 2, "com.microsoft::QuickGelu": 0},
    "gemma2": {"com.microsoft::FastGelu": 2, "com.microsoft::QuickGelu": 0, "RMSNormalization": 5},
    "gemma3_text": {"com.microsoft::FastGelu": 2, "com.microsoft::QuickGelu": 0, "RMSNormalization": 9},
    "mixtral": {"com.microsoft::QuickGelu": 8},  # one for each expert
}
"""In what a family differs from `LLAMA_FUSED`."""


@pytest.mark.parametrize("max_positions", [64, 131072])
@pytest.mark.parametrize("model_type", FUSED)
def test_everything_is_fused(model_type: str, max_positions: int, tmp_path: Path) -> None:
    """Sines and cosines from a table, or, for long texts, computed."""
    name = f"{FAMILIES[model_type][0]}ForCausalLM"
    expected = {operator: count for operator, count in {**LLAMA_FUSED, **FUSED[model_type]}.items() if count}
    changed = settings(model_type, max_position_embeddings=max_positions)
    assert fused_operators(name, tmp_path, **changed) == expected
    fixed = tfgraph.load(tmp_path, task="text-generation", cache_length=12)
    assert tfgraph.compile(fixed, target="cpu").report.as_dict()["fused"] == expected


def test_long_contexts_cost_no_tables(tmp_path: Path) -> None:
    long = settings("llama", head_dim=64, rope_parameters=LLAMA3, max_position_embeddings=131072)
    compiled = tfgraph.compile(tfgraph.load(save(random_model("LlamaForCausalLM", **long), tmp_path)))
    largest = max(value.constant.nbytes for value in compiled.graph.constants if value.constant is not None)
    assert largest == 32 * 4 * 64 * 4  # a projection of the query
    ops = [node.key for node in compiled.graph]
    assert (ops.count("Cos"), ops.count("Sin"), ops.count("RotaryEmbedding")) == (1, 1, 4)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_family_in_float16(model_type: str, tmp_path: Path) -> None:
    assert half_errors(f"{FAMILIES[model_type][0]}ForCausalLM", tmp_path, **settings(model_type))["float16"] <= 1


@pytest.mark.parametrize("max_positions", [64, 131072])
@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_half_precision(stored: str, max_positions: int, tmp_path: Path) -> None:
    import torch

    model = random_model("LlamaForCausalLM", **settings("llama", head_dim=10, max_position_embeddings=max_positions))
    dtype = getattr(torch, stored)
    folder = save(copy.deepcopy(model).to(dtype), tmp_path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(dtype))
    ids, mask = batch(61, "left padding")
    expected = expected_logits(model, ids, mask)
    for wanted in (DType.FLOAT16, DType.FLOAT32):
        compiled = tfgraph.compile(tfgraph.load(folder, task="causal-lm", dtype=wanted.value), target="cpu")
        logits = compiled.run({"input_ids": ids, "attention_mask": mask})["logits"]
        assert logits.dtype == wanted.value
        assert relative_error(logits.astype(np.float64), expected, mask == 1) <= TOLERANCE[wanted]
