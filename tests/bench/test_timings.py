"""Medians, quartiles and ratios, on samples whose answers are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.bench.interleave import Sample
from tfgraph.bench.timings import Timings, ratio_to_best
from tfgraph.errors import InputError


def samples_of(seconds, cpu=None):
    """Samples of the given times."""
    cpu = seconds if cpu is None else cpu
    return [Sample(turn, one, other) for turn, (one, other) in enumerate(zip(seconds, cpu, strict=True))]


TIMES = st.lists(st.floats(1e-4, 10.0), min_size=1, max_size=12)


def test_timings_are_the_quartiles_of_the_samples():
    timings = Timings.of(samples_of([5.0, 1.0, 2.0, 4.0, 3.0], cpu=[1.0, 1.0, 9.0, 2.0, 2.0]))
    assert (timings.best, timings.lower_quartile, timings.median, timings.upper_quartile) == (1.0, 2.0, 3.0, 4.0)
    assert timings.cpu_median == 2.0


@given(TIMES)
def test_timings_are_in_order(seconds):
    timings = Timings.of(samples_of(seconds))
    assert timings.best <= timings.lower_quartile <= timings.median <= timings.upper_quartile <= max(seconds)


def test_json_has_milliseconds_and_every_sample_in_order():
    described = Timings.of(samples_of([0.002, 0.001], cpu=[0.003, 0.005])).as_dict()
    assert described == json.loads(json.dumps(described))
    assert described["median_ms"] == 1.5
    assert described["samples_ms"] == [2.0, 1.0]
    assert described["cpu_samples_ms"] == [3.0, 5.0]
    assert described["turns"] == [0, 1]


def test_no_samples_have_no_timings():
    with pytest.raises(InputError, match="no sample to summarise: time at least one round"):
        Timings.of([])


def test_the_ratio_is_to_the_best_median_of_the_others():
    others = {"slow": samples_of([4.0, 5.0, 6.0]), "fast": samples_of([1.0, 2.0, 9.0], cpu=[4.0, 4.0, 4.0])}
    ratio = ratio_to_best(samples_of([3.0, 3.0, 3.0]), others)
    assert (ratio.value, ratio.best) == (1.5, "fast")
    assert ratio.cpu == 0.75


def test_times_that_do_not_vary_have_an_interval_of_no_width():
    ratio = ratio_to_best(samples_of([1.0] * 5), {"other": samples_of([2.0] * 5)})
    assert (ratio.value, ratio.low, ratio.high) == (0.5, 0.5, 0.5)


@given(st.lists(st.floats(1e-3, 10.0), min_size=3, max_size=8))
def test_a_candidate_compared_with_itself_has_a_ratio_of_one_whatever_the_noise(seconds):
    ratio = ratio_to_best(samples_of(seconds), {"itself": samples_of(seconds)})
    assert (ratio.value, ratio.low, ratio.high) == (1.0, 1.0, 1.0)


def test_noise_that_hits_single_samples_widens_the_interval_around_the_ratio(rng):
    noise = rng.lognormal(0.0, 0.5, (2, 25))
    ratio = ratio_to_best(samples_of(list(noise[0])), {"other": samples_of(list(noise[1]))})
    assert ratio.low < ratio.value < ratio.high
    again = ratio_to_best(samples_of(list(noise[0])), {"other": samples_of(list(noise[1]))})
    assert ratio == again


def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says(rng):
    held = 0
    for _ in range(60):
        noise = rng.lognormal(0.0, 0.2, (2, 30))
        ratio = ratio_to_best(samples_of(list(2 * noise[0])), {"other": samples_of(list(noise[1]))})
        held += ratio.low <= 2.0 <= ratio.high
    assert held >= 50  # 57 of 60 are expected


@pytest.mark.parametrize("others", [{}, {"other": samples_of([1.0])}])
def test_samples_of_other_rounds_cannot_be_compared(others):
    with pytest.raises(InputError, match=r"cannot relate 2 samples to .*: expected others timed in the same rounds"):
        ratio_to_best(samples_of([1.0, 2.0]), others)


def test_a_clock_too_coarse_for_processor_time_gives_a_ratio_of_one():
    ratio = ratio_to_best(samples_of([1.0], cpu=[0.0]), {"other": samples_of([1.0], cpu=[0.0])})
    assert np.isfinite(ratio.cpu)
    assert ratio.as_dict()["cpu"] == 1.0
