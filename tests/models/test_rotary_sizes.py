"""Published sizes of LLaMA and its like: numbers of parameters as published, and as transformers counts them."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from tests.models.decoder_checks import our_size, their_size
from tests.models.test_sizes import EXACT
from tfgraph.models.registry import find_family

FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "mixtral"]
CONFIGS: dict[str, Any] = {
    name: config
    for family in FAMILIES
    for name, config in importlib.import_module(f"tfgraph.models.{family}").CONFIGS.items()
}
PUBLISHED = {name: count for name, count in EXACT.items() if name in CONFIGS}
SAME = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "tie_word_embeddings",
    "attention_bias", "mlp_bias", "num_local_experts",
)  # fmt: skip


def test_every_published_size_is_checked() -> None:
    assert sorted(PUBLISHED) == sorted(CONFIGS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_number_of_parameters(name: str) -> None:
    assert our_size(CONFIGS[name]) == PUBLISHED[name]


@pytest.mark.parametrize("name", [name for name in CONFIGS if CONFIGS[name].num_hidden_layers < 33])
def test_number_of_parameters_in_transformers(name: str) -> None:
    ours = CONFIGS[name]
    settings = {key: getattr(ours, key) for key in SAME if hasattr(ours, key)}
    settings |= {"num_key_value_heads": ours.kv_heads, "head_dim": ours.head_size, "pad_token_id": 0}
    model_class = find_family(ours.model_type).architecture_for("text-generation").name
    assert their_size(model_class, **settings) == our_size(ours)


def test_what_the_sizes_say_besides() -> None:
    assert CONFIGS["llama-3.1-8b"].rope_scaling.factor == 8 and CONFIGS["llama-3.2-1b"].rope_scaling.factor == 32
    assert CONFIGS["gemma-2-27b"].head_size == 128 and CONFIGS["gemma-2-27b"].query_pre_attn_scalar == 4608 / 32
    assert CONFIGS["mistral-7b"].sliding_window == 4096 and CONFIGS["mistral-7b-v0.3"].sliding_window is None
    kinds = CONFIGS["gemma-3-1b"].layer_kinds
    assert [index for index, kind in enumerate(kinds) if kind == "full_attention"] == [5, 11, 17, 23]
    assert CONFIGS["gemma-2-2b"].layer_kinds[:2] == ("sliding_attention", "full_attention")
