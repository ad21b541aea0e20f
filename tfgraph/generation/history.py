"""`History`: the tokens of every row so far, prompt and answer, for the processors that look back at them."""

from __future__ import annotations

import numpy as np

from tfgraph.generation.decoder import Ids
from tfgraph.generation.prompts import PromptBatch


class History:
    """The tokens of rows that grow together, one token a step, from prompts padded on the left.

    Padding holds the row's own first token, so that what only asks *which* tokens a row has needs no mask.

    Attributes:
        padding: int64 [R]: how many places at the left of each row are padding.
        limits: int64 [R]: the most tokens that may be generated in each row.
        prompt_length: the padded length of the prompts, S: generated tokens start there.
        length: the padded length so far, L.
    """

    def __init__(self, batch: PromptBatch, limits: Ids) -> None:
        self.prompt_length = int(batch.input_ids.shape[1])
        self.length = self.prompt_length
        self.padding = self.length - batch.lengths
        self.limits = limits
        first = np.take_along_axis(batch.input_ids, self.padding[:, None], axis=1)  # [B, 1]
        self._buffer = np.where(batch.attention_mask == 1, batch.input_ids, first)  # [R, at least L]

    @property
    def token_ids(self) -> Ids:
        """Prompt and generated tokens, int64 [R, L]. A view: not to be written to."""
        return self._buffer[:, : self.length]

    @property
    def generated(self) -> Ids:
        """The generated tokens, int64 [R, L - S]. A view: not to be written to."""
        return self._buffer[:, self.prompt_length : self.length]

    @property
    def num_generated(self) -> int:
        """How many tokens each row has generated, L - S."""
        return self.length - self.prompt_length

    def append(self, token_ids: Ids) -> None:
        """Add one token to each row, int64 [R]."""
        if self.length == self._buffer.shape[1]:
            self._buffer = np.concatenate([self._buffer, np.empty_like(self._buffer)], axis=1)
        self._buffer[:, self.length] = token_ids
        self.length += 1

    def select(self, rows: Ids) -> None:
        """Let row i become what row `rows[i]` was, int64 [R]; as `Decoder.select`."""
        self._buffer = self._buffer[rows]
        self.padding = self.padding[rows]
        self.limits = self.limits[rows]
