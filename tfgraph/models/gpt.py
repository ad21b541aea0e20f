"""GPT: its configuration, its models for each task, names of parameters in checkpoints, and its published size.

Source: Radford et al., "Improving Language Understanding by Generative Pre-Training", 2018, sections 3.1 and 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from tfgraph.dsl.layers.positions import LearnedPositions
from tfgraph.models.causal_lm import decoder_architectures
from tfgraph.models.decoder import DecoderParts, TextDecoder, decoder_blocks
from tfgraph.models.decoder_config import DecoderConfig
from tfgraph.models.family import Family
from tfgraph.models.gpt2 import adapt


@dataclass(frozen=True)
class GPTConfig(DecoderConfig):
    """GPT's sizes and choices; see `DecoderConfig`. The MLP is always four times as wide as the hidden state."""

    model_type: ClassVar[str] = "openai-gpt"
    aliases: ClassVar[Mapping[str, str]] = {
        "n_embd": "hidden_size",
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_positions": "max_position_embeddings",
        "afn": "hidden_act",
        "layer_norm_epsilon": "norm_eps",
    }

    intermediate_size: int | None = field(default=None, init=False)
    num_key_value_heads: int | None = field(default=None, init=False)
    head_dim: int | None = field(default=None, init=False)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], source: str = "config.json") -> Self:
        """As for any decoder; what GPT's configurations call "gelu", or leave out, is the approximation by tanh."""
        if given.get("afn") in (None, "gelu"):
            given = {**given, "afn": "gelu_new"}
        return super().from_dict(given, source)


class GPTModel(TextDecoder):
    """The decoder: learned positions, and blocks that normalise after the residual sums, so that none is left last."""

    def __init__(self, config: GPTConfig) -> None:
        position = LearnedPositions(config.max_position_embeddings, config.hidden_size)
        super().__init__(config, decoder_blocks(config, norm="post"), DecoderParts(position=position))


NAMES = {
    "word": "tokens_embed",
    "position": "positions_embed",
    "layers.{}.attention.query": "h.{}.attn.c_attn.query",
    "layers.{}.attention.key": "h.{}.attn.c_attn.key",
    "layers.{}.attention.value": "h.{}.attn.c_attn.value",
    "layers.{}.attention.output": "h.{}.attn.c_proj",
    "layers.{}.norm1": "h.{}.ln_1",
    "layers.{}.mlp.up": "h.{}.mlp.c_fc",
    "layers.{}.mlp.down": "h.{}.mlp.c_proj",
    "layers.{}.norm2": "h.{}.ln_2",
}
"""Module path to checkpoint name, for `GPTModel`."""

FAMILY = Family(
    model_type="openai-gpt",
    config=GPTConfig,
    architectures=decoder_architectures("OpenAIGPT", GPTModel, NAMES, prefix="transformer", lm="LMHeadModel"),
    inputs=("input_ids", "attention_mask"),
    ignored=("*attn.bias", "position_ids", "lm_head.weight", "score.*", "multiple_choice_head.*"),
    adapt=adapt,
)

CONFIGS = {"openai-gpt": GPTConfig(40478, 768, 12, 12, 512)}
"""Name to configuration."""
