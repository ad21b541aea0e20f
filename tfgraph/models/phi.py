"""Phi-1, Phi-1.5 and Phi-2: configuration, models for each task, names in checkpoints, and published sizes.

Source: Gunasekar et al., "Textbooks Are All You Need", 2023, section 2.3; Li et al., "Textbooks Are All You Need II:
phi-1.5 technical report", 2023, section 2.1. Phi-3 and Phi-4 are in `phi3.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from tfgraph.dsl.layers.norms import LayerNorm
from tfgraph.dsl.layers.rotary import RotaryPositions
from tfgraph.models.causal_lm import CausalLM, decoder_architectures
from tfgraph.models.decoder import DecoderParts, TextDecoder, decoder_blocks
from tfgraph.models.decoder_config import DecoderConfig
from tfgraph.models.family import Family
from tfgraph.models.rotary_settings import read_rotary_settings


@dataclass(frozen=True)
class PhiConfig(DecoderConfig):
    """Phi's sizes and choices; see `DecoderConfig`.

    Attributes:
        rope_theta: from which the wavelengths of rotary positions are computed.
        partial_rotary_factor: how much of a head they turn.
        qk_layernorm: each head of query and key is normalised.
    """

    model_type: ClassVar[str] = "phi"
    aliases: ClassVar[Mapping[str, str]] = {"layer_norm_eps": "norm_eps"}

    tie_word_embeddings: bool = False
    rope_theta: float = 10000.0
    partial_rotary_factor: float = 0.5
    qk_layernorm: bool = False

    @classmethod
    def _read_more(cls, given: Mapping[str, Any], source: str) -> dict[str, Any]:
        rotary = read_rotary_settings(given, source, fraction=0.5)
        return {"rope_theta": rotary.base, "partial_rotary_factor": rotary.fraction}


class PhiModel(TextDecoder):
    """The decoder: one normalisation for attention and MLP, side by side; positions turn a part of each head."""

    def __init__(self, config: PhiConfig) -> None:
        rotary = RotaryPositions(
            config.head_size,
            config.rope_theta,
            config.max_position_embeddings,
            rotary_dim=int(config.head_size * config.partial_rotary_factor),
        )
        qk_norm = "layer" if config.qk_layernorm else None
        super().__init__(
            config,
            decoder_blocks(config, norm="parallel", rotary=rotary, qk_norm=qk_norm),
            DecoderParts(norm=LayerNorm(config.hidden_size, config.norm_eps)),
        )


NAMES = {
    "word": "embed_tokens",
    "layers.{}.norm1": "layers.{}.input_layernorm",
    "layers.{}.attention.query": "layers.{}.self_attn.q_proj",
    "layers.{}.attention.key": "layers.{}.self_attn.k_proj",
    "layers.{}.attention.value": "layers.{}.self_attn.v_proj",
    "layers.{}.attention.query_norm": "layers.{}.self_attn.q_layernorm",
    "layers.{}.attention.key_norm": "layers.{}.self_attn.k_layernorm",
    "layers.{}.attention.output": "layers.{}.self_attn.dense",
    "layers.{}.mlp.up": "layers.{}.mlp.fc1",
    "layers.{}.mlp.down": "layers.{}.mlp.fc2",
    "norm": "final_layernorm",
}
"""Module path to checkpoint name, for `PhiModel`."""

FAMILY = Family(
    model_type="phi",
    config=PhiConfig,
    architectures=decoder_architectures("Phi", PhiModel, NAMES, build_lm=partial(CausalLM, bias=True)),
    inputs=("input_ids", "attention_mask"),
    ignored=("*rotary_emb.inv_freq", "lm_head.*", "score.*"),
)

_BILLION = PhiConfig(51200, 2048, 24, 32, 2048)  # phi-1 and phi-1.5 differ in what they have read

CONFIGS = {
    "phi-1": _BILLION,
    "phi-1.5": _BILLION,
    "phi-2": PhiConfig(51200, 2560, 32, 32, 2048, partial_rotary_factor=0.4),
}
"""Name to configuration."""
