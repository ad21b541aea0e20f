"""Published sizes of LLaMA and its like: numbers of parameters as published, and as transformers counts them."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from tests.models.decoder_checks import our_size, their_size
from tfgraph.models.registry import find_family

PUBLISHED = {  # as the models' pages count them
    "llama-7b": 6_738_415_616,
    "llama-13b": 13_015_864_320,
    "llama-33b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "mistral-7b": 7_241_732_096,
    "mistral-7b-v0.3": 7_248_023_552,
    "qwen2-0.5b": 494_032_768,
    "qwen2-1.5b": 1_543_714_304,
    "qwen2-7b": 7_615_616_512,
    "qwen2-72b": 72_706_203_648,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
    "gemma-2b": 2_506_172_416,
    "gemma-7b": 8_537_680_896,
    "gemma-2-2b": 2_614_341_888,
    "gemma-2-9b": 9_241_705_984,
    "gemma-2-27b": 27_227_128_320,
    "gemma-3-1b": 999_885_952,
    "mixtral-8x7b": 46_702_792_704,
    "mixtral-8x22b": 140_620_634_112,
}
FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "mixtral"]
CONFIGS: dict[str, Any] = {
    name: config
    for family in FAMILIES
    for name, config in importlib.import_module(f"tfgraph.models.{family}").CONFIGS.items()
}
SAME = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "tie_word_embeddings",
    "attention_bias", "mlp_bias", "num_local_experts",
)  # fmt: skip


def test_every_published_size_is_checked() -> None:
    assert list(PUBLISHED) == list(CONFIGS)


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
