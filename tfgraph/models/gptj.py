"""GPT-J: its configuration, its models for each task, names of parameters in checkpoints, and its published size.

Source: Wang, Komatsuzaki, "GPT-J-6B: A 6 Billion Parameter Autoregressive Language Model", 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from tfgraph.dsl.layers.norms import LayerNorm
from tfgraph.dsl.layers.rotary import RotaryPositions
from tfgraph.errors import ConfigError
from tfgraph.models.causal_lm import CausalLM, decoder_architectures
from tfgraph.models.decoder import DecoderParts, TextDecoder, decoder_blocks
from tfgraph.models.decoder_config import DecoderConfig
from tfgraph.models.family import Family


@dataclass(frozen=True)
class GPTJConfig(DecoderConfig):
    """GPT-J's sizes and choices; see `DecoderConfig`.

    Attributes:
        rotary_dim: features of a head that are turned by their position, the first ones.
    """

    model_type: ClassVar[str] = "gptj"
    aliases: ClassVar[Mapping[str, str]] = {
        "n_embd": "hidden_size",
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_positions": "max_position_embeddings",
        "n_inner": "intermediate_size",
        "activation_function": "hidden_act",
        "layer_norm_epsilon": "norm_eps",
    }

    tie_word_embeddings: bool = False
    rotary_dim: int = 64

    @classmethod
    def _refuse_unsupported(cls, given: Mapping[str, Any], source: str) -> None:
        if given.get("rotary_dim", 64) is None:
            raise ConfigError(f"{source}: 'rotary_dim' is null: expected how many features of a head are turned")


class GPTJModel(TextDecoder):
    """The decoder: one normalisation for attention and MLP, side by side; positions turn pairs of neighbours."""

    def __init__(self, config: GPTJConfig) -> None:
        rotary = RotaryPositions(
            config.head_size,
            max_positions=config.max_position_embeddings,
            interleaved=True,
            rotary_dim=config.rotary_dim,
        )
        super().__init__(
            config,
            decoder_blocks(config, norm="parallel", bias=False, mlp_bias=True, rotary=rotary),
            DecoderParts(norm=LayerNorm(config.hidden_size, config.norm_eps)),
        )


NAMES = {
    "word": "wte",
    "layers.{}.norm1": "h.{}.ln_1",
    "layers.{}.attention.query": "h.{}.attn.q_proj",
    "layers.{}.attention.key": "h.{}.attn.k_proj",
    "layers.{}.attention.value": "h.{}.attn.v_proj",
    "layers.{}.attention.output": "h.{}.attn.out_proj",
    "layers.{}.mlp.up": "h.{}.mlp.fc_in",
    "layers.{}.mlp.down": "h.{}.mlp.fc_out",
    "norm": "ln_f",
}
"""Module path to checkpoint name, for `GPTJModel`."""

FAMILY = Family(
    model_type="gptj",
    config=GPTJConfig,
    architectures=decoder_architectures(
        "GPTJ", GPTJModel, NAMES, prefix="transformer", build_lm=partial(CausalLM, bias=True)
    ),
    inputs=("input_ids", "attention_mask"),
    ignored=("*attn.bias", "*attn.masked_bias", "lm_head.*", "score.*"),
)

CONFIGS = {"gpt-j-6b": GPTJConfig(50400, 4096, 28, 16, 2048)}
"""Name to configuration."""
