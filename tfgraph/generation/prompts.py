"""Prompts of unequal length as one batch, checked: what is wrong with one is said before the model runs."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfgraph.errors import InputError
from tfgraph.generation.decoder import Ids

Prompts = Sequence[Sequence[int]] | Sequence[NDArray[np.integer]] | NDArray[np.integer]


@dataclass(frozen=True)
class PromptBatch:
    """Prompts padded on the left to the longest of them.

    Attributes:
        input_ids: int64 [B, S].
        attention_mask: int64 [B, S]: 1 at a token, 0 at padding.
        lengths: int64 [B]: the tokens of each prompt.
    """

    input_ids: Ids
    attention_mask: Ids
    lengths: Ids


def make_batch(prompts: Prompts, padding_id: int, vocab_size: int, context_length: int | None) -> PromptBatch:
    """Pad prompts, one row of token ids each, for a model of that vocabulary and context.

    The mask hides the padding; a `padding_id` outside the vocabulary, which some checkpoints have, counts as 0.

    Raises:
        InputError: no prompts; one that is empty, holds something else than ids of the vocabulary, or leaves no room
            for a single token in the context.
    """
    if isinstance(prompts, str | bytes) or not isinstance(prompts, Iterable):
        raise InputError(f"prompts must be a list of rows of token ids, found {type(prompts).__name__}")
    rows = [_checked(index, prompt, vocab_size) for index, prompt in enumerate(prompts)]
    if not rows:
        raise InputError("generation takes at least one prompt, found an empty batch")
    for index, row in enumerate(rows):
        if context_length is not None and len(row) >= context_length:
            raise InputError(
                f"prompts[{index}] has {len(row)} tokens, and the model's context holds {context_length}, generated "
                f"ones included: shorten the prompt to at most {context_length - 1}"
            )
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    shape = (len(rows), int(lengths.max()))
    input_ids = np.full(shape, padding_id if padding_id < vocab_size else 0, dtype=np.int64)
    attention_mask = np.zeros(shape, dtype=np.int64)
    for index, row in enumerate(rows):
        input_ids[index, shape[1] - len(row) :] = row
        attention_mask[index, shape[1] - len(row) :] = 1
    return PromptBatch(input_ids, attention_mask, lengths)


def _checked(index: int, prompt: object, vocab_size: int) -> list[int]:
    """The prompt as a list of integers that are all tokens."""
    row: Any = prompt.tolist() if isinstance(prompt, np.ndarray) else prompt
    try:
        ids = [operator.index(number) for number in row]
    except TypeError as error:
        raise InputError(
            f"prompts[{index}] must be a row of token ids, found {type(prompt).__name__}; for one prompt, [ids]"
        ) from error
    if not ids:
        raise InputError(f"prompts[{index}] has no tokens: give it at least one, such as the model's start token")
    for place, number in enumerate(ids):
        if not 0 <= number < vocab_size:
            raise InputError(
                f"prompts[{index}][{place}] is {number}: expected a token id from 0 to {vocab_size - 1}, the last of "
                "the model's vocabulary"
            )
    return ids
