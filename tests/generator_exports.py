"""Small models with random weights, exported for text generation, and the prompts that `Generator` is tested with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tfgraph
from tests.models.parity import random_model, save

PROMPTS = [[5, 9, 13, 20, 7], [33, 4], [11, 11, 40, 2]]
SHAPES: dict[str, dict[str, Any]] = {
    "GPT2LMHeadModel": {"vocab_size": 61, "n_embd": 36, "n_layer": 2, "n_head": 4, "n_positions": 40},
    "LlamaForCausalLM": {
        "vocab_size": 61, "hidden_size": 40, "intermediate_size": 50, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 40,
    },
}  # fmt: skip
ANSWERING: dict[str, dict[str, Any]] = {
    "T5ForConditionalGeneration": {
        "vocab_size": 61, "d_model": 36, "d_kv": 7, "d_ff": 50, "num_layers": 2, "num_heads": 4,
        "decoder_start_token_id": 0,
    },
    "BartForConditionalGeneration": {
        "vocab_size": 61, "d_model": 36, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 50, "decoder_ffn_dim": 50, "max_position_embeddings": 40,
        "forced_eos_token_id": 3, "decoder_start_token_id": 3,
    },
}  # fmt: skip

Exports = Callable[..., tuple[Any, Path]]


def exporting(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """What gives a transformers model and our export of it; made once for the same arguments."""
    made: dict[tuple[str, int | None, str], tuple[Any, Path]] = {}

    def make(
        name: str = "GPT2LMHeadModel", cache_length: int | None = None, dtype: str = "float32"
    ) -> tuple[Any, Path]:
        key = (name, cache_length, dtype)
        if key not in made:
            settings = {**SHAPES, **ANSWERING}[name]
            model = random_model(name, **settings, bos_token_id=1, eos_token_id=3, pad_token_id=0)
            folder = save(model, tmp_path_factory.mktemp("checkpoint"))
            out = tmp_path_factory.mktemp("export")
            tfgraph.export(tfgraph.load(folder, cache_length=cache_length, dtype=dtype), out)
            made[key] = model, out
        return made[key]

    return make


def answers(model: Any, texts: list[list[int]], **settings: Any) -> list[list[int]]:
    """What transformers answers to texts, without the start token and the padding."""
    import torch

    width = max(map(len, texts))
    ids = torch.tensor([text + [0] * (width - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts])
    found = model.generate(input_ids=ids, attention_mask=mask, **settings)[:, 1:].tolist()
    return [row[: row.index(3) + 1] if 3 in row else row for row in found]


def theirs(model: Any, prompts: list[list[int]], **settings: Any) -> list[list[int]]:
    """What transformers generates, without prompts and padding."""
    import torch

    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    found = model.generate(input_ids=ids, attention_mask=mask, pad_token_id=0, **settings)[:, width:].tolist()
    return [row[: row.index(3) + 1] if 3 in row else row for row in found]
