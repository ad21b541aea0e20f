"""`Decoder`s over exported models: what generation asks for, answered by a session and its cache.

How tokens are chosen is in `tfgraph.generation`; how the cache is kept between runs, in `tfgraph.backends.onnxruntime`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfgraph.errors import InputError
from tfgraph.generation.decoder import Ids, Logits
from tfgraph.ir.constant import Array

if TYPE_CHECKING:
    from tfgraph.backends.interface import RunsArrays
    from tfgraph.backends.onnxruntime.cache import GrowingCache
    from tfgraph.backends.onnxruntime.fixed_cache import FixedCache

LOGITS = "logits"
CHUNK = 512
"""Tokens of a prompt that run at once: what a long one needs of memory beside its cache is bounded by them."""


class HeldTokens:
    """The tokens whose keys and values a cache of one row without padding has, so that they need not run again.

    Not known, after anything that stops a decoder half-way.
    """

    def __init__(self) -> None:
        self._tokens: list[int] | None = None

    def take(self, input_ids: Ids, attention_mask: Ids) -> int:
        """How many tokens of a prompt [B, S] the cache has; from here on not known, until `begin`.

        One fewer than the prompt has, at most: one has to run, to give logits.
        """
        held, self._tokens = self._tokens, None
        if held is None or not _is_plain(attention_mask):
            return 0
        longest = min(len(held), input_ids.shape[1] - 1)
        differs = np.flatnonzero(np.asarray(held[:longest]) != input_ids[0, :longest])
        return int(differs[0]) if differs.size else longest

    def begin(self, input_ids: Ids, attention_mask: Ids) -> None:
        """The cache has a prompt [B, S]."""
        self._tokens = input_ids[0].tolist() if _is_plain(attention_mask) else None

    def append(self, token_ids: Ids) -> None:
        """Each row has one more token, [R]."""
        if self._tokens is not None:
            self._tokens.append(int(token_ids[0]))

    def select(self, rows: Ids) -> None:
        """Row i becomes what row `rows[i]` was."""
        if len(rows) != 1:
            self._tokens = None


class GrowingDecoder:
    """A decoder whose cache grows with each token.

    A single prompt that begins with what the cache holds already, such as the next turn of a conversation, is not
    computed again: only what is new of it runs.

    Attributes:
        vocab_size: how many tokens there are.
        context_length: the most tokens that a row may hold.
    """

    def __init__(self, cache: GrowingCache, vocab_size: int, context_length: int | None) -> None:
        self.vocab_size = vocab_size
        self.context_length = context_length
        self._cache = cache
        self._mask: Ids = np.zeros((0, 0), np.int64)  # [R, past]
        self._held = HeldTokens()

    def start(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Begin with prompts [B, S] that are padded on the left; logits after the last token of each, [B, V]."""
        known = self._held.take(input_ids, attention_mask)
        if known:
            self._cache.keep(known)
        else:
            self._cache.reset(len(input_ids))
        for start in range(known, input_ids.shape[1], CHUNK):
            self._mask = attention_mask[:, : start + CHUNK]
            logits = self._run(input_ids[:, start : start + CHUNK])
        self._held.begin(input_ids, attention_mask)
        return logits

    def step(self, token_ids: Ids) -> Logits:
        """Append one token to each row, [R]; the logits after it, [R, V]."""
        self._mask = np.concatenate([self._mask, np.ones((len(token_ids), 1), np.int64)], axis=1)
        logits = self._run(token_ids[:, None])
        self._held.append(token_ids)
        return logits

    def select(self, rows: Ids) -> None:
        """Let row i of the cache become what row `rows[i]` was."""
        self._held.select(rows)
        self._cache.select(rows)
        self._mask = self._mask[rows]

    def _run(self, input_ids: Ids) -> Logits:
        return self._cache.run({"input_ids": input_ids, "attention_mask": self._mask})[LOGITS]


class CrossDecoder:
    """The decoder of an encoder-decoder: `read` runs the encoder once, its keys and values serve every step.

    Attributes:
        vocab_size: how many tokens there are.
        context_length: the most tokens that an answer may have, its start token included.
    """

    def __init__(self, encoder: RunsArrays, cache: GrowingCache, vocab_size: int, context_length: int | None) -> None:
        self.vocab_size = vocab_size
        self.context_length = context_length
        self._encoder = encoder
        self._cache = cache
        self._context: dict[str, Array] = {}  # of each text, [B, ...]
        self._texts: Ids = np.zeros(0, np.int64)  # [R]: which text each row answers

    def read(self, input_ids: Ids, attention_mask: Ids) -> None:
        """Run the encoder on texts [B, S] that are padded on the left; answers to them can then be started."""
        order = _tokens_first(attention_mask)
        inputs = {
            "input_ids": np.take_along_axis(input_ids, order, 1),
            "attention_mask": np.take_along_axis(attention_mask, order, 1),
        }
        self._context = {"encoder_attention_mask": inputs["attention_mask"], **self._encoder.run(inputs)}

    def start(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Begin answers with start tokens [B, T], one row for each text that was read; the logits after them."""
        if not attention_mask.all():
            raise InputError("the answers begin with different numbers of tokens: expected the same for all")
        self._cache.reset(len(input_ids))
        self._texts = np.arange(len(input_ids))
        self._cache.hold(self._context)
        return self._run(input_ids)

    def step(self, token_ids: Ids) -> Logits:
        """Append one token to each row, [R]; the logits after it, [R, V]."""
        return self._run(token_ids[:, None])

    def select(self, rows: Ids) -> None:
        """Let row i of the cache, and of what it attends to, become what row `rows[i]` was."""
        self._cache.select(rows)
        texts = self._texts[rows]
        if not np.array_equal(texts, self._texts):  # beams change places with others of the same text most of the time
            self._cache.hold({name: array[texts] for name, array in self._context.items()})
        self._texts = texts

    def _run(self, input_ids: Ids) -> Logits:
        return self._cache.run({"input_ids": input_ids})[LOGITS]


class FixedDecoder:
    """A decoder whose cache is written into in place.

    What a single prompt has in common with what the cache holds is not computed again, as in `GrowingDecoder`.

    Attributes:
        vocab_size: how many tokens there are.
        context_length: the most tokens that a row may hold: the length of the cache, where it has one, or the model's.
    """

    def __init__(self, cache: FixedCache, vocab_size: int, context_length: int | None = None) -> None:
        self.vocab_size = vocab_size
        self.context_length = context_length if cache.capacity is None else cache.capacity
        self._cache = cache
        self._lengths: Ids = np.zeros(0, np.int64)  # [R]: how much of each row is in use
        self._ones: Ids = np.ones((0, 1), np.int64)  # [R, 1]: the mask of a step
        self._held = HeldTokens()

    def start(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Begin with prompts [B, S] that are padded on the left; logits after the last token of each, [B, V]."""
        known = self._held.take(input_ids, attention_mask)
        order = _tokens_first(attention_mask)
        input_ids, attention_mask = (np.take_along_axis(array, order, 1) for array in (input_ids, attention_mask))
        logits = self._read(input_ids, attention_mask, known) if known else None
        if logits is None or np.isnan(logits).any():  # a NaN that is left behind the known tokens would stay one
            self._cache.reset(len(input_ids))
            logits = self._read(input_ids, attention_mask, 0)
        self._held.begin(input_ids, attention_mask)
        return logits

    def step(self, token_ids: Ids) -> Logits:
        """Append one token to each row, [R]; the logits after it, [R, V]."""
        if len(self._ones) != len(token_ids):
            self._ones = np.ones((len(token_ids), 1), np.int64)
        logits = self._run(token_ids[:, None], self._ones)
        self._lengths = self._lengths + 1
        self._held.append(token_ids)
        return logits

    def select(self, rows: Ids) -> None:
        """Let row i of the cache become what row `rows[i]` was."""
        self._held.select(rows)
        self._cache.select(rows, int(self._lengths.max(initial=0)))
        self._lengths = self._lengths[rows]

    def _read(self, input_ids: Ids, attention_mask: Ids, known: int) -> Logits:
        """Prompts [B, S] that are padded on the right, of whose tokens the cache has `known`: the logits after them.

        What is too long for one run is read in parts, and row by row: a kernel that writes in place may take several
        tokens after others for one row alone.
        """
        self._lengths = np.full(len(input_ids), known)
        if input_ids.shape[1] - known <= CHUNK:
            logits = self._run(input_ids[:, known:], attention_mask[:, known:])
            self._lengths = attention_mask.sum(1)
            return logits
        lengths = attention_mask.sum(1)
        self._cache.make_room(int(lengths.max()))
        found = []
        for row, length in enumerate(lengths.tolist()):
            for start in range(known, length, CHUNK):
                ids = input_ids[row : row + 1, start : min(start + CHUNK, length)]
                inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "cache_lengths": np.full(1, start)}
                logits = self._cache.run_row(row, inputs)[LOGITS]
            found.append(logits)
        self._lengths = lengths
        return np.concatenate(found)

    def _run(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        self._cache.make_room(int(self._lengths.max(initial=0)) + input_ids.shape[1])
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "cache_lengths": self._lengths}
        return self._cache.run(inputs)[LOGITS]


def _is_plain(attention_mask: Ids) -> bool:
    """Whether there is one row, without padding."""
    return len(attention_mask) == 1 and bool(attention_mask.all())


def _tokens_first(attention_mask: Ids) -> Ids:
    """For each row [S], its places in the order of tokens before padding."""
    order: Ids = np.argsort(attention_mask == 0, axis=1, kind="stable")
    return order
