"""OPT: its configuration, its models for each task, what their parameters are called in checkpoints, published sizes.

Source: Zhang et al., "OPT: Open Pre-trained Transformer Language Models", 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tfgraph.dsl.layers.choices import require_positive
from tfgraph.dsl.layers.linear import Linear
from tfgraph.dsl.layers.norms import LayerNorm
from tfgraph.dsl.layers.positions import LearnedPositions
from tfgraph.models.causal_lm import decoder_architectures
from tfgraph.models.config_fields import require_settings
from tfgraph.models.decoder import DecoderParts, TextDecoder, decoder_blocks
from tfgraph.models.decoder_config import DecoderConfig
from tfgraph.models.family import Family

POSITION_OFFSET = 2
"""The row of the table of positions that position 0 is."""


@dataclass(frozen=True)
class OPTConfig(DecoderConfig):
    """OPT's sizes and choices; see `DecoderConfig`.

    Attributes:
        do_layer_norm_before: blocks normalise before attention and MLP, and the last block's result is normalised; else
            they normalise after the residual sums (the model of 350M parameters).
        remove_final_layer_norm: that last normalisation is left out.
        word_embed_proj_dim: features of the word embeddings, with matrices from them to the hidden size and back where
            the two differ; the hidden size if not given.
        enable_bias: attention and MLP have biases.
    """

    model_type: ClassVar[str] = "opt"
    aliases: ClassVar[Mapping[str, str]] = {
        "ffn_dim": "intermediate_size",
        "activation_function": "hidden_act",
        "_remove_final_layer_norm": "remove_final_layer_norm",
    }

    hidden_act: str = "relu"
    do_layer_norm_before: bool = True
    remove_final_layer_norm: bool = False
    word_embed_proj_dim: int | None = None
    enable_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(word_embed_proj_dim=self.word_embed_proj_dim)

    @classmethod
    def _refuse_unsupported(cls, given: Mapping[str, Any], source: str) -> None:
        require_settings(given, source, {"layer_norm_elementwise_affine": True})


class OPTModel(TextDecoder):
    """The decoder: learned positions, blocks with ReLU, word embeddings of a width of their own where they have one."""

    def __init__(self, config: OPTConfig) -> None:
        hidden_size, width = config.hidden_size, config.word_embed_proj_dim or config.hidden_size
        norm = "pre" if config.do_layer_norm_before else "post"
        normed = config.do_layer_norm_before and not config.remove_final_layer_norm
        super().__init__(
            config,
            decoder_blocks(config, norm=norm, bias=config.enable_bias),
            DecoderParts(
                position=LearnedPositions(config.max_position_embeddings, hidden_size, POSITION_OFFSET),
                project_in=None if width == hidden_size else Linear(width, hidden_size, bias=False),
                project_out=None if width == hidden_size else Linear(hidden_size, width, bias=False),
                norm=LayerNorm(hidden_size, config.norm_eps) if normed else None,
            ),
        )


NAMES = {
    "word": "decoder.embed_tokens",
    "position": "decoder.embed_positions",
    "project_in": "decoder.project_in",
    "layers.{}.norm1": "decoder.layers.{}.self_attn_layer_norm",
    "layers.{}.attention.query": "decoder.layers.{}.self_attn.q_proj",
    "layers.{}.attention.key": "decoder.layers.{}.self_attn.k_proj",
    "layers.{}.attention.value": "decoder.layers.{}.self_attn.v_proj",
    "layers.{}.attention.output": "decoder.layers.{}.self_attn.out_proj",
    "layers.{}.norm2": "decoder.layers.{}.final_layer_norm",
    "layers.{}.mlp.up": "decoder.layers.{}.fc1",
    "layers.{}.mlp.down": "decoder.layers.{}.fc2",
    "norm": "decoder.final_layer_norm",
    "project_out": "decoder.project_out",
}
"""Module path to checkpoint name, for `OPTModel`."""

FAMILY = Family(
    model_type="opt",
    config=OPTConfig,
    architectures=decoder_architectures("OPT", OPTModel, NAMES),
    inputs=("input_ids", "attention_mask"),
    ignored=("lm_head.weight", "score.*"),
)


def _published(num_layers: int, num_heads: int, hidden_size: int, **changes: Any) -> OPTConfig:
    return OPTConfig(50272, hidden_size, num_layers, num_heads, 2048, **changes)


CONFIGS = {  # table 1
    "opt-125m": _published(12, 12, 768),
    "opt-350m": _published(24, 16, 1024, do_layer_norm_before=False, word_embed_proj_dim=512),
    "opt-1.3b": _published(24, 32, 2048),
    "opt-2.7b": _published(32, 32, 2560),
    "opt-6.7b": _published(32, 32, 4096),
    "opt-13b": _published(40, 40, 5120),
    "opt-30b": _published(48, 56, 7168),
    "opt-66b": _published(64, 72, 9216),
    "opt-175b": _published(96, 96, 12288),
}
"""Name to configuration."""
