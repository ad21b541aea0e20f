"""GPT-2: its configuration, its models for each task, names of parameters in checkpoints, and its published sizes.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tfgraph.dsl.layers.blocks import DecoderBlock
from tfgraph.dsl.layers.norms import LayerNorm
from tfgraph.dsl.layers.positions import LearnedPositions
from tfgraph.ir.constant import Constant
from tfgraph.models.causal_lm import decoder_architectures
from tfgraph.models.config_fields import require_settings
from tfgraph.models.decoder import DecoderParts, TextDecoder, decoder_blocks
from tfgraph.models.decoder_config import DecoderConfig
from tfgraph.models.family import Family
from tfgraph.models.fused_weights import query_key_value, split_rows, transpose_matrices


@dataclass(frozen=True)
class GPT2Config(DecoderConfig):
    """GPT-2's sizes and choices; see `DecoderConfig`."""

    model_type: ClassVar[str] = "gpt2"
    aliases: ClassVar[Mapping[str, str]] = {
        "n_embd": "hidden_size",
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_positions": "max_position_embeddings",
        "n_inner": "intermediate_size",
        "activation_function": "hidden_act",
        "layer_norm_epsilon": "norm_eps",
    }

    @classmethod
    def _refuse_unsupported(cls, given: Mapping[str, Any], source: str) -> None:
        require_settings(
            given,
            source,
            {"add_cross_attention": False, "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False},
        )


class GPT2Model(TextDecoder):
    """The decoder: learned positions, blocks that normalise before attention and MLP, a last normalisation.

    Args:
        layers: the blocks, where they are not all the same (GPT-3, GPT-Neo).
    """

    def __init__(self, config: DecoderConfig, layers: Sequence[DecoderBlock] | None = None) -> None:
        parts = DecoderParts(
            position=LearnedPositions(config.max_position_embeddings, config.hidden_size),
            norm=LayerNorm(config.hidden_size, config.norm_eps),
        )
        super().__init__(config, decoder_blocks(config) if layers is None else layers, parts)


NAMES = {
    "word": "wte",
    "position": "wpe",
    "layers.{}.norm1": "h.{}.ln_1",
    "layers.{}.attention.query": "h.{}.attn.c_attn.query",
    "layers.{}.attention.key": "h.{}.attn.c_attn.key",
    "layers.{}.attention.value": "h.{}.attn.c_attn.value",
    "layers.{}.attention.output": "h.{}.attn.c_proj",
    "layers.{}.norm2": "h.{}.ln_2",
    "layers.{}.mlp.up": "h.{}.mlp.c_fc",
    "layers.{}.mlp.down": "h.{}.mlp.c_proj",
    "norm": "ln_f",
}
"""Module path to checkpoint name, for `GPT2Model`."""


def adapt(weights: Mapping[str, Constant], config: DecoderConfig) -> Mapping[str, Constant]:
    """GPT-2 keeps matrices as [in, out], and query, key and value in one; so do GPT and GPT-3."""
    turned = transpose_matrices(weights, "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    return split_rows(turned, "attn.c_attn", query_key_value([config.num_attention_heads * config.head_size] * 3))


FAMILY = Family(
    model_type="gpt2",
    config=GPT2Config,
    architectures=decoder_architectures(
        "GPT2", GPT2Model, NAMES, prefix="transformer", lm="LMHeadModel", token_classifier="classifier"
    ),
    inputs=("input_ids", "attention_mask"),
    ignored=("*attn.bias", "*attn.masked_bias", "lm_head.weight", "score.*", "classifier.*"),
    adapt=adapt,
)


def _published(num_layers: int, hidden_size: int) -> GPT2Config:
    """With heads of 64 features."""
    return GPT2Config(50257, hidden_size, num_layers, hidden_size // 64, 1024)


CONFIGS = {  # table 2
    "gpt2": _published(12, 768),
    "gpt2-medium": _published(24, 1024),
    "gpt2-large": _published(36, 1280),
    "gpt2-xl": _published(48, 1600),
}
"""Name to configuration."""
