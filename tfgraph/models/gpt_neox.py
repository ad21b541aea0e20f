"""GPT-NeoX and Pythia: configuration, models for each task, names of parameters in checkpoints, and published sizes.

Source: Black et al., "GPT-NeoX-20B: An Open-Source Autoregressive Language Model", 2022, section 2; Biderman et al.,
"Pythia: A Suite for Analyzing Large Language Models Across Training and Scaling", 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tfgraph.dsl.layers.norms import LayerNorm
from tfgraph.dsl.layers.rotary import RotaryPositions
from tfgraph.ir.constant import Constant
from tfgraph.models.causal_lm import decoder_architectures
from tfgraph.models.decoder import DecoderParts, TextDecoder, decoder_blocks
from tfgraph.models.decoder_config import DecoderConfig
from tfgraph.models.family import Family
from tfgraph.models.fused_weights import query_key_value, split_groups
from tfgraph.models.rotary_settings import read_rotary_settings


@dataclass(frozen=True)
class GPTNeoXConfig(DecoderConfig):
    """The sizes and choices of GPT-NeoX; see `DecoderConfig`.

    Attributes:
        rope_theta: from which the wavelengths of rotary positions are computed.
        partial_rotary_factor: how much of a head they turn.
        use_parallel_residual: attention and MLP are given the same hidden state; else the MLP comes after attention.
        attention_bias: the projections of attention have biases.
    """

    model_type: ClassVar[str] = "gpt_neox"
    aliases: ClassVar[Mapping[str, str]] = {"layer_norm_eps": "norm_eps"}

    hidden_act: str = "gelu"
    tie_word_embeddings: bool = False
    rope_theta: float = 10000.0
    partial_rotary_factor: float = 0.25
    use_parallel_residual: bool = True
    attention_bias: bool = True

    @classmethod
    def _read_more(cls, given: Mapping[str, Any], source: str) -> dict[str, Any]:
        rotary = read_rotary_settings(
            given, source, fraction=0.25, base_name="rotary_emb_base", fraction_name="rotary_pct"
        )
        return {"rope_theta": rotary.base, "partial_rotary_factor": rotary.fraction}


class GPTNeoXModel(TextDecoder):
    """The decoder: attention and MLP side by side, each with its normalisation; positions turn a part of each head."""

    def __init__(self, config: GPTNeoXConfig) -> None:
        rotary = RotaryPositions(
            config.head_size,
            config.rope_theta,
            config.max_position_embeddings,
            rotary_dim=int(config.head_size * config.partial_rotary_factor),
        )
        norm = "parallel-separate" if config.use_parallel_residual else "pre"
        super().__init__(
            config,
            decoder_blocks(config, norm=norm, bias=config.attention_bias, mlp_bias=True, rotary=rotary),
            DecoderParts(norm=LayerNorm(config.hidden_size, config.norm_eps)),
        )


NAMES = {
    "word": "embed_in",
    "layers.{}.norm1": "layers.{}.input_layernorm",
    "layers.{}.attention.query": "layers.{}.attention.query_key_value.query",
    "layers.{}.attention.key": "layers.{}.attention.query_key_value.key",
    "layers.{}.attention.value": "layers.{}.attention.query_key_value.value",
    "layers.{}.attention.output": "layers.{}.attention.dense",
    "layers.{}.norm2": "layers.{}.post_attention_layernorm",
    "layers.{}.mlp.up": "layers.{}.mlp.dense_h_to_4h",
    "layers.{}.mlp.down": "layers.{}.mlp.dense_4h_to_h",
    "norm": "final_layer_norm",
}
"""Module path to checkpoint name, for `GPTNeoXModel`."""


def adapt(weights: Mapping[str, Constant], config: GPTNeoXConfig) -> Mapping[str, Constant]:
    """GPT-NeoX keeps query, key and value in one matrix, whose rows are of one head after the other."""
    parts = query_key_value([1, 1, 1])
    return split_groups(weights, "query_key_value", config.num_attention_heads, parts, config.head_size)


FAMILY = Family(
    model_type="gpt_neox",
    config=GPTNeoXConfig,
    architectures=decoder_architectures(
        "GPTNeoX", GPTNeoXModel, NAMES, prefix="gpt_neox", lm_head="embed_out", token_classifier="classifier"
    ),
    inputs=("input_ids", "attention_mask"),
    ignored=(
        "*attention.bias",
        "*attention.masked_bias",
        "*rotary_emb.inv_freq",
        "embed_out.weight",
        "score.*",
        "classifier.*",
    ),
    aliases={"lm_head.weight": "embed_out.weight"},
    adapt=adapt,
)


def _pythia(num_layers: int, num_heads: int, hidden_size: int, vocab_size: int = 50304) -> GPTNeoXConfig:
    return GPTNeoXConfig(vocab_size, hidden_size, num_layers, num_heads, 2048)


CONFIGS = {
    "gpt-neox-20b": GPTNeoXConfig(50432, 6144, 44, 64, 2048, hidden_act="gelu_fast"),
    # Biderman et al., table 1; the two smallest were released later
    "pythia-14m": _pythia(6, 4, 128),
    "pythia-31m": _pythia(6, 8, 256),
    "pythia-70m": _pythia(6, 8, 512),
    "pythia-160m": _pythia(12, 12, 768),
    "pythia-410m": _pythia(24, 16, 1024),
    "pythia-1b": _pythia(16, 8, 2048),
    "pythia-1.4b": _pythia(24, 16, 2048),
    "pythia-2.8b": _pythia(32, 32, 2560),
    "pythia-6.9b": _pythia(32, 32, 4096, vocab_size=50432),
    "pythia-12b": _pythia(36, 40, 5120, vocab_size=50688),
}
"""Name to configuration."""
