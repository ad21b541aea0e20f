"""PanGu-alpha: its configuration, its models for each task, names of parameters in checkpoints, and published sizes.

Source: Zeng et al., "PanGu-alpha: Large-scale Autoregressive Pretrained Chinese Language Models with Auto-parallel
Computation", 2021, section 3.2. Where the last normalisation is, and what the query layer normalises, is not in the
paper's equations, and taken from the released models, whose names (`gpt_pangu`) are used too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tfgraph.dsl.layers.attention import KeyValue
from tfgraph.dsl.layers.blocks import DecoderBlock
from tfgraph.dsl.layers.norms import LayerNorm
from tfgraph.dsl.layers.positions import LearnedPositions, sequence_positions
from tfgraph.dsl.tensor import Tensor
from tfgraph.models.causal_lm import decoder_architectures
from tfgraph.models.config_fields import require_settings
from tfgraph.models.decoder import DecoderParts, TextDecoder, decoder_blocks
from tfgraph.models.decoder_config import DecoderConfig
from tfgraph.models.family import Family
from tfgraph.models.gpt2 import NAMES as GPT2_NAMES


@dataclass(frozen=True)
class PanguAlphaConfig(DecoderConfig):
    """PanGu-alpha's sizes and choices; see `DecoderConfig`.

    Attributes:
        num_hidden_layers: the query layer, which is the last, included.
    """

    model_type: ClassVar[str] = "gpt_pangu"
    aliases: ClassVar[Mapping[str, str]] = {
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "activation_function": "hidden_act",
        "layer_norm_epsilon": "norm_eps",
    }

    hidden_act: str = "gelu"

    @classmethod
    def _refuse_unsupported(cls, given: Mapping[str, Any], source: str) -> None:
        require_settings(given, source, {"scale_attn_weights": True})


class QueryLayer(DecoderBlock):
    """A block whose queries are made of learned vectors for the position to be predicted, not of what the text says.

    With the normalised output H of the layers below, and p the vector of the next position:
    `a = softmax(p Wq (LN(H) Wk)^T / sqrt(d)) LN(H) Wv`, `x = H + a Wm`, and `x + FFN(LN(x))`: equation 7 of the paper,
    "the subsequent computation of MHA and FFN remains the same".
    """

    def __init__(self, config: PanguAlphaConfig) -> None:
        super().__init__(
            config.hidden_size,
            config.num_attention_heads,
            config.mlp_size,
            eps=config.norm_eps,
            activation=config.hidden_act,
            head_dim=config.head_size,
        )
        self.input_norm = LayerNorm(config.hidden_size, config.norm_eps)
        self.next_position = LearnedPositions(config.max_position_embeddings, config.hidden_size)

    def forward(
        self,
        x: Tensor,
        context: Tensor | KeyValue | None = None,
        attention_mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_value: KeyValue | None = None,
        use_cache: bool = False,
        cache_lengths: Tensor | None = None,
        queries: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, KeyValue]:
        """[batch, seq, hidden_size] -> the same shape; the arguments are those of `DecoderBlock`.

        `position_ids` are those of the tokens read: row n of the table of next positions is for the token after n.
        `queries` are made here.
        """
        if position_ids is None:
            past = 0 if past_key_value is None else past_key_value[0].shape[2]
            position_ids = sequence_positions(x.shape[0], x.shape[1], past)
        return super().forward(
            self.input_norm(x),
            context,
            attention_mask,
            context_mask,
            position_bias,
            position_ids,
            past_key_value,
            use_cache,
            cache_lengths,
            queries=self.next_position(x, position_ids),
        )


class PanguAlphaModel(TextDecoder):
    """The decoder: learned positions, GPT-2's blocks, and the query layer on top of them."""

    def __init__(self, config: PanguAlphaConfig) -> None:
        super().__init__(
            config,
            [*decoder_blocks(config)[:-1], QueryLayer(config)],
            DecoderParts(position=LearnedPositions(config.max_position_embeddings, config.hidden_size)),
        )


NAMES = {
    **{path: name for path, name in GPT2_NAMES.items() if path != "norm"},
    "layers.{}.attention.query": "h.{}.attn.q_proj",
    "layers.{}.attention.key": "h.{}.attn.k_proj",
    "layers.{}.attention.value": "h.{}.attn.v_proj",
    "layers.{}.input_norm": "ln_f",
    "layers.{}.next_position": "wqe",
}
"""Module path to checkpoint name, for `PanguAlphaModel`."""

FAMILY = Family(
    model_type="gpt_pangu",
    config=PanguAlphaConfig,
    architectures=decoder_architectures("GPTPangu", PanguAlphaModel, NAMES, prefix="transformer"),
    inputs=("input_ids", "attention_mask"),
    ignored=("*attn.bias", "*attn.masked_bias", "lm_head.weight", "score.*"),
)


def _published(num_layers: int, hidden_size: int, num_heads: int) -> PanguAlphaConfig:
    return PanguAlphaConfig(40000, hidden_size, num_layers, num_heads, 1024)


CONFIGS = {  # table 1
    "pangu-alpha-2.6b": _published(32, 2560, 32),
    "pangu-alpha-13b": _published(40, 5120, 40),
    "pangu-alpha-200b": _published(64, 16384, 128),
}
"""Name to configuration."""
