"""The largest of many numbers: the same as sorting them, with ties and minus infinity among them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.generation.selection import kth_largest, likeliest

SIZES = st.sampled_from([1, 2, 15, 16, 17, 100, 1000, 1003])


@st.composite
def numbers(draw):
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    size = draw(SIZES)
    if draw(st.booleans()):
        return generator.normal(size=size).astype(np.float32)
    values = generator.integers(0, 4, size).astype(np.float32)  # most of them tied
    values[generator.random(size) < draw(st.sampled_from([0.0, 0.5, 0.99]))] = -np.inf
    return values


@given(numbers(), st.data())
def test_kth_largest(values, data):
    count = data.draw(st.integers(1, values.size))
    assert kth_largest(values, count) == np.sort(values)[::-1][count - 1]


@given(numbers(), st.integers(0, 40))
def test_likeliest(values, count):
    expected = sorted(np.flatnonzero(values > -np.inf).tolist(), key=lambda place: (-values[place], place))[:count]
    assert likeliest(values, count).tolist() == expected


@pytest.mark.parametrize("place", [0, 999, 1002])
def test_the_largest_is_found_wherever_it_is(place):
    values = np.zeros(1003, dtype=np.float32)
    values[place] = 1
    assert kth_largest(values, 1) == 1
    assert likeliest(values, 1).tolist() == [place]
