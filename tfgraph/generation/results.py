"""What generation gives back: results, the events of a stream, log-probabilities. Plain data, nothing computed here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["eos", "stop", "length", "cancelled"]
"""Why a result ends: an end token, a stop string, `max_new_tokens` or the end of the model's context, or the caller's
wish."""


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """The log-probability of a generated token, and the likeliest tokens at its place with theirs, best first.

    They are the log-softmax of what the model gave, before penalties, temperature and filters changed it.
    """

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Generation:
    """One result.

    Attributes:
        prompt: which prompt it answers, from 0.
        token_ids: the generated tokens without the prompt; the end token, if there is one, included.
        text: their text, cut before the stop string; None if the caller gave no `decode`.
        finish_reason: why it ends.
        logprobs: one for each token, if the settings ask for them.
        score: beam search's: the log-probability divided by the length to the power of `length_penalty`; else None.
    """

    prompt: int
    token_ids: tuple[int, ...]
    text: str | None
    finish_reason: FinishReason
    logprobs: tuple[TokenLogprobs, ...] | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class GeneratedToken:
    """A token of a stream, as soon as it is chosen.

    Attributes:
        result: which result it belongs to, from 0; with several results for each prompt, those of a prompt follow
            each other.
        token_id: the token.
        text: what it adds to the text that is safe to show: empty while a character or a stop string may be
            incomplete, and always if the caller gave no `decode`.
        finish_reason: set on the last token of a result.
    """

    result: int
    token_id: int
    text: str
    finish_reason: FinishReason | None
