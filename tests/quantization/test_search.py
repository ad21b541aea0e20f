"""The search over units whose errors are made up: within the budget always, the same every time, and not wasteful."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.errors import BudgetError
from tfgraph.quantization.budget import Budget
from tfgraph.quantization.search import plan_of, predicted, search, steps
from tfgraph.quantization.units import Choice, Unit


def unit(*errors: float, time: float = 1.0) -> Unit:
    """A unit whose choices take longer and longer, and end with float."""
    choices = [Choice(f"s{index}", time * (index + 1), error) for index, error in enumerate(errors)]
    return Unit((), (*choices, Choice("fp32", time * (len(errors) + 1), 0.0)))


@st.composite
def some_units(draw):
    sizes = draw(st.lists(st.integers(0, 3), min_size=1, max_size=6))
    found = []
    for size in sizes:
        errors = draw(st.lists(st.floats(1e-6, 1.0), min_size=size, max_size=size, unique=True))
        found.append(unit(*sorted(errors, reverse=True), time=draw(st.floats(0.1, 10))))
    return found


@given(some_units())
def test_the_steps_lead_from_the_fastest_to_float(units):
    path = steps(units)
    assert path[0] == (0,) * len(units)
    assert path[-1] == tuple(len(each.choices) - 1 for each in units)
    for before, after in pairwise(path):
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
        assert predicted(units, after) < predicted(units, before)


@given(some_units(), st.floats(0, 2), st.floats(0, 3), st.floats(0, 3), st.integers(0, 5))
def test_the_budget_is_never_exceeded_and_the_result_is_the_same_again(units, bound, own, other, twist):
    budget = Budget("kl", bound)

    def value(selection, factor):
        """Not what was predicted: errors add up otherwise, and differ between the inputs; float has none."""
        errors = [each.choices[at].error ** (1 + (index + twist) % 3) for index, (each, at) in
                  enumerate(zip(units, selection, strict=True))]  # fmt: skip
        return factor * sum(errors)

    runs = [search(units, budget, lambda s: value(s, own), lambda s: value(s, other)) for _ in range(2)]
    assert runs[0] == runs[1]
    found = runs[0]
    assert value(found.selection, own) == found.value <= bound
    assert value(found.selection, other) == found.held_out <= bound


def test_where_the_estimates_are_right_nothing_is_given_away():
    units = [unit(0.5, 0.01), unit(0.02), unit(0.3, 0.2)]

    def value(selection):
        return predicted(units, selection)

    path = steps(units)
    for bound in (1.0, 0.6, 0.3, 0.1, 0.02, 0.0):
        found = search(units, Budget("kl", bound), value, value)
        assert found.selection == next(step for step in path if value(step) <= bound)


def test_the_worst_for_its_time_is_taken_back_first():
    cheap, costly = unit(0.5, time=1.0), unit(0.5, time=4.0)
    assert steps([costly, cheap])[1] == (0, 1)


def test_held_out_inputs_push_the_search_on():
    units = [unit(0.1), unit(0.05)]
    found = search(units, Budget("kl", 0.2), lambda s: predicted(units, s), lambda s: 3 * predicted(units, s))
    assert found.selection == (1, 0)
    assert found.held_out == pytest.approx(0.15)


def test_what_no_selection_keeps():
    units = [unit(0.1)]
    with pytest.raises(BudgetError, match=r"no selection of schemes stays within kl<=0\.01: .*kl is 0\.5"):
        search(units, Budget("kl", 0.01), lambda s: 0.5, lambda s: 0.0)
    with pytest.raises(BudgetError, match="finite results"):
        search(units, Budget("kl", 0.01), lambda s: math.nan, lambda s: 0.0)
    with pytest.raises(BudgetError, match=r"kl is 0\.7"):
        search(units, Budget("kl", 0.01), lambda s: 0.0, lambda s: 0.7)


def test_every_trial_is_told_and_kept():
    units = [unit(0.1), unit(0.2), unit(0.4)]
    told: list[int] = []
    found = search(units, Budget("kl", 0.15), lambda s: predicted(units, s), lambda s: 0.0, told.append)
    assert told == list(range(1, len(found.trials) + 1))
    assert [trial.within for trial in found.trials] == [trial.value <= 0.15 for trial in found.trials]
    assert len({trial.selection for trial in found.trials}) == len(found.trials)


def test_a_plan_is_that_of_the_choices():
    units = [unit(0.1), unit(0.2)]
    assert plan_of(units, (1, 1)) == {}
