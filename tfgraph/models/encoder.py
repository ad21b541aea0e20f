"""The body of an encoder over tokens: embeddings, a stack of layers, and a pooler. What goes on it is in `tasks.py`."""

from __future__ import annotations

from collections.abc import Iterable

from tfgraph.dsl.layers.blocks import BlockOptions, EncoderBlock
from tfgraph.dsl.layers.masks import keep_mask
from tfgraph.dsl.layers.norms import LayerNorm
from tfgraph.dsl.module import Module, ModuleList
from tfgraph.dsl.tensor import Tensor
from tfgraph.models.embeddings import TextEmbeddings
from tfgraph.models.encoder_config import EncoderConfig
from tfgraph.models.heads import Pooler


def encoder_block(config: EncoderConfig, norm: str = "post") -> EncoderBlock:
    """One layer of the configuration's sizes; `norm` is one of `blocks.ARRANGEMENTS`."""
    options = BlockOptions(norm=norm, eps=config.layer_norm_eps, activation=config.hidden_act)
    return EncoderBlock(config.hidden_size, config.num_attention_heads, config.intermediate_size, options)


class EncoderStack(Module):
    """The layers of an encoder, one after the other.

    Each is normalised after its residual sums, or, with `norm="pre"`, before attention and MLP; then the result of the
    last one is normalised too.

    Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.1; normalising before: Shoeybi et al.,
    "Megatron-LM: Training Multi-Billion Parameter Language Models Using Model Parallelism", 2020, figure 7 (b).
    """

    def __init__(self, config: EncoderConfig, norm: str = "post", layers: ModuleList[Module] | None = None) -> None:
        """`layers` are the modules that hold the weights, where they are not one block for each layer."""
        if layers is None:
            layers = ModuleList(encoder_block(config, norm) for _ in range(config.num_hidden_layers))
        self.layers = layers
        self.norm = LayerNorm(config.hidden_size, config.layer_norm_eps) if norm == "pre" else None

    def in_order(self) -> Iterable[Module]:
        """The blocks, in the order in which they are run."""
        return self.layers

    def forward(self, hidden_state: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """[B, S, H], and a padding mask [B, S] of 1 (token) and 0 -> [B, S, H]."""
        keep = None
        if attention_mask is not None:  # once for all layers: bool [B, 1, 1, S]
            seq = hidden_state.shape[1]
            keep = keep_mask(attention_mask, queries=seq, keys=seq)
        for layer in self.in_order():
            hidden_state = layer(hidden_state, keep)
        return hidden_state if self.norm is None else self.norm(hidden_state)


class TextEncoder(Module):
    """Ids to hidden states: embeddings, layers, and, unless it is left out, a pooler.

    `embeddings` and `encoder` are BERT's, of the configuration's sizes, if not given.
    """

    def __init__(
        self,
        config: EncoderConfig,
        pooler: bool = True,
        *,
        embeddings: TextEmbeddings | None = None,
        encoder: EncoderStack | None = None,
    ) -> None:
        self.embeddings = TextEmbeddings(config) if embeddings is None else embeddings
        self.encoder = EncoderStack(config) if encoder is None else encoder
        self.pooler = Pooler(config.hidden_size) if pooler else None

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Integers [B, S] -> `last_hidden_state` [B, S, H] and, with a pooler, `pooler_output` [B, H].

        `attention_mask` is 1 for a token, 0 for padding; every position is a token without it.
        """
        hidden_state = self.encoder(self.embeddings(input_ids, token_type_ids), attention_mask)
        outputs = {"last_hidden_state": hidden_state}
        if self.pooler is not None:
            outputs["pooler_output"] = self.pooler(hidden_state)
        return outputs
