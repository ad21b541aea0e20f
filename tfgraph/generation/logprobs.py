"""Log-probabilities: log-softmax, and the record of a chosen token with the likeliest ones beside it."""

from __future__ import annotations

import numpy as np

from tfgraph.generation.decoder import Ids
from tfgraph.generation.processors import Scores
from tfgraph.generation.results import TokenLogprobs


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


def likeliest(scores: Scores, count: int) -> Ids:
    """The places of the `count` largest scores of [V], largest first, the lower place first if tied.

    At most as many as there are scores; those of minus infinity, which stand for what is ruled out, are left out.
    """
    count = min(count, scores.size)
    if count == 0:
        return np.empty(0, dtype=np.int64)
    smallest = np.partition(scores, scores.size - count)[scores.size - count]
    places = np.flatnonzero(scores >= smallest if smallest > -np.inf else scores > smallest)  # ascending
    return places[np.argsort(-scores[places], kind="stable")][:count]
