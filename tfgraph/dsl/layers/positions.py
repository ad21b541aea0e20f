"""Positions added to embeddings: `LearnedPositions`, `SinusoidalPositions`; and the positions of a sequence as numbers.

Positions that act inside attention are elsewhere: rotations in `rotary.py`, biases of the scores in `position_bias.py`.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from tfgraph.dsl import functional as F
from tfgraph.dsl.layers.choices import require_positive
from tfgraph.dsl.module import Buffer, Module, Parameter
from tfgraph.dsl.tensor import Tensor
from tfgraph.ir.constant import Array
from tfgraph.ir.dims import Dim
from tfgraph.ir.dtypes import DType
from tfgraph.ir.transforms import folded


def sequence_positions(batch: Dim, seq: Dim, past: Dim = 0) -> Tensor:
    """The positions `past`, …, `past + seq - 1` of every sequence: int64 [batch, seq]."""
    row = F.unsqueeze(F.arange(past, past + seq), (0,))
    return row if batch == 1 else F.expand(row, (batch, seq))


def masked_positions(attention_mask: Tensor) -> Tensor:
    """The position of each token among the tokens of its own sequence: int64 [batch, seq].

    Padding, where `attention_mask` [batch, seq] is 0, is not counted, so that a text has the same positions wherever
    its padding is. A padded position has that of the last token before it, or 0.
    """
    counted = F.cumulative_sum(F.cast(attention_mask, DType.INT64), 1) - 1
    return F.maximum(counted, 0)


def sinusoidal_table(positions: int, hidden_size: int, base: float = 10000.0, interleaved: bool = True) -> Array:
    """Sines and cosines of the position at geometrically growing wavelengths: float32 [positions, hidden_size].

    Feature 2i is `sin(p / base^(2i / hidden_size))` and feature 2i + 1 the cosine; not interleaved, all sines come
    first, then all cosines (Marian, Pegasus).

    Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.5.
    """
    pairs = (hidden_size + 1) // 2
    wavelengths = base ** (2 * np.arange(pairs, dtype=np.float64) / hidden_size)
    angles = np.arange(positions, dtype=np.float64)[:, None] / wavelengths  # [positions, pairs]
    table = np.empty((positions, hidden_size), np.float32)
    sines, cosines = (slice(0, None, 2), slice(1, None, 2)) if interleaved else (slice(pairs), slice(pairs, None))
    table[:, sines] = np.sin(angles)
    table[:, cosines] = np.cos(angles)[:, : hidden_size // 2]
    return table


class LearnedPositions(Module):
    """A learned vector for each position (BERT, GPT-2).

    The table has `max_positions + offset` rows, and position p is row `p + offset` (2 in RoBERTa, BART and OPT).

    Raises:
        ConfigError: a size that is not at least 1.
    """

    def __init__(self, max_positions: int, hidden_size: int, offset: int = 0) -> None:
        require_positive(max_positions=max_positions, hidden_size=hidden_size)
        self.weight = Parameter((max_positions + offset, hidden_size))
        self.offset = offset

    def forward(self, tokens: Tensor, position_ids: Tensor | None = None, past: Dim = 0) -> Tensor:
        """The vectors to be added to the embeddings of `tokens`; see `look_up_positions`."""
        return look_up_positions(self.weight, tokens, position_ids, past, self.offset)


class SinusoidalPositions(Module):
    """A fixed vector for each position; see `sinusoidal_table`. It has no weights.

    Raises:
        ConfigError: a size that is not at least 1.
    """

    def __init__(self, max_positions: int, hidden_size: int, base: float = 10000.0, interleaved: bool = True) -> None:
        require_positive(max_positions=max_positions, hidden_size=hidden_size)
        shape = (max_positions, hidden_size)
        fill = partial(sinusoidal_table, *shape, base, interleaved)
        self.table = Buffer(folded(fill, (), ("sinusoidal", *shape, base, interleaved), DType.FLOAT32, shape))

    def forward(self, tokens: Tensor, position_ids: Tensor | None = None, past: Dim = 0) -> Tensor:
        """The vectors to be added to the embeddings of `tokens`; see `look_up_positions`."""
        return look_up_positions(self.table, tokens, position_ids, past)


def look_up_positions(
    table: Parameter | Buffer, tokens: Tensor, position_ids: Tensor | None, past: Dim, offset: int = 0
) -> Tensor:
    """The rows of `table` for the positions of `tokens`.

    Args:
        table: [rows, hidden_size], the row of position p being `p + offset`.
        tokens: ids or embeddings, [batch, seq, ...].
        position_ids: [batch, seq], int64; `past`, …, `past + seq - 1` if not given.
        past: number of tokens before these, in a cache.

    Returns [batch, seq, hidden_size] with `position_ids`, else [seq, hidden_size].
    """
    if position_ids is not None:
        return F.gather(table, position_ids + offset if offset else position_ids)
    first = past + offset
    return F.gather(table, F.arange(first, first + tokens.shape[1]))
