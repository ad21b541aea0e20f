"""BLOOM: its configuration, its models for each task, names of parameters in checkpoints, and its published sizes.

Source: BigScience Workshop, "BLOOM: A 176B-Parameter Open-Access Multilingual Language Model", 2022, section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tfgraph.dsl.layers.norms import LayerNorm
from tfgraph.dsl.layers.position_bias import AlibiBias
from tfgraph.ir.constant import Constant
from tfgraph.models.causal_lm import decoder_architectures
from tfgraph.models.config_fields import require_settings
from tfgraph.models.decoder import DecoderParts, TextDecoder, decoder_blocks
from tfgraph.models.decoder_config import DecoderConfig
from tfgraph.models.family import Family
from tfgraph.models.fused_weights import query_key_value, split_groups


@dataclass(frozen=True)
class BloomConfig(DecoderConfig):
    """BLOOM's sizes and choices; see `DecoderConfig`.

    Attributes:
        max_position_embeddings: the length that the model was trained with; its positions themselves have no limit.
    """

    model_type: ClassVar[str] = "bloom"
    aliases: ClassVar[Mapping[str, str]] = {
        "n_embed": "hidden_size",
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "seq_length": "max_position_embeddings",
        "layer_norm_epsilon": "norm_eps",
    }

    max_position_embeddings: int = 2048

    @property
    def max_length(self) -> None:
        """There is no longest text."""
        return None

    @classmethod
    def _refuse_unsupported(cls, given: Mapping[str, Any], source: str) -> None:
        require_settings(given, source, {"apply_residual_connection_post_layernorm": False})


class BloomModel(TextDecoder):
    """The decoder: positions as a bias of the scores (ALiBi), and a normalisation of the embeddings."""

    def __init__(self, config: BloomConfig) -> None:
        super().__init__(
            config,
            decoder_blocks(config),
            DecoderParts(
                alibi=AlibiBias(config.num_attention_heads),
                embedding_norm=LayerNorm(config.hidden_size, config.norm_eps),
                norm=LayerNorm(config.hidden_size, config.norm_eps),
            ),
        )


NAMES = {
    "word": "word_embeddings",
    "embedding_norm": "word_embeddings_layernorm",
    "layers.{}.norm1": "h.{}.input_layernorm",
    "layers.{}.attention.query": "h.{}.self_attention.query_key_value.query",
    "layers.{}.attention.key": "h.{}.self_attention.query_key_value.key",
    "layers.{}.attention.value": "h.{}.self_attention.query_key_value.value",
    "layers.{}.attention.output": "h.{}.self_attention.dense",
    "layers.{}.norm2": "h.{}.post_attention_layernorm",
    "layers.{}.mlp.up": "h.{}.mlp.dense_h_to_4h",
    "layers.{}.mlp.down": "h.{}.mlp.dense_4h_to_h",
    "norm": "ln_f",
}
"""Module path to checkpoint name, for `BloomModel`."""


def adapt(weights: Mapping[str, Constant], config: BloomConfig) -> Mapping[str, Constant]:
    """BLOOM keeps query, key and value in one matrix, whose rows are of one head after the other."""
    parts = query_key_value([1, 1, 1])
    return split_groups(weights, "query_key_value", config.num_attention_heads, parts, config.head_size)


FAMILY = Family(
    model_type="bloom",
    config=BloomConfig,
    architectures=decoder_architectures(
        "Bloom", BloomModel, NAMES, prefix="transformer", token_classifier="classifier"
    ),
    inputs=("input_ids", "attention_mask"),
    ignored=("lm_head.weight", "score.*", "classifier.*"),
    adapt=adapt,
)


def _published(num_layers: int, num_heads: int, hidden_size: int) -> BloomConfig:
    return BloomConfig(250880, hidden_size, num_layers, num_heads)


CONFIGS = {  # table 3
    "bloom-560m": _published(24, 16, 1024),
    "bloom-1b1": _published(24, 16, 1536),
    "bloom-1b7": _published(24, 16, 2048),
    "bloom-3b": _published(30, 32, 2560),
    "bloom-7b1": _published(30, 32, 4096),
    "bloom-176b": _published(70, 112, 14336),
}
"""Name to configuration."""
