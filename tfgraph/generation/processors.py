"""What changes the scores of the next token before it is chosen, in greedy decoding, sampling and beam search alike.

Each follows transformers' logits processor of the same name, in the same order. What narrows down the tokens to sample
from (temperature, top-k, top-p, min-p) is in `sampling.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfgraph.generation.decoder import Scores
from tfgraph.generation.history import History
from tfgraph.generation.settings import GenerationSettings

Processor = Callable[[History, Scores], None]
"""Changes the scores of the next token, float32 [R, V], in place."""


@dataclass(frozen=True)
class RepetitionPenalty:
    """Make tokens that a row already holds less likely: a positive score is divided, a negative one multiplied.

    From CTRL (Keskar et al. 2019, section 4.1), with the sign taken care of as transformers does.
    """

    penalty: float

    def __call__(self, history: History, scores: Scores) -> None:
        held = np.take_along_axis(scores, history.token_ids, axis=1)  # [R, L]
        penalised = np.where(held < 0, held * self.penalty, held / self.penalty)
        np.put_along_axis(scores, history.token_ids, penalised, axis=1)


@dataclass(frozen=True)
class NoRepeatNGram:
    """Rule out each token that would complete a run of `size` tokens that the row already holds (Paulus et al. 2017).

    Padding is no part of a row, so a row's result does not depend on how long the other prompts are.
    """

    size: int

    def __call__(self, history: History, scores: Scores) -> None:
        if history.length < self.size:
            return
        windows = np.lib.stride_tricks.sliding_window_view(history.token_ids, self.size, axis=1)  # [R, W, size]
        ending = history.token_ids[:, None, history.length - self.size + 1 :]  # [R, 1, size - 1]
        repeats = (windows[:, :, :-1] == ending).all(axis=2)  # [R, W]
        repeats &= np.arange(windows.shape[1]) >= history.padding[:, None]
        rows, starts = np.nonzero(repeats)
        scores[rows, windows[rows, starts, -1]] = -np.inf


@dataclass(frozen=True)
class MinNewTokens:
    """Rule out the end tokens until `count` tokens are generated."""

    count: int
    eos_token_ids: tuple[int, ...]

    def __call__(self, history: History, scores: Scores) -> None:
        if history.num_generated < self.count:
            scores[:, list(self.eos_token_ids)] = -np.inf


@dataclass(frozen=True)
class ForcedFirstToken:
    """Allow only one token after a prompt of a single token, where a decoder begins."""

    token_id: int

    def __call__(self, history: History, scores: Scores) -> None:
        if history.length == 1:
            _force(scores, np.array([True]), self.token_id)


@dataclass(frozen=True)
class ForcedLastToken:
    """Allow only one token at the last place that a row has left."""

    token_id: int

    def __call__(self, history: History, scores: Scores) -> None:
        _force(scores, history.limits == history.num_generated + 1, self.token_id)


def make_processors(settings: GenerationSettings) -> tuple[Processor, ...]:
    """The processors that the settings ask for, in transformers' order."""
    processors: list[Processor] = []
    if settings.repetition_penalty != 1:
        processors.append(RepetitionPenalty(settings.repetition_penalty))
    if settings.no_repeat_ngram_size:
        processors.append(NoRepeatNGram(settings.no_repeat_ngram_size))
    if settings.min_new_tokens and settings.eos_token_ids:
        processors.append(MinNewTokens(settings.min_new_tokens, settings.eos_token_ids))
    if settings.forced_bos_token_id is not None:
        processors.append(ForcedFirstToken(settings.forced_bos_token_id))
    if settings.forced_eos_token_id is not None:
        processors.append(ForcedLastToken(settings.forced_eos_token_id))
    return tuple(processors)


def process(processors: tuple[Processor, ...], history: History, scores: Scores) -> Scores:
    """The scores after all processors, float32 [R, V]; those given are left as they are."""
    if not processors:
        return scores
    changed = scores.copy()
    for processor in processors:
        processor(history, changed)
    return changed


def _force(scores: Scores, rows: NDArray[np.bool_], token_id: int) -> None:
    """In the rows where `rows`, [R] or [1], is true, leave the token as the only one that can be chosen."""
    np.copyto(scores, np.float32(-np.inf), where=rows[:, None])
    np.copyto(scores[:, token_id], np.float32(0), where=rows)
