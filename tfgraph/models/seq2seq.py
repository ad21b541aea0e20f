"""The body of an encoder-decoder: a stack that reads a text, and one that attends to it and writes another.

What the blocks are like, and what lies around them, is said by each family, in its own file; what goes on the body is
in `seq2seq_lm.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tfgraph.dsl import functional as F
from tfgraph.dsl.layers.attention import KeyValue
from tfgraph.dsl.layers.blocks import BlockOptions, DecoderBlock, EncoderBlock
from tfgraph.dsl.layers.embedding import Embedding
from tfgraph.dsl.layers.masks import keep_mask
from tfgraph.dsl.layers.norms import Norm
from tfgraph.dsl.layers.position_bias import RelativeBias
from tfgraph.dsl.layers.positions import LearnedPositions, SinusoidalPositions
from tfgraph.dsl.module import Module, ModuleList
from tfgraph.dsl.tensor import Tensor
from tfgraph.ir.dims import Dim
from tfgraph.models.decoder import Cache
from tfgraph.models.seq2seq_config import Seq2SeqConfig

Context: TypeAlias = Tensor | Sequence[KeyValue]
"""What a decoder attends to: hidden states [batch, source, hidden], or what each of its layers projected of them."""


@dataclass(frozen=True)
class StackParts:
    """What a stack has besides its blocks, where it has it.

    Attributes:
        embedding_scale: what the embeddings are multiplied by.
        position: positions added to the embeddings.
        relative_bias: positions as a bias of the scores, one table for all layers.
        embedding_norm: a normalisation of the embeddings.
        norm: the last normalisation.
    """

    embedding_scale: float | None = None
    position: LearnedPositions | SinusoidalPositions | None = None
    relative_bias: RelativeBias | None = None
    embedding_norm: Norm | None = None
    norm: Norm | None = None


def encoder_blocks(config: Seq2SeqConfig, options: BlockOptions) -> Iterator[EncoderBlock]:
    """The encoder's blocks, all alike."""
    for _ in range(config.num_hidden_layers):
        yield EncoderBlock(config.hidden_size, config.num_attention_heads, config.intermediate_size, options)


def decoder_blocks(config: Seq2SeqConfig, options: BlockOptions) -> Iterator[DecoderBlock]:
    """The decoder's blocks, all alike, with attention to the text."""
    for _ in range(config.decoder_layers):
        yield DecoderBlock(
            config.hidden_size, config.decoder_heads, config.decoder_mlp_size, options, cross_attention=True
        )


class _Stack(Module):
    """What both stacks share: the embeddings, and the last normalisation.

    Positions are those in the row, padding included: so T5, BART and the Transformer count them.
    """

    def __init__(self, word: Embedding, parts: StackParts) -> None:
        self.word = word
        self.embedding_scale = parts.embedding_scale
        self.position = parts.position
        self.relative_bias = parts.relative_bias
        self.embedding_norm = parts.embedding_norm
        self.norm = parts.norm

    def _embed(self, input_ids: Tensor, past: Dim = 0) -> Tensor:
        """Ids [B, S] -> [B, S, H]."""
        embedded: Tensor = self.word(input_ids)
        if self.embedding_scale is not None:
            embedded = embedded * self.embedding_scale
        if self.position is not None:
            positions = self.position(input_ids, past=past)
            embedded = embedded + F.cast(positions, embedded.dtype)  # a table of sines is float32, whatever the weights
        return embedded if self.embedding_norm is None else self.embedding_norm(embedded)

    def _bias(self, queries: Dim, keys: Dim, past: Dim = 0) -> Tensor | None:
        """What positions add to the scores of every layer, [1, heads, queries, keys]."""
        return None if self.relative_bias is None else self.relative_bias(queries, keys, past)

    def _finish(self, hidden_state: Tensor) -> Tensor:
        return hidden_state if self.norm is None else self.norm(hidden_state)


class EncoderStack(_Stack):
    """Ids to hidden states, each of which depends on all tokens.

    Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.1.
    """

    def __init__(self, word: Embedding, layers: Iterable[EncoderBlock], parts: StackParts) -> None:
        super().__init__(word, parts)
        self.layers = ModuleList(layers)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Ids [B, S], and a mask [B, S] of 1 (token) and 0 (padding) -> [B, S, H]."""
        seq = input_ids.shape[1]
        hidden_state = self._embed(input_ids)
        bias = self._bias(seq, seq)
        keep = None if attention_mask is None else keep_mask(attention_mask, queries=seq, keys=seq)  # [B, 1, 1, S]
        for layer in self.layers:
            hidden_state = layer(hidden_state, keep, bias)
        return self._finish(hidden_state)


class DecoderStack(_Stack):
    """Ids and a context to hidden states, each of which depends on no token after its own, and on all of the context.

    Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.1.
    """

    def __init__(self, word: Embedding, layers: Iterable[DecoderBlock], parts: StackParts) -> None:
        super().__init__(word, parts)
        self.layers = ModuleList(layers)

    def forward(
        self,
        input_ids: Tensor,
        context: Context,
        context_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
    ) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Ids [B, T] -> hidden states [B, T, H], and for each layer the `key` and `value` to pass the next time.

        Args:
            input_ids: the tokens; with a past, those after it.
            context: see `Context`.
            context_mask: [B, S], 1 for a token of the context, 0 for padding.
            attention_mask: [B, past + T], 1 for a token, 0 for padding; every position is a token without it.
            past_key_values: keys and values of earlier tokens, for each layer; of length 0 in the beginning.
        """
        seq = input_ids.shape[1]
        past: Dim = 0 if past_key_values is None else past_key_values[0]["key"].shape[2]
        hidden_state = self._embed(input_ids, past)
        bias = self._bias(seq, past + seq, past)
        keep = None if attention_mask is None else keep_mask(attention_mask, queries=seq, keys=past + seq)
        keep_context = None
        if context_mask is not None:  # once for all layers: bool [B, 1, 1, S]
            keep_context = keep_mask(context_mask, queries=seq, keys=context_mask.shape[1])
        present = []
        for index, layer in enumerate(self.layers):
            cached = None if past_key_values is None else past_key_values[index]
            hidden_state, (key, value) = layer(
                hidden_state,
                context if isinstance(context, Tensor) else context[index],
                attention_mask=keep,
                context_mask=keep_context,
                position_bias=bias,
                past_key_value=None if cached is None else (cached["key"], cached["value"]),
                use_cache=True,
            )
            present.append({"key": key, "value": value})
        return self._finish(hidden_state), present


class Seq2SeqModel(Module):
    """An encoder, and a decoder that attends to what the encoder makes of its text; both have one table of words."""

    def __init__(self, encoder: EncoderStack, decoder: DecoderStack) -> None:
        self.encoder = encoder
        self.decoder = decoder

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        decoder_input_ids: Tensor,
        decoder_attention_mask: Tensor | None = None,
    ) -> dict[str, Any]:
        """Ids [B, S] and [B, T], with their masks of 1 (token) and 0 (padding).

        Returns `last_hidden_state` [B, T, H], of the decoder, and `encoder_last_hidden_state` [B, S, H].
        """
        context = self.encoder(input_ids, attention_mask)
        hidden_state, _ = self.decoder(decoder_input_ids, context, attention_mask, decoder_attention_mask)
        return {"last_hidden_state": hidden_state, "encoder_last_hidden_state": context}
