"""`Decoder`: all that generation asks of a model with a cache. How one is built on a graph is not known here."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Logits = NDArray[np.floating[Any]]
Scores = NDArray[np.float32]
"""Logits, or log-probabilities, on their way to a choice: float32 [R, V], or [V] for one row."""


class Decoder(Protocol):
    """A model that predicts the next token of each row of a batch, and remembers the rows in its cache.

    The number of rows changes through `select` alone. A row's cache must depend on no other row. For an
    encoder-decoder the rows are those of the decoder: it has the encoder's output already, and the prompts are its
    start tokens.
    """

    @property
    def vocab_size(self) -> int:
        """How many tokens there are: the last axis of the logits."""
        ...

    @property
    def context_length(self) -> int | None:
        """The most tokens that a row may hold, generated ones included and padding not; None if there is no limit."""
        ...

    def start(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Begin afresh with these prompts.

        Args:
            input_ids: int64 [B, S], padded on the left.
            attention_mask: int64 [B, S]: 1 at a token, 0 at padding.

        Returns:
            The logits after the last token of each prompt, [B, V]. They are read, never written to, and not used
            any more after the next call: the decoder may use the memory again.
        """
        ...

    def step(self, token_ids: Ids) -> Logits:
        """Append one token to each row.

        Args:
            token_ids: int64 [R].

        Returns:
            The logits after it, [R, V], under the same terms as those of `start`.
        """
        ...

    def select(self, rows: Ids) -> None:
        """Let row i of the cache become what row `rows[i]` was: beams branch, rows repeat, finished rows leave.

        Args:
            rows: int64 [R], in any order, any of them several times or not at all.
        """
        ...
