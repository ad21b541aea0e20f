"""The passes in any order that what they require allows, some of them again and again: the numbers stay."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.passes.test_random_transformers import LAYOUTS, MASKS, Model, layers
from tfgraph.dsl.trace import trace
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.verify import verify
from tfgraph.passes.base import Pipeline
from tfgraph.passes.pipeline import optimising
from tfgraph.targets import get_target

PASSES = list(optimising().passes)
LONGEST = 14


@st.composite
def orders(draw: st.DrawFn) -> Pipeline:
    """A row of passes, each of which has what it requires from those before."""
    row, established = [], set()
    for _ in range(draw(st.integers(1, LONGEST))):
        step = draw(st.sampled_from([each for each in PASSES if each.requires <= established]))
        row.append(step)
        established |= step.ensures
    return Pipeline(tuple(row))


ARGUMENTS = {
    "choices": st.lists(layers, min_size=1, max_size=1),
    "mask": st.sampled_from(list(MASKS)),
    "past": st.booleans(),
    "layout": st.sampled_from(LAYOUTS),
    "sizes": st.fixed_dictionaries({name: st.integers(1, 4) for name in ("batch", "seq", "past")}),
    "order": orders(),
}
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]


def check(target_with, same_numbers, choices, mask, past, layout, sizes, order):
    model = Model(choices, mask, past)
    before = trace(model, name="model", **model.specs())
    after = copy_graph(before)
    order.run(after, get_target(layout) if layout in ("cpu", "onnx") else target_with(layout))
    verify(after)
    same_numbers(before, after, (sizes,), None, " after ".join(step.name for step in reversed(order.passes)))


@given(**ARGUMENTS)
@settings(max_examples=50, suppress_health_check=CHECKS)
def test_any_order_gives_the_same_numbers(target_with, same_numbers, **case):
    check(target_with, same_numbers, **case)


@pytest.mark.slow
@given(**ARGUMENTS)
@settings(max_examples=2000, suppress_health_check=CHECKS)
def test_two_thousand_orders_give_the_same_numbers(target_with, same_numbers, **case):
    check(target_with, same_numbers, **case)
