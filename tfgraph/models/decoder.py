"""The body of a decoder: embeddings, a stack of causal blocks, a last normalisation; with a cache or without.

What its blocks are like is said by each family, in its own file; what goes on it is in `causal_lm.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tfgraph.dsl import functional as F
from tfgraph.dsl.layers.blocks import BlockOptions, DecoderBlock
from tfgraph.dsl.layers.embedding import Embedding
from tfgraph.dsl.layers.linear import Linear
from tfgraph.dsl.layers.masks import keep_mask
from tfgraph.dsl.layers.norms import Norm
from tfgraph.dsl.layers.position_bias import AlibiBias
from tfgraph.dsl.layers.positions import LearnedPositions, SinusoidalPositions, masked_positions
from tfgraph.dsl.module import Module, ModuleList
from tfgraph.dsl.tensor import Tensor
from tfgraph.ir.dims import Dim
from tfgraph.models.decoder_config import DecoderConfig

Cache: TypeAlias = Sequence[Mapping[str, Tensor]]
"""For each layer its `key` and its `value`, [batch, kv_heads, past, head_dim]."""


@dataclass(frozen=True)
class DecoderParts:
    """What decoders have besides their blocks, where they have it.

    Attributes:
        position: positions added to the embeddings.
        alibi: positions as a bias of the scores, the same for all layers.
        embedding_norm: a normalisation of the embeddings.
        embedding_scale: what the embeddings are multiplied by.
        project_in, project_out: from features of the embeddings to those of the blocks, and back.
        norm: the last normalisation.
    """

    position: LearnedPositions | SinusoidalPositions | None = None
    alibi: AlibiBias | None = None
    embedding_norm: Norm | None = None
    embedding_scale: float | None = None
    project_in: Linear | None = None
    project_out: Linear | None = None
    norm: Norm | None = None


def decoder_blocks(
    config: DecoderConfig, by_layer: Sequence[Mapping[str, Any]] | None = None, **particular: Any
) -> list[DecoderBlock]:
    """As many blocks as the configuration has layers, of its sizes, its activation and its eps.

    `particular` is what else the family's blocks are like, by the names of `BlockOptions`; `by_layer` the same for each
    layer alone, where they differ.
    """
    options = BlockOptions(
        eps=config.norm_eps, activation=config.hidden_act, num_kv_heads=config.kv_heads, head_dim=config.head_size
    )
    sizes = (config.hidden_size, config.num_attention_heads, config.mlp_size)
    each = [{}] * config.num_hidden_layers if by_layer is None else by_layer
    return [DecoderBlock(*sizes, options, **{**particular, **own}) for own in each]


class TextDecoder(Module):
    """Ids to hidden states, each of which depends on no token after its own.

    Source: Radford et al., "Improving Language Understanding by Generative Pre-Training", 2018, section 3.1.
    """

    def __init__(self, config: DecoderConfig, layers: Iterable[DecoderBlock], parts: DecoderParts) -> None:
        width = config.hidden_size if parts.project_in is None else parts.project_in.weight.shape[1]
        self.word = Embedding(config.vocab_size, width)
        self.position = parts.position
        self.alibi = parts.alibi
        self.embedding_norm = parts.embedding_norm
        self.embedding_scale = parts.embedding_scale
        self.project_in = parts.project_in
        self.layers = ModuleList(layers)
        self.norm = parts.norm
        self.project_out = parts.project_out

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        cache_lengths: Tensor | None = None,
    ) -> dict[str, object]:
        """Ids [B, S] -> `last_hidden_state` [B, S, H] and, with a past, `present`: the cache to pass the next time.

        Args:
            input_ids: the tokens; with a past, those after it.
            attention_mask: [B, past + S], 1 for a token, 0 for padding; every position is a token without it.
                Positions count tokens, so that padding may be anywhere.
            past_key_values: keys and values of earlier tokens, for each layer; of length 0 in the beginning.
            cache_lengths: int64 [B], for a cache of fixed length: how many tokens of each text it holds. Texts then
                begin at position 0 of their rows, and new tokens are padded on the right: whatever `attention_mask`
                [B, S] calls padding is written behind the tokens, and written over by the next ones.
        """
        seq = input_ids.shape[1]
        past: Dim = 0 if past_key_values is None else past_key_values[0]["key"].shape[2]
        keep = positions = position_ids = None
        if cache_lengths is not None:
            position_ids = F.unsqueeze(cache_lengths, (1,)) + F.arange(0, seq)  # [B, S]
        elif attention_mask is not None:  # once for all layers: bool [B, 1, 1, past + S]
            keep = keep_mask(attention_mask, queries=seq, keys=past + seq)
            positions = masked_positions(attention_mask)  # [B, past + S]
            position_ids = positions if past == 0 else positions[:, past:]
        hidden_state = self._embed(input_ids, position_ids, past)
        bias = None
        if self.alibi is not None:
            fixed = cache_lengths is not None
            bias = self.alibi(seq, past, cache_lengths) if fixed else self.alibi(seq, past + seq, past, positions)
            bias = F.cast(bias, hidden_state.dtype)
        present = []
        for index, layer in enumerate(self.layers):
            cached = None if past_key_values is None else past_key_values[index]
            hidden_state, (key, value) = layer(
                hidden_state,
                attention_mask=keep,
                position_bias=bias,
                position_ids=position_ids,
                past_key_value=None if cached is None else (cached["key"], cached["value"]),
                use_cache=True,
                cache_lengths=cache_lengths,
            )
            present.append({"key": key, "value": value})
        if self.norm is not None:
            hidden_state = self.norm(hidden_state)
        if self.project_out is not None:
            hidden_state = self.project_out(hidden_state)
        outputs: dict[str, object] = {"last_hidden_state": hidden_state}
        if past_key_values is not None:
            outputs["present"] = present
        return outputs

    def _embed(self, input_ids: Tensor, position_ids: Tensor | None, past: Dim) -> Tensor:
        embedded: Tensor = self.word(input_ids)
        if self.embedding_scale is not None:
            embedded = embedded * self.embedding_scale
        if self.project_in is not None:
            embedded = self.project_in(embedded)
        if self.position is not None:
            embedded = embedded + self.position(input_ids, position_ids, past)
        if self.embedding_norm is not None:
            embedded = self.embedding_norm(embedded)
        return embedded
