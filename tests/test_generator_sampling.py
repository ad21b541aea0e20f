"""Sampling through the whole stack: what an exported model draws comes as often as the model's own logits say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tfgraph
from tests.generator_exports import PROMPTS, Exports, exporting

DRAWS = 3000
CHOICES: list[dict[str, Any]] = [
    {},
    {"temperature": 0.6},
    {"top_k": 6},
    {"top_p": 0.8},
    {"min_p": 0.2},
    {"temperature": 1.5, "top_k": 20, "top_p": 0.9},
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """A transformers model and our export of it."""
    return exporting(tmp_path_factory)


def expected_distribution(model: Any, prompt: list[int], chosen: dict[str, Any]) -> np.ndarray:
    """The probabilities of the next token after temperature, top-k, top-p and min-p, each by its definition."""
    import torch

    with torch.no_grad():
        logits = model.double()(torch.tensor([prompt])).logits[0, -1].numpy()
    model.float()
    p = np.exp(logits / chosen.get("temperature", 1.0))
    order = np.argsort(-p)
    p[order[chosen.get("top_k", p.size) :]] = 0
    p /= p.sum()
    before = np.cumsum(p[order]) - p[order]  # the probability of all likelier tokens
    p[order[before >= chosen.get("top_p", 2.0)]] = 0
    p[p < chosen.get("min_p", 0.0) * p.max()] = 0
    return np.asarray(p / p.sum())


def chi_square(observed: np.ndarray, expected: np.ndarray) -> float:
    """Pearson's statistic divided by what it stays below 999 times in 1000 (Wilson and Hilferty 1931)."""
    rare = expected < 5  # counted together
    if rare.any():
        observed, expected = (np.append(each[~rare], each[rare].sum()) for each in (observed, expected))
    freedom = len(expected) - 1
    critical = freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3
    return float(((observed - expected) ** 2 / expected).sum()) / critical


@pytest.mark.parametrize("cache_length", [None, 40])
@pytest.mark.parametrize("chosen", CHOICES, ids=str)
def test_the_first_token(chosen: dict[str, Any], cache_length: int | None, exported: Exports) -> None:
    """Many seeds, with one prompt alone and then with one in a batch of unequal ones."""
    model, out = exported(cache_length=cache_length)
    generator = tfgraph.Generator(out)
    probabilities = expected_distribution(model, PROMPTS[2], chosen)
    for prompts in ([PROMPTS[2]], [PROMPTS[0], PROMPTS[2]]):
        observed = np.zeros(61)
        for seed in range(10):
            results = generator.generate(
                prompts, max_new_tokens=1, do_sample=True, seed=seed, num_return_sequences=DRAWS // 10, **chosen
            )
            drawn = [result.token_ids[0] for result in results if result.prompt == len(prompts) - 1]
            observed += np.bincount(drawn, minlength=61)
        assert observed.sum() == DRAWS
        assert not observed[probabilities == 0].any()
        kept = probabilities > 0
        assert chi_square(observed[kept], probabilities[kept] * DRAWS) < 1


def test_the_statistic_finds_another_distribution(exported: Exports) -> None:
    model, out = exported()
    probabilities = expected_distribution(model, PROMPTS[2], {"temperature": 1.25})
    results = tfgraph.Generator(out).generate(
        [PROMPTS[2]], max_new_tokens=1, do_sample=True, seed=0, num_return_sequences=DRAWS
    )
    observed = np.bincount([result.token_ids[0] for result in results], minlength=61)
    assert chi_square(observed, probabilities * DRAWS) > 1


def test_later_tokens(exported: Exports) -> None:
    """The second token, given a likely first one: each row has the cache of its own first token."""
    model, out = exported()
    probabilities = expected_distribution(model, PROMPTS[1], {})
    results = tfgraph.Generator(out).generate(
        [PROMPTS[1]], max_new_tokens=2, do_sample=True, seed=4, num_return_sequences=DRAWS, eos_token_id=None
    )
    for first in np.argsort(-probabilities)[:3].tolist():
        second = [result.token_ids[1] for result in results if result.token_ids[0] == first]
        expected = expected_distribution(model, [*PROMPTS[1], first], {})
        assert len(second) > 100
        assert chi_square(np.bincount(second, minlength=61), expected * len(second)) < 1
