"""Beam search: for each prompt, the likeliest answers that keeping `num_beams` hypotheses at a time finds.

The candidates of a step, the scores of finished beams and the conditions to stop are those of transformers'
`generate(num_beams=n, do_sample=False)`, so that the same scores give the same tokens. Prompts whose search has ended
leave the batch.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from tfgraph.generation.decoder import Decoder, Ids, Scores
from tfgraph.generation.history import History
from tfgraph.generation.logprobs import log_softmax
from tfgraph.generation.processors import make_processors, process
from tfgraph.generation.prompts import PromptBatch
from tfgraph.generation.results import FinishReason, Generation
from tfgraph.generation.scores import as_scores, require_a_choice
from tfgraph.generation.selection import likeliest
from tfgraph.generation.settings import GenerationSettings
from tfgraph.generation.stopping import Stopping, room
from tfgraph.generation.text_stream import TextStream


@dataclass(frozen=True)
class _Finished:
    """An answer that has ended, with its score after the length penalty."""

    score: float
    token_ids: tuple[int, ...]
    reason: FinishReason


@dataclass(frozen=True)
class _Beam:
    """A hypothesis that goes on: which row it continues with which token, and its log-probability."""

    row: int
    token_id: int
    score: float
    stream: TextStream | None


@dataclass
class _Search:
    """The search for one prompt: the best finished answers so far, best first, and the beams that go on."""

    prompt: int
    limit: int
    beams: list[_Beam]
    finished: list[_Finished] = field(default_factory=list)

    def finish(self, answer: _Finished, num_beams: int) -> None:
        """Keep a finished answer if it is among the best; of equals, the earlier."""
        bisect.insort_right(self.finished, answer, key=lambda each: -each.score)
        del self.finished[num_beams:]

    def has_ended(self, num_generated: int, settings: GenerationSettings) -> bool:
        """Whether no beam can, or by `early_stopping` may, make the finished answers better."""
        if not self.beams or len(self.finished) < settings.num_beams:
            return not self.beams
        if settings.early_stopping is True:
            return True
        best_length = num_generated
        if settings.early_stopping == "never" and settings.length_penalty > 0:
            best_length = self.limit
        return normalise(self.beams[0].score, best_length, settings.length_penalty) <= self.finished[-1].score


def normalise(score: float, length: int, length_penalty: float) -> float:
    """The score of an answer: its log-probability divided by its number of tokens to the power of `length_penalty`.

    The penalty of Wu et al. 2016 (section 7) in the simpler form that transformers gives it.
    """
    with np.errstate(over="ignore"):  # an extreme penalty makes every score 0
        return float(np.float64(score) / np.float64(length) ** length_penalty)


def beam_search(
    decoder: Decoder,
    batch: PromptBatch,
    settings: GenerationSettings,
    stopping: Stopping,
    cancelled: Callable[[], bool],
) -> list[Generation]:
    """The best answers to each prompt, best first, prompt by prompt.

    Fewer than `num_return_sequences` are returned for a prompt only where the settings and the vocabulary allow fewer.
    If cancelled, the beams that still run count as answers.

    Raises:
        InputError: the model gave NaN, or the settings rule out every token.
        ShapeError: the decoder gave logits of another shape than rows and vocabulary.
    """
    limits = room(batch, settings, decoder.context_length)
    history = History(batch, limits)
    processors = make_processors(settings)
    searches = [
        _Search(prompt, limit, [_Beam(prompt, -1, 0.0, stopping.make_stream(batch, prompt))])
        for prompt, limit in enumerate(limits.tolist())
    ]
    running = searches
    logits = as_scores(decoder.start(batch.input_ids, batch.attention_mask), len(searches), decoder.vocab_size)
    while True:
        width = len(history.token_ids) // len(running)  # beams of each prompt: at first only one
        require_a_choice(logits.max(axis=1), np.repeat([search.prompt for search in running], width).tolist())
        scores = process(processors, history, log_softmax(logits)).reshape(len(running), width, -1)
        for index, search in enumerate(running):
            _advance(search, scores[index], index * width, history, settings, stopping)
        num_generated = history.num_generated + 1
        if cancelled():
            for search in running:
                _cancel(search, history, settings)
        running = [search for search in running if not search.has_ended(num_generated, settings)]
        if not running:
            return [result for search in searches for result in _results(search, batch, settings, stopping)]
        rows, token_ids = _next_rows(running, settings.num_beams)
        if len(rows) != len(history.token_ids) or (rows != np.arange(len(rows))).any():
            history.select(rows)
            decoder.select(rows)
        history.append(token_ids)
        logits = as_scores(decoder.step(token_ids), len(rows), decoder.vocab_size)


def _advance(
    search: _Search, scores: Scores, first_row: int, history: History, settings: GenerationSettings, stopping: Stopping
) -> None:
    """Replace the beams of a search by their best continuations, and keep those that have ended.

    Only the best `num_beams` candidates may end there; enough others are looked at for `num_beams` to go on.

    Args:
        search: its beams are those of the rows from `first_row` on; rows beyond them are padding.
        scores: float32 [W, V]: the scores of the next token in each of these rows.
    """
    so_far = np.array([beam.score for beam in search.beams], dtype=np.float32)
    totals = (scores[: len(so_far)] + so_far[:, None]).reshape(-1)
    best = likeliest(totals, settings.num_beams * max(2, 1 + len(settings.eos_token_ids)))
    if best.size == 0 and not search.finished:
        require_a_choice(np.array([-np.inf], dtype=np.float32), [search.prompt])
    running: list[_Beam] = []
    for rank, (parent, token_id) in enumerate(zip(*divmod(best, scores.shape[1]), strict=True)):
        beam = _Beam(first_row + int(parent), int(token_id), float(totals[best[rank]]), search.beams[parent].stream)
        if settings.stops and beam.stream is not None:
            beam = replace(beam, stream=beam.stream.copy())
            stopping.push(beam.stream, beam.token_id)
        reason = stopping.reason(beam.stream, beam.token_id, history.num_generated + 1, search.limit)
        if reason is None and len(running) < settings.num_beams:
            running.append(beam)
        elif reason is not None and rank < settings.num_beams:
            search.finish(_ended(beam, reason, history, settings), settings.num_beams)
    search.beams = running


def _ended(beam: _Beam, reason: FinishReason, history: History, settings: GenerationSettings) -> _Finished:
    """The answer that ends with the beam's token."""
    token_ids = (*history.generated[beam.row].tolist(), beam.token_id)
    return _Finished(normalise(beam.score, len(token_ids), settings.length_penalty), token_ids, reason)


def _cancel(search: _Search, history: History, settings: GenerationSettings) -> None:
    """Count the beams that go on as answers, and end the search."""
    for beam in search.beams:
        search.finish(_ended(beam, "cancelled", history, settings), settings.num_beams)
    search.beams = []


def _next_rows(running: list[_Search], num_beams: int) -> tuple[Ids, Ids]:
    """Which rows go on and with which tokens: `num_beams` for each search, the last repeated if there are fewer."""
    beams = [
        beam for search in running for beam in [*search.beams, *[search.beams[-1]] * (num_beams - len(search.beams))]
    ]
    rows = np.array([beam.row for beam in beams], dtype=np.int64)
    return rows, np.array([beam.token_id for beam in beams], dtype=np.int64)


def _results(search: _Search, batch: PromptBatch, settings: GenerationSettings, stopping: Stopping) -> list[Generation]:
    """The best answers to a prompt, best first."""
    return [
        Generation(
            prompt=search.prompt,
            token_ids=answer.token_ids,
            text=stopping.text(batch, search.prompt, answer.token_ids),
            finish_reason=answer.reason,
            score=answer.score,
        )
        for answer in search.finished[: settings.num_return_sequences]
    ]
