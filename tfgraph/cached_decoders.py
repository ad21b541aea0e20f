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
        self._held: list[int] | None = None  # the tokens of the cache, if it has one row without padding

    def start(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Begin with prompts [B, S] that are padded on the left; logits after the last token of each, [B, V]."""
        known = self._known(input_ids, attention_mask)
        if known:
            self._cache.keep(known)
        else:
            self._cache.reset(len(input_ids))
        self._mask = attention_mask
        logits = self._run(input_ids[:, known:])
        single = len(input_ids) == 1 and bool(attention_mask.all())
        self._held = input_ids[0].tolist() if single else None
        return logits

    def step(self, token_ids: Ids) -> Logits:
        """Append one token to each row, [R]; the logits after it, [R, V]."""
        self._mask = np.concatenate([self._mask, np.ones((len(token_ids), 1), np.int64)], axis=1)
        logits = self._run(token_ids[:, None])
        if self._held is not None:
            self._held.append(int(token_ids[0]))
        return logits

    def select(self, rows: Ids) -> None:
        """Let row i of the cache become what row `rows[i]` was."""
        self._cache.select(rows)
        self._mask = self._mask[rows]
        if self._held is not None and len(rows) != 1:
            self._held = None

    def _run(self, input_ids: Ids) -> Logits:
        try:
            inputs = {"input_ids": np.ascontiguousarray(input_ids), "attention_mask": np.ascontiguousarray(self._mask)}
            return self._cache.run(inputs)[LOGITS]
        except BaseException:
            self._held = None  # what the cache holds now is not known
            raise

    def _known(self, input_ids: Ids, attention_mask: Ids) -> int:
        """How many tokens of the prompt the cache holds; at least one has to run, to give logits."""
        if self._held is None or len(input_ids) != 1 or not attention_mask.all():
            return 0
        longest = min(len(self._held), input_ids.shape[1] - 1)
        differs = np.flatnonzero(np.asarray(self._held[:longest]) != input_ids[0, :longest])
        return int(differs[0]) if differs.size else longest


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
        self._context: dict[str, Array] = {}

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
        return self._run(input_ids)

    def step(self, token_ids: Ids) -> Logits:
        """Append one token to each row, [R]; the logits after it, [R, V]."""
        return self._run(token_ids[:, None])

    def select(self, rows: Ids) -> None:
        """Let row i of the cache, and of what it attends to, become what row `rows[i]` was."""
        self._cache.select(rows)
        self._context = {name: np.ascontiguousarray(array[rows]) for name, array in self._context.items()}

    def _run(self, input_ids: Ids) -> Logits:
        return self._cache.run({"input_ids": input_ids, **self._context})[LOGITS]


class FixedDecoder:
    """A decoder whose cache has a fixed length and is written into in place.

    Attributes:
        vocab_size: how many tokens there are.
        context_length: the most tokens that a row may hold: the length of the cache, if the model takes no fewer.
    """

    def __init__(self, cache: FixedCache, vocab_size: int, context_length: int | None) -> None:
        self.vocab_size = vocab_size
        self.context_length = cache.capacity if context_length is None else min(cache.capacity, context_length)
        self._cache = cache
        self._lengths: Ids = np.zeros(0, np.int64)  # [R]: how much of each row is in use

    def start(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Begin with prompts [B, S] that are padded on the left; logits after the last token of each, [B, V]."""
        if input_ids.shape[1] > self._cache.capacity:
            raise InputError(
                f"the longest prompt has {input_ids.shape[1]} tokens, and the model's cache holds "
                f"{self._cache.capacity}: shorten the prompt, or export the model with a longer cache"
            )
        order = _tokens_first(attention_mask)
        self._cache.reset(len(input_ids))
        self._lengths = np.zeros(len(input_ids), np.int64)
        return self._run(np.take_along_axis(input_ids, order, 1), np.take_along_axis(attention_mask, order, 1))

    def step(self, token_ids: Ids) -> Logits:
        """Append one token to each row, [R]; the logits after it, [R, V]."""
        return self._run(token_ids[:, None], np.ones((len(token_ids), 1), np.int64))

    def select(self, rows: Ids) -> None:
        """Let row i of the cache become what row `rows[i]` was."""
        self._cache.select(rows)
        self._lengths = self._lengths[rows]

    def _run(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "cache_lengths": self._lengths}
        logits = self._cache.run(inputs)[LOGITS]
        self._lengths = self._lengths + attention_mask.sum(1)
        return logits


def _tokens_first(attention_mask: Ids) -> Ids:
    """For each row [S], its places in the order of tokens before padding."""
    order: Ids = np.argsort(attention_mask == 0, axis=1, kind="stable")
    return order
