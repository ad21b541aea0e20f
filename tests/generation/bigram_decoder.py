"""The smallest `Decoder`: logits depend on a row's last token alone, so what comes out can be worked out by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np


class BigramDecoder:
    """Logits from a table [V, V], by the last token. It keeps the rows' tokens, and the number of rows of each call."""

    def __init__(self, table, context_length=None):
        self.table = np.asarray(table, dtype=np.float32)
        self.vocab_size = len(self.table)
        self.context_length = context_length
        self.rows = []
        self.sizes = []
        self._memory = np.empty((0, self.vocab_size), dtype=np.float32)

    def start(self, input_ids, attention_mask):
        self.rows = [row[mask == 1].tolist() for row, mask in zip(input_ids, attention_mask, strict=True)]
        return self._logits("start")

    def step(self, token_ids):
        assert len(token_ids) == len(self.rows)
        self.rows = [[*row, token] for row, token in zip(self.rows, token_ids.tolist(), strict=True)]
        if self.context_length is not None:
            assert max(map(len, self.rows)) <= self.context_length
        return self._logits("step")

    def select(self, rows):
        self.rows = [self.rows[row] for row in rows.tolist()]
        self.sizes.append(("select", len(self.rows)))

    def _logits(self, call):
        """In memory that is used again, as a model that runs into bound buffers does."""
        self.sizes.append((call, len(self.rows)))
        if len(self._memory) != len(self.rows):
            self._memory = np.empty((len(self.rows), self.vocab_size), dtype=np.float32)
        self._memory[:] = self.table[[row[-1] for row in self.rows]]
        return self._memory


def chain(*tokens, vocab_size=10):
    """A table in which each of the tokens is followed by the next one, almost surely."""
    table = np.zeros((vocab_size, vocab_size))
    for token, following in pairwise(tokens):
        table[token, following] = 20.0
    return table
