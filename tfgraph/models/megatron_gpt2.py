"""Megatron-LM's GPT-2: GPT-2's decoder under Megatron's names, and the sizes that its paper trains.

How its checkpoints are read is in `tfgraph.checkpoints.megatron`.

Source: Shoeybi et al., "Megatron-LM: Training Multi-Billion Parameter Language Models Using Model Parallelism", 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tfgraph.models.causal_lm import decoder_architectures
from tfgraph.models.family import Family
from tfgraph.models.gpt2 import GPT2Config, GPT2Model


@dataclass(frozen=True)
class MegatronGPT2Config(GPT2Config):
    """Sizes and choices of Megatron-LM's GPT-2; see `DecoderConfig`."""

    model_type: ClassVar[str] = "megatron-gpt2"
    aliases: ClassVar[Mapping[str, str]] = {**GPT2Config.aliases, "layer_norm_eps": "norm_eps"}


NAMES = {
    "word": "embedding.word_embeddings",
    "position": "embedding.position_embeddings",
    "layers.{}.norm1": "encoder.layers.{}.input_layernorm",
    "layers.{}.attention.query": "encoder.layers.{}.self_attention.query",
    "layers.{}.attention.key": "encoder.layers.{}.self_attention.key",
    "layers.{}.attention.value": "encoder.layers.{}.self_attention.value",
    "layers.{}.attention.output": "encoder.layers.{}.self_attention.dense",
    "layers.{}.norm2": "encoder.layers.{}.post_attention_layernorm",
    "layers.{}.mlp.up": "encoder.layers.{}.mlp.dense_h_to_4h",
    "layers.{}.mlp.down": "encoder.layers.{}.mlp.dense_4h_to_h",
    "norm": "encoder.final_layernorm",
}
"""Module path to checkpoint name, once query, key and value are apart."""

FAMILY = Family(
    model_type="megatron-gpt2",
    config=MegatronGPT2Config,
    architectures=decoder_architectures(
        "MegatronGPT2", GPT2Model, NAMES, prefix="language_model", lm="LMHeadModel",
        lm_head="language_model.output_layer",
    ),
    inputs=("input_ids", "attention_mask"),
    ignored=("*output_layer.weight", "score.*"),
)  # fmt: skip


def _published(num_layers: int, hidden_size: int, num_heads: int) -> MegatronGPT2Config:
    """With GPT-2's 50,257 tokens padded to a multiple of 128 for each of 8 ranks."""
    return MegatronGPT2Config(51200, hidden_size, num_layers, num_heads, 1024)


CONFIGS = {  # table 2 for those that the paper evaluates, table 1 for the two others
    "megatron-gpt2-345m": _published(24, 1024, 16),
    "megatron-gpt2-1.2b": _published(40, 1536, 16),
    "megatron-gpt2-2.5b": _published(54, 1920, 20),
    "megatron-gpt2-4.2b": _published(64, 2304, 24),
    "megatron-gpt2-8.3b": _published(72, 3072, 24),
}
"""Name to configuration."""
