"""Each processor gives what transformers' processor of the same name gives, on scores and histories of any kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)

from tfgraph.generation.history import History
from tfgraph.generation.processors import (
    ForcedFirstToken,
    ForcedLastToken,
    MinNewTokens,
    NoRepeatNGram,
    RepetitionPenalty,
    make_processors,
    process,
)
from tfgraph.generation.prompts import make_batch
from tfgraph.generation.settings import GenerationSettings

VOCAB = 7
PROMPTS = st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=6), min_size=1, max_size=3)
ANSWERS = st.lists(st.integers(0, VOCAB - 1), max_size=8)


def history_of(prompts, answer=(), limit=9):
    """The history of these prompts after each got the tokens of `answer`, moved on by the number of its row."""
    batch = make_batch(prompts, 0, VOCAB, None)
    history = History(batch, np.full(len(prompts), limit))
    for token in answer:
        history.append((token + np.arange(len(prompts))) % VOCAB)
    return history


def scores_for(history, seed=0):
    return np.random.default_rng(seed).normal(size=(len(history.token_ids), VOCAB)).astype(np.float32)


def applied(processor, history):
    scores = scores_for(history)
    processor(history, scores)
    return scores


def theirs(processor, ids, scores):
    return processor(torch.from_numpy(np.ascontiguousarray(ids)), torch.from_numpy(scores.copy())).numpy()


@given(PROMPTS, ANSWERS, st.sampled_from([0.5, 0.9, 1.1, 3.0]))
def test_repetition_penalty(prompts, answer, penalty):
    history = history_of(prompts, answer)
    scores = scores_for(history)
    processor = RepetitionPenaltyLogitsProcessor(penalty, prompt_ignore_length=torch.from_numpy(history.padding))
    expected = theirs(processor, history.token_ids, scores)
    assert np.array_equal(applied(RepetitionPenalty(penalty), history), expected)


@settings(max_examples=200)
@given(PROMPTS, ANSWERS, st.integers(1, 4))
def test_no_repeat_ngram(prompts, answer, size):
    history = history_of(prompts, answer)
    scores = scores_for(history)
    found = applied(NoRepeatNGram(size), history)
    for row, padding in enumerate(history.padding):  # one row at a time: to transformers, padding is text
        expected = theirs(NoRepeatNGramLogitsProcessor(size), history.token_ids[row : row + 1, padding:], scores[[row]])
        assert np.array_equal(found[row], expected[0])


@given(ANSWERS, st.integers(1, 5), st.sampled_from([[3], [1, 6]]))
def test_min_new_tokens(answer, count, ends):
    history = history_of([[2, 4], [5]], answer)
    expected = theirs(MinNewTokensLengthLogitsProcessor(2, count, ends), history.token_ids, scores_for(history))
    assert np.array_equal(applied(MinNewTokens(count, tuple(ends)), history), expected)


@pytest.mark.parametrize("prompts", [[[2], [3]], [[2, 4], [3]]])
@pytest.mark.parametrize("answer", [[], [1]])
def test_forced_first_token(prompts, answer):
    history = history_of(prompts, answer)
    expected = theirs(ForcedBOSTokenLogitsProcessor(5), history.token_ids, scores_for(history))
    assert np.array_equal(applied(ForcedFirstToken(5), history), expected)


@pytest.mark.parametrize("num_generated", range(4))
def test_forced_last_token(num_generated):
    history = history_of([[2, 4], [3]], [1] * num_generated, limit=3)
    processor = ForcedEOSTokenLogitsProcessor(2 + 3, 5)
    expected = theirs(processor, history.token_ids, scores_for(history))
    assert np.array_equal(applied(ForcedLastToken(5), history), expected)


def test_the_last_token_is_forced_where_each_row_ends():
    history = History(make_batch([[2, 4], [3]], 0, VOCAB, None), np.array([1, 2]))
    scores = applied(ForcedLastToken(5), history)
    assert np.isfinite(scores[0]).nonzero()[0].tolist() == [5]
    assert np.isfinite(scores[1]).all()


@given(st.data())
def test_a_history_follows_its_rows(data):
    history = history_of([[1, 2], [3], [4, 5, 6]])
    rows = [[1, 2], [3], [4, 5, 6]]
    for _ in range(data.draw(st.integers(0, 6))):
        chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=4))
        tokens = data.draw(st.lists(st.integers(0, VOCAB - 1), min_size=len(chosen), max_size=len(chosen)))
        history.select(np.array(chosen))
        history.append(np.array(tokens))
        rows = [[*rows[row], token] for row, token in zip(chosen, tokens, strict=True)]
    found = [ids[padding:].tolist() for ids, padding in zip(history.token_ids, history.padding, strict=True)]
    assert found == rows
    assert history.generated.shape == (len(rows), history.num_generated)


def test_the_order_is_that_of_transformers():
    everything = GenerationSettings(
        repetition_penalty=2, no_repeat_ngram_size=2, min_new_tokens=1, eos_token_id=0, forced_bos_token_id=1,
        forced_eos_token_id=2,
    )  # fmt: skip
    kinds = [type(processor) for processor in make_processors(everything)]
    assert kinds == [RepetitionPenalty, NoRepeatNGram, MinNewTokens, ForcedFirstToken, ForcedLastToken]
    assert (
        make_processors(GenerationSettings(min_new_tokens=3)) == ()
    )  # without an end token there is nothing to rule out


def test_scores_are_copied_before_they_are_changed():
    history = history_of([[1, 2]])
    scores = scores_for(history)
    kept = scores.copy()
    assert process((), history, scores) is scores
    assert not np.array_equal(process((RepetitionPenalty(2.0),), history, scores), kept)
    assert np.array_equal(scores, kept)
