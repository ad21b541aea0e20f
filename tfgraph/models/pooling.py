"""One vector for a text: the ways to pool the hidden states of its tokens, and the embedder made of an encoder and one.

The numbers are those of sentence-transformers; how its settings files are read is in `tfgraph.checkpoints`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tfgraph.dsl import functional as F
from tfgraph.dsl.layers.choices import choose
from tfgraph.dsl.module import Module
from tfgraph.dsl.tensor import Tensor
from tfgraph.errors import ConfigError

_LEAST_COUNT = 1e-9  # the divisor for a text without a token, whose vector becomes 0
_LEAST_NORM = 1e-12  # the divisor for a vector of length 0
_MASKED = -1e9  # what padding counts as where the maximum is taken


def pool_cls(hidden_state: Tensor, attention_mask: Tensor) -> Tensor:
    """The hidden state at the first position, which is the [CLS] token's unless padding is on the left."""
    return hidden_state[:, 0]


def pool_max(hidden_state: Tensor, attention_mask: Tensor) -> Tensor:
    """The largest value of each feature over the tokens."""
    padded = F.unsqueeze(F.equal(attention_mask, 0), (-1,))  # [B, S, 1]
    return F.reduce_max(F.where(padded, _MASKED, hidden_state), (1,), keepdims=False)


def pool_mean(hidden_state: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean over the tokens: `sum(h_i m_i) / max(sum(m_i), 1e-9)`.

    Source: Reimers, Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", 2019, section 3.
    """
    total, count = _sum_of_tokens(hidden_state, attention_mask)
    return total / count


def pool_mean_sqrt_len(hidden_state: Tensor, attention_mask: Tensor) -> Tensor:
    """The sum over the tokens, divided by the square root of their number."""
    total, count = _sum_of_tokens(hidden_state, attention_mask)
    return total / F.sqrt(count)


def _sum_of_tokens(hidden_state: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
    """The sum [B, H] of the tokens' hidden states, and their number [B, 1]."""
    weights = F.unsqueeze(F.cast(attention_mask, hidden_state.dtype), (-1,))  # [B, S, 1]
    total = F.reduce_sum(hidden_state * weights, (1,), keepdims=False)
    return total, F.maximum(F.reduce_sum(weights, (1,), keepdims=False), _LEAST_COUNT)


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": pool_cls,
    "max": pool_max,
    "mean": pool_mean,
    "mean_sqrt_len": pool_mean_sqrt_len,
}
"""The ways to pool, by name, in the order in which several are concatenated."""


class Pooling(Module):
    """Hidden states [B, S, H] and a mask [B, S] -> one vector a text, [B, H]; several modes are concatenated.

    It computes in float32 whatever the dtype of the hidden states, so that a long text does not overflow.

    Raises:
        ConfigError: no mode, or an unknown one.
    """

    def __init__(self, modes: Sequence[str] = ("mean",), normalize: bool = False) -> None:
        if not modes:
            raise ConfigError(f"no pooling mode is given: expected one or more of {', '.join(POOLINGS)}")
        for mode in modes:
            choose("pooling mode", mode, POOLINGS)
        self.modes = tuple(mode for mode in POOLINGS if mode in modes)
        self.normalize = normalize

    def forward(self, hidden_state: Tensor, attention_mask: Tensor) -> Tensor:
        """[B, S, H] and [B, S] -> [B, H times the number of modes]; of length 1 if `normalize`."""
        wide = F.cast(hidden_state, "float32")
        parts = [POOLINGS[mode](wide, attention_mask) for mode in self.modes]
        pooled = parts[0] if len(parts) == 1 else F.concat(parts, -1)
        if self.normalize:
            length = F.sqrt(F.reduce_sum(pooled * pooled, (-1,)))  # [B, 1]
            pooled = pooled / F.maximum(length, _LEAST_NORM)
        return F.cast(pooled, hidden_state.dtype)


class SentenceEmbedder(Module):
    """An encoder and a pooling: one vector a text, and the hidden states that it was pooled from."""

    def __init__(self, base: Module, pooling: Pooling) -> None:
        self.base = base
        self.pooling = pooling

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Ids and mask [B, S] -> `sentence_embedding` [B, E], `last_hidden_state` [B, S, H]."""
        types = () if token_type_ids is None else (token_type_ids,)
        hidden_state = self.base(input_ids, attention_mask, *types)["last_hidden_state"]
        return {
            "sentence_embedding": self.pooling(hidden_state, attention_mask),
            "last_hidden_state": hidden_state,
        }
