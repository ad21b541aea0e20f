"""Sampling: the filters are transformers', the draws have the right frequencies, and seeds do what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from tests.generation.bigram_decoder import BigramDecoder
from tfgraph.generation import GenerationSettings, generate
from tfgraph.generation.sampling import distribution, draw, make_generators, nucleus_threshold

SAMPLING = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([0.3, 1.0, 2.5]),
        "top_k": st.sampled_from([0, 1, 3, 10, 1000]),
        "top_p": st.sampled_from([0.0, 0.2, 0.63, 0.95, 1.0]),
        "min_p": st.sampled_from([0.0, 0.07, 0.4, 1.0]),
    }
)


def probabilities(scores, **chosen):
    """What `distribution` says about every token of the vocabulary."""
    token_ids, weights = distribution(scores, GenerationSettings(do_sample=True, **chosen))
    assert (np.diff(token_ids) > 0).all() and (weights > 0).all()
    dense = np.zeros(scores.size)
    dense[token_ids] = weights / weights.sum()
    return dense


def expected_probabilities(scores, temperature, top_k, top_p, min_p):
    """The same by transformers' warpers, in the order of its `generate`."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    warpers.append(MinPLogitsWarper(min_p))
    wide = torch.from_numpy(scores)[None].double()
    return warpers(torch.zeros(1, 1, dtype=torch.int64), wide).softmax(-1)[0].numpy()


@settings(max_examples=300)
@given(SAMPLING, st.integers(0, 10**6), st.sampled_from([2, 12, 300, 2000]), st.sampled_from([0.05, 1.0, 5.0]))
def test_the_filters_are_those_of_transformers(chosen, seed, vocab_size, spread):
    scores = (np.random.default_rng(seed).normal(size=vocab_size) * spread).astype(np.float32)
    expected = expected_probabilities(scores, **chosen)
    assert np.allclose(probabilities(scores, **chosen), expected, atol=1e-6)


def test_scores_that_are_ruled_out_stay_so():
    scores = np.array([1.0, -np.inf, 2.0, -np.inf], dtype=np.float32)
    assert probabilities(scores)[[1, 3]].tolist() == [0, 0]
    assert probabilities(scores, top_k=3)[[1, 3]].tolist() == [0, 0]
    assert probabilities(scores, top_p=0.99, min_p=0.0).nonzero()[0].tolist() == [0, 2]


def test_tokens_tied_at_the_edge_of_a_filter_are_all_kept():
    scores = np.array([3.0, 1.0, 1.0, 0.0, 1.0], dtype=np.float32)
    assert probabilities(scores, top_k=2).nonzero()[0].tolist() == [0, 1, 2, 4]
    assert probabilities(np.zeros(5, dtype=np.float32), top_p=0.3).tolist() == pytest.approx([0.2] * 5)


def test_a_tiny_temperature_takes_the_likeliest():
    scores = np.array([1.0, 5.0, 4.999, -2.0], dtype=np.float32)
    for temperature in (1e-6, 1e-30, 1e-300):
        assert probabilities(scores, temperature=temperature).tolist() == [0, 1, 0, 0]


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 300, 5000]), st.floats(0, 1))
def test_a_nucleus_is_the_fewest_that_reach_top_p(seed, size, top_p):
    weights = np.random.default_rng(seed).random(size).astype(np.float32) + np.float32(1e-3)
    threshold = nucleus_threshold(weights, top_p)
    total = weights.sum(dtype=np.float64)
    assert weights[weights >= threshold].sum(dtype=np.float64) >= top_p * total * (1 - 1e-9)
    assert weights[weights > threshold].sum(dtype=np.float64) <= top_p * total * (1 + 1e-9)


def chi_square(observed, expected):
    """Pearson's statistic divided by what it stays below 999 times in 1000 (Wilson and Hilferty 1931)."""
    freedom = len(expected) - 1
    critical = freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3
    return float(((observed - expected) ** 2 / expected).sum()) / critical


@pytest.mark.parametrize(
    "chosen",
    [{}, {"temperature": 0.6}, {"top_k": 5}, {"top_p": 0.8}, {"min_p": 0.1}, {"top_k": 9, "top_p": 0.9}],
    ids=str,
)
def test_frequencies(chosen, rng):
    scores = rng.normal(size=20).astype(np.float32) * 1.5
    full = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, **chosen}
    expected = expected_probabilities(scores, **full) * 20_000
    token_ids, weights = distribution(scores, GenerationSettings(do_sample=True, **chosen))
    generator = make_generators(7, 1, 1)[0]
    observed = np.bincount([draw(token_ids, weights, generator) for _ in range(20_000)], minlength=20)
    possible = expected > 0
    assert observed[~possible].sum() == 0
    assert chi_square(observed[possible], expected[possible]) < 1


def test_frequencies_in_a_large_vocabulary():
    """More tokens than are summed up at a time: 100 groups of them come as often as their weights say."""
    weights = np.random.default_rng(0).random(1000).astype(np.float32)
    generator = make_generators(1, 1, 1)[0]
    drawn = [draw(np.arange(1000) + 5, weights, generator) - 5 for _ in range(20_000)]
    expected = weights.reshape(100, 10).sum(1) / weights.sum() * 20_000
    assert chi_square(np.bincount(np.array(drawn) // 10, minlength=100), expected) < 1


def test_frequencies_of_whole_answers(rng):
    """Two tokens from a table: 4,000 results of one prompt have the frequencies of the product of its rows."""
    table = rng.normal(size=(4, 4))
    asked = GenerationSettings(max_new_tokens=2, do_sample=True, num_return_sequences=4000, seed=3)
    results = generate(BigramDecoder(table), [[0, 2]], asked)
    rows = np.exp(table) / np.exp(table).sum(1, keepdims=True)
    expected = (rows[2][:, None] * rows).reshape(-1) * 4000
    observed = np.bincount([first * 4 + second for first, second in (each.token_ids for each in results)], minlength=16)
    assert chi_square(observed, expected) < 1


def sampled(prompts, table, **chosen):
    asked = GenerationSettings(max_new_tokens=12, do_sample=True, **chosen)
    return [result.token_ids for result in generate(BigramDecoder(table), prompts, asked)]


def test_the_same_seed_gives_the_same_tokens(rng):
    table = rng.normal(size=(30, 30))
    assert sampled([[1], [2]], table, seed=5) == sampled([[1], [2]], table, seed=5)
    assert sampled([[1], [2]], table, seed=5) != sampled([[1], [2]], table, seed=6)
    assert sampled([[1], [2]], table) != sampled([[1], [2]], table)


def test_a_result_does_not_depend_on_the_other_prompts(rng):
    table = rng.normal(size=(30, 30))
    alone = sampled([[3, 1]], table, seed=5, eos_token_id=4)
    together = sampled([[3, 1], [7, 8, 9, 10], [2]], table, seed=5, eos_token_id=4)
    other = sampled([[3, 1], [11], [2]], table, seed=5, eos_token_id=4)
    assert alone[0] == together[0] == other[0]
    assert together[2] == other[2]


def test_a_result_does_not_depend_on_how_many_are_asked_for(rng):
    table = rng.normal(size=(30, 30))
    two = sampled([[1], [2]], table, seed=5, num_return_sequences=2)
    three = sampled([[1], [2]], table, seed=5, num_return_sequences=3)
    assert two == [*three[:2], *three[3:5]]
    assert len(set(three)) == 6


def test_seed_draws_stay_what_they_are():
    """Frozen: users note down seeds."""
    numbers = [round(generator.random(), 6) for generator in make_generators(42, 2, 2)]
    assert numbers == [0.846529, 0.755761, 0.570029, 0.479544]
