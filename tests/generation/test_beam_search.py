"""What beam search finds: against searching everything, and where transformers is no oracle."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.generation.bigram_decoder import BigramDecoder, chain
from tests.generation.test_engine import spell
from tfgraph.generation import GenerationSettings, generate
from tfgraph.generation.beam_search import normalise

END = 0


def every_answer(table, start, length, length_penalty):
    """All answers of at most `length` tokens with their scores, the best first."""
    logprobs = table - np.log(np.exp(table).sum(1, keepdims=True))
    found = {}
    for tokens in itertools.product(range(len(table)), repeat=length):
        answer = tokens[: tokens.index(END) + 1] if END in tokens else tokens
        total = sum(logprobs[before, token] for before, token in itertools.pairwise((start, *answer)))
        found[answer] = total / len(answer) ** length_penalty
    return sorted(found.items(), key=lambda item: -item[1])


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 1.0, 2.0]))
def test_with_enough_beams_it_finds_the_best_of_all(seed, length_penalty):
    table = np.random.default_rng(seed).normal(size=(4, 4)) * 2
    expected = every_answer(table, 1, 3, length_penalty)
    asked = GenerationSettings(
        num_beams=40, num_return_sequences=8, max_new_tokens=3, eos_token_id=END, length_penalty=length_penalty,
        early_stopping="never",
    )  # fmt: skip
    found = generate(BigramDecoder(table), [[1]], asked)
    assert [result.score for result in found] == pytest.approx([score for _, score in expected[:8]], abs=1e-4)
    assert found[0].token_ids == expected[0][0]


@pytest.mark.parametrize("length_penalty", [0.0, -0.25, -0.5])
def test_where_length_is_no_merit_the_present_length_flatters_a_beam_most(length_penalty):
    """So "never" asks the same of the running beams as False does."""
    for seed in range(100):
        table = np.random.default_rng(seed).normal(size=(4, 4)) * 3
        asked = GenerationSettings(
            num_beams=2, num_return_sequences=2, max_new_tokens=12, eos_token_id=END, length_penalty=length_penalty
        )
        never = replace(asked, early_stopping="never")
        assert generate(BigramDecoder(table), [[1]], never) == generate(BigramDecoder(table), [[1]], asked)


def test_prompts_that_have_ended_leave_the_batch():
    table = chain(1, 2, 3, 4, 5, 6, 7, 8, 9)
    table[:8, [0, 9]] = -20.0
    table[8, 0] = 19.0
    decoder = BigramDecoder(table)
    asked = GenerationSettings(num_beams=2, eos_token_id=[0, 9], early_stopping=True, max_new_tokens=30)
    results = generate(decoder, [[8], [1]], asked)
    alone = generate(BigramDecoder(table), [[1]], asked)
    assert [result.token_ids for result in results] == [(9,), (2, 3, 4, 5, 6, 7, 8, 9)]
    assert results[1].token_ids == alone[0].token_ids
    assert [rows for call, rows in decoder.sizes if call != "select"] == [2, *[2] * 7]


def test_a_prompt_does_not_depend_on_the_others(rng):
    table = rng.normal(size=(12, 12)) * 2
    asked = GenerationSettings(num_beams=3, num_return_sequences=3, eos_token_id=END, max_new_tokens=8)
    together = generate(BigramDecoder(table), [[1], [5, 2], [7, 7, 7]], asked)
    alone = [
        result for prompt in ([1], [5, 2], [7, 7, 7]) for result in generate(BigramDecoder(table), [prompt], asked)
    ]
    assert [result.token_ids for result in together] == [result.token_ids for result in alone]
    assert [result.score for result in together] == pytest.approx([result.score for result in alone])


def test_stop_strings_end_beams():
    table = chain(0, 1, 2, 3, 4)
    table[1, 5] = 19.0
    results = generate(
        BigramDecoder(table),
        [[0]],
        GenerationSettings(num_beams=2, num_return_sequences=2, stop_strings=["cd"], max_new_tokens=4),
        decode=spell,
    )
    stopped = [result for result in results if result.finish_reason == "stop"]
    assert [(result.token_ids, result.text) for result in stopped] == [((1, 2, 3), "b")]
    assert all("cd" not in result.text for result in results)


def test_the_context_bounds_each_prompt_by_its_own_length():
    asked = GenerationSettings(num_beams=2)
    results = generate(BigramDecoder(chain(*range(10)), 6), [[0], [0, 1, 2]], asked)
    assert [result.token_ids for result in results] == [(1, 2, 3, 4, 5), (3, 4, 5)]


def test_fewer_answers_than_asked_for_where_there_are_no_more():
    asked = GenerationSettings(num_beams=4, num_return_sequences=4, max_new_tokens=1, forced_eos_token_id=2)
    results = generate(BigramDecoder(chain(0, 1)), [[0], [3]], asked)
    assert [(result.prompt, result.token_ids) for result in results] == [(0, (2,)), (1, (2,))]


def test_more_beams_than_tokens():
    asked = GenerationSettings(num_beams=6, num_return_sequences=6, max_new_tokens=2)
    results = generate(BigramDecoder(np.zeros((3, 3))), [[0]], asked)
    assert len({result.token_ids for result in results}) == 6


@pytest.mark.parametrize(
    "score, length, length_penalty, expected", [(-6, 3, 1, -2), (-6, 3, 0, -6), (-6, 2, -1, -12), (-6, 9, 1e6, 0)]
)
def test_length_penalty(score, length, length_penalty, expected):
    assert normalise(score, length, length_penalty) == expected
