"""`Turns`: one model with one cache, that several calls use after each other, each from its beginning to its end.

A stream that is left half-way for another call, and taken up again, would go on with the other's rows. What the cache
is like is in `cached_decoders.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from tfgraph.errors import InputError
from tfgraph.generation.decoder import Decoder, Ids, Logits

_ADVICE = "give each a Generator of its own, made of the same opened model, whose weights they then share"


class Turns:
    """A decoder that belongs to the call that started it last."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self._latest: Turn | None = None
        self._running = Lock()

    @contextmanager
    def use(self, turn: Turn, *, begins: bool = False) -> Iterator[Decoder]:
        """The decoder, for a call; it belongs to one that `begins` from then on.

        Raises:
            InputError: a later call has taken it over, or another thread is using it.
        """
        if not self._running.acquire(blocking=False):
            raise InputError(f"a Generator is used by two threads at once: {_ADVICE}")
        try:
            if begins:
                self._latest = turn
            elif self._latest is not turn:
                raise InputError(
                    "a stream cannot go on after a later call of its Generator took over the cache: finish it first, "
                    f"or {_ADVICE}"
                )
            yield self.decoder
        finally:
            self._running.release()


class Turn:
    """The decoder during one call; see `Decoder`.

    Args:
        turns: whose turn it is.
        prepare: what is done before the start.
    """

    def __init__(self, turns: Turns, prepare: Callable[[], None] = lambda: None) -> None:
        self._turns = turns
        self._prepare = prepare

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return self._turns.decoder.vocab_size

    @property
    def context_length(self) -> int | None:
        """The most tokens that a row may hold."""
        return self._turns.decoder.context_length

    def start(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Begin afresh with these prompts: the decoder belongs to this call from here on.

        Raises:
            InputError: another thread is using the decoder.
        """
        with self._turns.use(self, begins=True) as decoder:
            self._prepare()
            return decoder.start(input_ids, attention_mask)

    def step(self, token_ids: Ids) -> Logits:
        """Append one token to each row.

        Raises:
            InputError: a later call has taken over the decoder, or another thread is using it.
        """
        with self._turns.use(self) as decoder:
            return decoder.step(token_ids)

    def select(self, rows: Ids) -> None:
        """Let row i of the cache become what row `rows[i]` was.

        Raises:
            InputError: a later call has taken over the decoder, or another thread is using it.
        """
        with self._turns.use(self) as decoder:
            decoder.select(rows)
