"""Token ids of many texts in one array, and batches of them: sorted by length, and padded no more than they must be.

What makes the ids is in `tokenizer.py`, what runs the batches in `artefact.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tfgraph.errors import InputError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class TokenRows:
    """Rows of token ids, one after the other.

    Attributes:
        ids, type_ids: of all rows, int32 [total].
        lengths: of each row, int64 [n].
        pad_id, pad_type_id: what stands at padding.
    """

    ids: NDArray[np.int32]
    type_ids: NDArray[np.int32]
    lengths: NDArray[np.int64]
    pad_id: int
    pad_type_id: int

    @classmethod
    def of(
        cls, ids: Sequence[Sequence[int]], type_ids: Sequence[Sequence[int]], *, pad_id: int, pad_type_id: int
    ) -> TokenRows:
        """The rows given as lists."""
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        return cls(_flat(ids, lengths), _flat(type_ids, lengths), lengths, pad_id, pad_type_id)

    @classmethod
    def joined(cls, parts: Sequence[TokenRows]) -> TokenRows:
        """The rows of all `parts`, of which there must be one at least."""
        return cls(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.type_ids for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            parts[0].pad_id,
            parts[0].pad_type_id,
        )

    def padded(
        self, rows: Sequence[int] | Indices, *, padding: Literal["right", "left"] = "right"
    ) -> dict[str, NDArray[np.int64]]:
        """The rows of those numbers, padded to the longest of them, or to one place where none has a token.

        Returns:
            input_ids, attention_mask (1: a token, 0: padding) and token_type_ids, int64 [B, S].
        """
        chosen = np.asarray(rows, np.int64)
        lengths = self.lengths[chosen]
        width = max(int(lengths.max(initial=0)), 1)
        places = np.arange(width)  # [S]
        if padding == "left":
            places = places - (width - lengths)[:, None]  # [B, S]
        real = (places >= 0) & (places < lengths[:, None])  # [B, S]
        starts = (np.cumsum(self.lengths) - self.lengths)[chosen]
        from_flat = (starts[:, None] + places)[real]
        input_ids = np.full(real.shape, self.pad_id, np.int64)
        token_type_ids = np.full(real.shape, self.pad_type_id, np.int64)
        input_ids[real], token_type_ids[real] = self.ids[from_flat], self.type_ids[from_flat]
        return {"input_ids": input_ids, "attention_mask": real.astype(np.int64), "token_type_ids": token_type_ids}

    def batches(self, *, max_tokens: int, max_rows: int | None = None) -> Iterator[Indices]:
        """The numbers of the rows to run together, the longest first.

        A batch has at most `max_tokens` places, padding included, and `max_rows` rows; a row longer than `max_tokens`
        is alone. Rows of one length are in the order in which they were given.

        Raises:
            InputError: a limit is below 1.
        """
        for name, limit in (("max_tokens", max_tokens), ("batch_size", max_rows)):
            if limit is not None and (not isinstance(limit, int) or limit < 1):
                raise InputError(f"{name} is {limit!r}: expected a whole number of at least 1")
        order = np.argsort(-self.lengths, kind="stable")
        start = 0
        while start < len(order):
            longest = max(int(self.lengths[order[start]]), 1)
            count = max(max_tokens // longest, 1)
            stop = start + (count if max_rows is None else min(count, max_rows))
            yield order[start:stop]
            start = stop


def _flat(rows: Sequence[Sequence[int]], lengths: NDArray[np.int64]) -> NDArray[np.int32]:
    return np.fromiter((number for row in rows for number in row), np.int32, int(lengths.sum()))
