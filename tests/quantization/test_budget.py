"""Budgets: what is understood, what is refused, and what is within."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.errors import ConfigError
from tfgraph.quantization.budget import Budget, distance


@pytest.mark.parametrize(
    ("text", "metric", "bound"),
    [
        ("cosine>=0.999", "cosine", 0.999),
        (" top1 >= 0.97 ", "top1", 0.97),
        ("kl<=1e-2", "kl", 0.01),
        ("relative<=0.01", "relative", 0.01),
        ("perplexity<=1.01", "perplexity", 1.01),
    ],
)
def test_what_is_understood(text, metric, bound):
    budget = Budget.parse(text)
    assert (budget.metric, budget.bound) == (metric, bound)
    assert Budget.parse(str(budget)) == budget
    assert Budget.parse(budget) is budget


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "was not understood"),
        ("cosine", "was not understood"),
        ("cosine>0.9", "was not understood"),
        ("cosine>=", "was not understood"),
        ("cosine>=0.9.9", "no number"),
        ("cosin>=0.9", "no error budget for 'cosin'"),
        ("cosine<=0.9", "use cosine>=0.9"),
        ("kl>=0.1", "use kl<=0.1"),
        ("cosine>=1.5", "from -1 to 1"),
        ("top1>=-0.5", "from 0 to 1"),
        ("perplexity<=0.9", "from 1 up"),
        ("kl<=1e999", "from 0 up"),
        (3, "was not understood"),
    ],
)
def test_what_is_refused(text, expected):
    with pytest.raises(ConfigError, match=expected):
        Budget.parse(text)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_cosine_is_bounded_from_below(bound, value):
    assert Budget("cosine", bound).met_by(value) == (value >= bound)


@given(st.floats(0, 100), st.floats(0, 100))
def test_divergence_is_bounded_from_above(bound, value):
    assert Budget("kl", bound).met_by(value) == (value <= bound)


@pytest.mark.parametrize("text", ["cosine>=-1", "top1>=0", "kl<=1000", "relative<=1000", "perplexity<=1000"])
def test_not_a_number_is_never_within(text):
    assert not Budget.parse(text).met_by(math.nan)


def test_the_distance_of_an_unchanged_model_is_zero():
    unchanged = {"cosine": 1.0, "top1": 1.0, "kl": 0.0, "relative": 0.0, "perplexity": 1.0}
    assert {distance(metric, value) for metric, value in unchanged.items()} == {0.0}
    assert distance("cosine", math.nan) == math.inf
