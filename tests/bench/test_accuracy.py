"""Cosines, perplexity and agreement: known answers, and what is no number counts as wrong."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.bench.accuracy import Cosines, TextScores


def test_cosines_do_not_see_length_and_the_worst_is_the_least():
    reference = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert Cosines.of(3 * reference, reference) == Cosines(1.0, 1.0)
    found = Cosines.of(np.array([[1.0, 0.0], [1.0, 1.0]]), reference)
    assert found.worst == pytest.approx(0.5**0.5)
    assert found.mean == pytest.approx((1 + 0.5**0.5) / 2)


@pytest.mark.parametrize("vectors", [np.full((2, 2), np.nan), np.zeros((2, 2)), np.ones((2, 3))])
def test_what_has_no_cosine_is_as_wrong_as_can_be(vectors):
    assert Cosines.of(vectors, np.ones((2, 2))).worst == -1.0


def test_a_uniform_guess_is_as_perplexed_as_there_are_tokens():
    ids = np.array([[1, 2, 3, 0]])
    logits = np.zeros((1, 4, 7))
    assert TextScores.of(logits, ids).perplexity == pytest.approx(7)
    assert TextScores.of(logits, ids).top1 is None


def test_perplexity_is_that_of_the_tokens_that_come_next():
    ids = np.array([[0, 1, 2], [2, 1, 0]])
    logits = np.log(
        np.array([[[0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [1, 1, 1]], [[0.1, 0.4, 0.5], [0.25, 0.5, 0.25], [1, 1, 1]]])
    )
    expected = np.exp(-np.log([0.5, 0.8, 0.4, 0.25]).mean())
    assert TextScores.of(logits, ids).perplexity == pytest.approx(expected)


def test_agreement_is_the_part_of_places_with_the_same_likeliest_token():
    ids = np.array([[0, 1]])
    assert TextScores.of(np.eye(3)[None, :2], ids, np.eye(3)[None, [0, 2]]).top1 == 0.5
