"""`fires` and `leaves`: one canonical rule, alone, on the graph of a function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from tfgraph.ir.copy import copy_graph
from tfgraph.ir.graph import Graph
from tfgraph.ir.verify import verify
from tfgraph.passes.canonical import CANONICAL
from tfgraph.passes.cleanup import remove_dead_nodes
from tfgraph.passes.rewrite import Rule, RuleSet

SIZES = ({}, {"batch": 1, "seq": 1})


def only(name: str) -> RuleSet:
    """The canonical rule `name`, alone."""
    alone = RuleSet()
    for key, rules in CANONICAL.rules.items():
        found: list[Rule] = [rule for rule in rules if rule.name == name]
        if found:
            alone.rules[key] = found
    assert alone.rules, f"there is no canonical rule {name}"
    return alone


@pytest.fixture(scope="session")
def fires(graph_of: Callable[..., Graph], same_numbers: Callable[..., None]) -> Callable[..., Graph]:
    """`fires("drop_cast", forward, {"Relu": 1}, x="batch 8")`: the rule fires, leaves these operators, and the numbers.

    All canonical rules together keep the numbers, too. Returns the graph after the one rule.
    """

    def check(
        name: str,
        forward: Callable[..., Any],
        expected: Mapping[str, int],
        *,
        sizes: Sequence[Mapping[str, int]] = SIZES,
        inputs: Mapping[str, np.ndarray[Any, Any]] | None = None,
        **specs: Any,
    ) -> Graph:
        before = graph_of(forward, **specs)
        after = copy_graph(before)
        counts = only(name).apply(after)
        assert counts[name] > 0, f"{name} did not fire on\n{before}"
        verify(after)
        same_numbers(before, after, sizes, inputs, f"after {name}")
        remove_dead_nodes(after)
        assert dict(Counter(node.key for node in after)) == dict(expected), str(after)
        assert {name: value.type for name, value in after.outputs.items()} == {
            name: value.type for name, value in before.outputs.items()
        }
        whole = copy_graph(before)
        CANONICAL.apply(whole)
        verify(whole)
        same_numbers(before, whole, sizes, inputs, "after all canonical rules")
        return after

    return check


@pytest.fixture(scope="session")
def leaves(graph_of: Callable[..., Graph], same_numbers: Callable[..., None]) -> Callable[..., None]:
    """`leaves("drop_cast", forward, x="batch 8")`: the rule touches nothing, and all rules keep the numbers."""

    def check(
        name: str,
        forward: Callable[..., Any],
        *,
        sizes: Sequence[Mapping[str, int]] = SIZES,
        inputs: Mapping[str, np.ndarray[Any, Any]] | None = None,
        **specs: Any,
    ) -> None:
        before = graph_of(forward, **specs)
        after = copy_graph(before)
        counts = only(name).apply(after)
        assert not counts[name], f"{name} fired, and should not:\n{before}\nbecame\n{after}"
        assert str(after) == str(before)
        whole = copy_graph(before)
        CANONICAL.apply(whole)
        verify(whole)
        same_numbers(before, whole, sizes, inputs, "after all canonical rules")

    return check
