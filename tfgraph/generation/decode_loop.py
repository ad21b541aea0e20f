"""Greedy decoding and sampling: one token for each row and step, until every row has ended.

Rows leave the batch as soon as they end, so that no step is spent on them and none runs past the model's context.
Beam search is in `beam_search.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import numpy as np

from tfgraph.generation.decoder import Decoder, Ids, Scores
from tfgraph.generation.history import History
from tfgraph.generation.logprobs import log_softmax, token_logprobs
from tfgraph.generation.processors import make_processors, process
from tfgraph.generation.prompts import PromptBatch
from tfgraph.generation.results import FinishReason, GeneratedToken, Generation, TokenLogprobs
from tfgraph.generation.sampling import distribution, draw, make_generators
from tfgraph.generation.scores import as_scores, require_a_choice
from tfgraph.generation.settings import GenerationSettings
from tfgraph.generation.stopping import Stopping, room
from tfgraph.generation.text_stream import TextStream


@dataclass
class _Row:
    """One answer while it grows."""

    result: int
    prompt: int
    limit: int
    stream: TextStream | None
    generator: np.random.Generator
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    finish_reason: FinishReason | None = None


def decode_tokens(
    decoder: Decoder,
    batch: PromptBatch,
    settings: GenerationSettings,
    stopping: Stopping,
    cancelled: Callable[[], bool],
) -> Generator[GeneratedToken, None, list[Generation]]:
    """Generate token by token, with settings of one beam: yields each token, returns the results, prompt by prompt.

    Raises:
        InputError: the model gave NaN, or the settings rule out every token.
        ShapeError: the decoder gave logits of another shape than rows and vocabulary.
    """
    rows = _make_rows(decoder, batch, settings, stopping)
    processors = make_processors(settings)
    live = rows
    repeated = np.repeat(np.arange(len(batch.lengths)), settings.num_return_sequences)  # [R]
    history = History(batch, np.array([row.limit for row in rows[:: settings.num_return_sequences]]))
    logits = as_scores(decoder.start(batch.input_ids, batch.attention_mask), len(batch.lengths), decoder.vocab_size)
    if settings.num_return_sequences > 1:
        logits = logits[repeated]
        history.select(repeated)
        decoder.select(repeated)
    while True:
        token_ids = _choose(process(processors, history, logits), live, settings)
        if settings.logprobs is not None:
            for row, token_id, logprobs in zip(live, token_ids.tolist(), log_softmax(logits), strict=True):
                row.logprobs.append(token_logprobs(logprobs, token_id, settings.logprobs))
        for row, token_id in zip(live, token_ids.tolist(), strict=True):
            yield _take(row, token_id, stopping)
        kept = np.array([index for index, row in enumerate(live) if row.finish_reason is None], dtype=np.int64)
        if kept.size == 0 or cancelled():
            return [_result(row, settings) for row in rows]
        history.append(token_ids)
        if kept.size < len(live):
            live, token_ids = [live[index] for index in kept], token_ids[kept]
            history.select(kept)
            decoder.select(kept)
        logits = as_scores(decoder.step(token_ids), len(live), decoder.vocab_size)


def _make_rows(decoder: Decoder, batch: PromptBatch, settings: GenerationSettings, stopping: Stopping) -> list[_Row]:
    """The answers, still empty, those to a prompt after each other."""
    limits = room(batch, settings, decoder.context_length).tolist()
    generators = make_generators(settings.seed, len(limits), settings.num_return_sequences)
    rows = []
    for result, generator in enumerate(generators):
        prompt = result // settings.num_return_sequences
        rows.append(_Row(result, prompt, limits[prompt], stopping.make_stream(batch, prompt), generator))
    return rows


def _choose(scores: Scores, live: list[_Row], settings: GenerationSettings) -> Ids:
    """The next token of each row, int64 [R]: the likeliest, the lower id if tied, or a draw."""
    likeliest: Ids = scores.argmax(axis=1)
    require_a_choice(scores[np.arange(len(live)), likeliest], [row.prompt for row in live])
    if settings.is_greedy:
        return likeliest
    return np.array(
        [draw(*distribution(scores[index], settings), row.generator) for index, row in enumerate(live)], dtype=np.int64
    )


def _take(row: _Row, token_id: int, stopping: Stopping) -> GeneratedToken:
    """Add a token to an answer, and find whether it ends there."""
    row.token_ids.append(token_id)
    text = stopping.push(row.stream, token_id)
    row.finish_reason = stopping.reason(row.stream, token_id, len(row.token_ids), row.limit)
    if row.finish_reason is not None and row.stream is not None:
        text += row.stream.finish()
    return GeneratedToken(row.result, token_id, text, row.finish_reason)


def _result(row: _Row, settings: GenerationSettings) -> Generation:
    """The answer of a row that has ended."""
    if row.stream is not None:
        row.stream.finish()  # of a row that was cancelled, the rest
    return Generation(
        prompt=row.prompt,
        token_ids=tuple(row.token_ids),
        text=None if row.stream is None else row.stream.text,
        finish_reason=row.finish_reason or "cancelled",
        logprobs=None if settings.logprobs is None else tuple(row.logprobs),
    )
