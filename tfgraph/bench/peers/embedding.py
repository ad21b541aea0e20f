"""One vector a text with an encoder of any peer: the texts sorted by length, in batches of 32, averaged over tokens.

That is what sentence-transformers does around an encoder. tfgraph's own candidates do it in `Artefact.encode` instead.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from tfgraph.bench.peers.interface import Encoder
from tfgraph.ir.constant import Array

BATCH: Final = 32
_SENTENCE_FILE: Final = "sentence_bert_config.json"
_LONGEST: Final = 512


class SortedEmbedder:
    """An encoder that embeds texts; see `interface.Embedder`.

    Args:
        encoder: the peer's.
        checkpoint: with `tokenizer.json`, and what sentence-transformers says about the longest text.
    """

    def __init__(self, encoder: Encoder, checkpoint: Path) -> None:
        from tokenizers import Tokenizer

        self._encoder = encoder
        self._tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_longest(checkpoint))

    def embed(self, texts: Sequence[str]) -> Array:
        """See `interface.Embedder`."""
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
        vectors: list[Array] = []
        for start in range(0, len(order), BATCH):
            inputs = padded([rows[index] for index in order[start : start + BATCH]])
            vectors.append(mean_of_tokens(self._encoder(inputs), inputs["attention_mask"]))
        result: Array = np.empty((len(rows), vectors[0].shape[1]), np.float32)
        result[order] = np.concatenate(vectors)
        return result


def padded(rows: Sequence[Sequence[int]]) -> dict[str, Array]:
    """A BERT's inputs for rows of tokens, padded with zeros on the right: int64 [B, S] by name."""
    longest = max(len(row) for row in rows)
    ids = np.zeros((len(rows), longest), np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def mean_of_tokens(hidden_state: Array, mask: Array) -> Array:
    """The mean over real tokens, scaled to length 1: [B, S, H] and [B, S] -> [B, H]."""
    weights = mask.astype(np.float32)
    sums = np.einsum("bsh,bs->bh", hidden_state, weights)
    means = sums / weights.sum(axis=1, keepdims=True)
    vectors: Array = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return vectors


def _longest(checkpoint: Path) -> int:
    path = checkpoint / _SENTENCE_FILE
    if not path.is_file():
        return _LONGEST
    return int(json.loads(path.read_text(encoding="utf-8")).get("max_seq_length", _LONGEST))
