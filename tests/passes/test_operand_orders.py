"""Orders of operands: which are tried, how long that takes, and places that are not tried at all."""

from __future__ import annotations

import time

import pytest

from tfgraph.dsl import functional as F
from tfgraph.passes.canonical import CANONICAL
from tfgraph.passes.match import Matcher
from tfgraph.passes.pattern import Variant, floats, make_pattern

X = floats("...", "h")


def matcher(function, inputs):
    return Matcher(make_pattern("test", function, Variant(inputs), CANONICAL))


def stacked(depth, leaf, index=0):
    """A tree of sums over `leaf(0)`, `leaf(1)` and so on: each sum can be read in both orders."""
    if depth == 0:
        return leaf(index)
    return stacked(depth - 1, leaf, 2 * index) + stacked(depth - 1, leaf, 2 * index + 1)


@pytest.mark.parametrize("what_is_wrong", ["an operator", "a value"])
def test_stacked_sums_do_not_take_exponential_time(graph_of, what_is_wrong):
    """32 leaves of one form, of which one does not fit: 2**31 orders, if each were tried."""

    def pattern(**names):
        values = list(names.values())
        return stacked(5, lambda index: F.exp(values[index])) * F.sin(values[0])

    def forward(**names):
        values = list(names.values())
        last = F.cos if what_is_wrong == "an operator" else F.exp
        return stacked(5, lambda index: (last if index == 0 else F.exp)(values[index])) * F.sin(values[32])

    names = [f"x{index:02}" for index in range(33)]
    looking = matcher(pattern, dict.fromkeys(names[:32], X))
    graph = graph_of(forward, **dict.fromkeys(names, "8"))
    start = time.perf_counter()
    assert looking.match(graph.outputs["output"].producer) is None
    assert time.perf_counter() - start < 10.0


def test_an_order_that_structure_decides_is_found_at_any_height(graph_of):
    functions = (F.exp, F.sin, F.cos, F.tanh, F.sqrt, F.sigmoid, F.negate, F.absolute)
    looking = matcher(lambda x: stacked(3, lambda index: functions[index](x)), {"x": X})
    turned = graph_of(lambda x: stacked(3, lambda index: functions[7 - index](x)), x="batch 8")
    assert looking.match(turned.outputs["output"].producer) is not None


def test_places_where_no_match_can_start_are_told_from_the_operands_alone(graph_of):
    looking = matcher(lambda a, b: F.sqrt(a) + F.exp(b), {"a": X, "b": X})
    for forward, wanted in (
        (lambda x: F.sin(x) + F.cos(x), False),
        (lambda x: F.sin(x) + F.sqrt(x), True),
        (lambda x: F.sin(x) + F.softmax(x), True),
        (lambda x: x + x, False),
    ):
        root = graph_of(forward, x="batch 8").outputs["output"].producer
        assert looking.may_match(root, witness="Softmax") == wanted
    ranked = matcher(lambda a, b: F.sqrt(a) + F.exp(b), {"a": floats("n", "h"), "b": floats("n", "h")})
    for shape, wanted in (("batch 8", True), ("batch seq 8", False)):
        root = graph_of(lambda x: F.sqrt(x) + F.exp(x), x=shape).outputs["output"].producer
        assert ranked.may_match(root) == wanted
