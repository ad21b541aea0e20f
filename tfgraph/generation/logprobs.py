"""Log-probabilities: log-softmax, and the record of a chosen token with the likeliest ones beside it."""

from __future__ import annotations

import numpy as np

from tfgraph.generation.decoder import Scores
from tfgraph.generation.results import TokenLogprobs
from tfgraph.generation.selection import likeliest


def log_softmax(scores: Scores) -> Scores:
    """The logarithm of the softmax over the last axis, float32; each row has a finite largest score."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))  # type: ignore[no-any-return]


def token_logprobs(logprobs: Scores, token_id: int, count: int) -> TokenLogprobs:
    """The record of a token: its log-probability and the `count` likeliest tokens, the lower id first if tied.

    Args:
        logprobs: float32 [V].
        token_id: the token that was chosen.
        count: how many of the likeliest, at most.
    """
    top = likeliest(logprobs, count)
    return TokenLogprobs(token_id, float(logprobs[token_id]), tuple((int(each), float(logprobs[each])) for each in top))
