"""`TextStream`: token ids in, one at a time; text out as soon as it is certain, up to a stop string.

A token is not a piece of text: a character may be spread over several tokens, a leading space depends on the token
before, and a stop string may end in the middle of a token. Which tokens are chosen is not decided here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]
"""The text of a row of token ids, such as `Tokenizer.decode`; special tokens should give none."""

_REPLACEMENT = "\ufffd"  # what decoders write for bytes that are no character, or not yet


class TextStream:
    """The text of one row of tokens, handed out in pieces that are never taken back.

    `push` holds back a character whose bytes are not all there, and an ending that may turn out to be the beginning of
    a stop string. All pieces together, with that of `finish`, are the text of all tokens at once, cut at the stop
    string that is complete first as the text is read character by character (of two complete at once, the longer), or
    after it with `include_stop_string`. So where the text is cut does not depend on how it was split into tokens.

    Args:
        decode: the text of a row of token ids.
        stop_strings: what ends the text.
        include_stop_string: keep the stop string in the text.
        context: the tokens before, such as the prompt's: the text continues theirs, with the space between.

    Attributes:
        text: the pieces handed out so far.
        stopped_by: the stop string that was met, or None.
    """

    def __init__(
        self,
        decode: Decode,
        stop_strings: Sequence[str] = (),
        *,
        include_stop_string: bool = False,
        context: Sequence[int] = (),
    ) -> None:
        self.text = ""
        self.stopped_by: str | None = None
        self._decode = decode
        self._stop_strings = tuple(stop_strings)
        self._include_stop_string = include_stop_string
        self._window = tuple(context)  # the last tokens whose text was read, and those whose text was not
        self._num_read = len(self._window)  # how many tokens of the window were read
        self._read_text = decode(self._window) if self._window else ""  # the text of those, decoded by themselves
        self._held = ""  # read, but perhaps the beginning of a stop string

    def push(self, token_id: int) -> str:
        """Take the next token; the text that it makes certain, perhaps empty. After a stop string, always empty."""
        if self.stopped_by is not None:
            return ""
        self._window = (*self._window, token_id)
        text = self._decode(self._window)
        if len(text) <= len(self._read_text) or text.endswith(_REPLACEMENT):
            return ""
        piece = text[len(self._read_text) :]
        self._window = self._window[self._num_read :]
        self._num_read = len(self._window)
        self._read_text = self._decode(self._window)
        return self._hand_out(piece, last=False)

    def finish(self) -> str:
        """The text that was held back, now that no token follows; bytes that are no character become U+FFFD."""
        if self.stopped_by is not None or not self._window:
            return self._hand_out("", last=True)
        piece = self._decode(self._window)[len(self._read_text) :]
        self._window, self._num_read, self._read_text = (), 0, ""
        return self._hand_out(piece, last=True)

    def copy(self) -> TextStream:
        """A stream in the same state that goes its own way from here."""
        return copy.copy(self)  # its parts are immutable

    def _hand_out(self, piece: str, last: bool) -> str:
        """Move what is certain out of the held text, after adding `piece` to it."""
        held = self._held + piece  # empty after a stop string
        found = [(held.find(stop) + len(stop), -len(stop), stop) for stop in self._stop_strings if stop in held]
        if found:
            end, _, self.stopped_by = min(found)
            certain = held[:end] if self._include_stop_string else held[: end - len(self.stopped_by)]
            self._held = ""
        else:
            num_held = 0 if last else self._num_possible(held)
            certain, self._held = held[: len(held) - num_held], held[len(held) - num_held :]
        self.text += certain
        return certain

    def _num_possible(self, text: str) -> int:
        """How many characters at the end of the text may be the beginning of a stop string."""
        longest = min(len(text), max((len(stop) - 1 for stop in self._stop_strings), default=0))
        for length in range(longest, 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stop_strings if len(stop) > length):
                return length
        return 0
