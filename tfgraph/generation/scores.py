"""Logits as a decoder gives them, checked: their shape, and that they leave a token to choose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tfgraph.errors import InputError, ShapeError
from tfgraph.generation.decoder import Logits, Scores


def as_scores(logits: Logits, num_rows: int, vocab_size: int) -> Scores:
    """Logits [R, V] as float32, without a copy if they are that already.

    Raises:
        ShapeError: they are of another shape.
    """
    if logits.shape != (num_rows, vocab_size):
        raise ShapeError(
            f"the decoder gave logits of shape {list(logits.shape)}: expected [{num_rows}, {vocab_size}], the rows of "
            "the batch by the vocabulary, for the last token of each row"
        )
    return logits.astype(np.float32, copy=False)


def require_a_choice(largest: NDArray[np.float32], prompts: Sequence[int]) -> None:
    """Refuse rows in which no token can be chosen, by their largest score, [R].

    Raises:
        InputError: a score is NaN or infinite, or the settings rule out every token; `prompts` says whose.
    """
    if np.isfinite(largest).all():
        return
    row = int(np.flatnonzero(~np.isfinite(largest))[0])
    if largest[row] == -np.inf:
        raise InputError(
            f"no token is left for prompt {prompts[row]}: the settings rule out every token of the vocabulary; "
            "lower no_repeat_ngram_size, or min_new_tokens if it knows no token but end tokens"
        )
    raise InputError(
        f"the model's scores for prompt {prompts[row]} hold {largest[row]}: it overflows, or its weights are damaged; "
        "run it in a wider type, such as float32, and check its weights"
    )
