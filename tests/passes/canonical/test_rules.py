"""Every canonical rule has a test in this folder where it fires, and one where it must not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tfgraph.passes.canonical import CANONICAL

RULES = sorted({rule.name for rules in CANONICAL.rules.values() for rule in rules})


def rules_under(fixture: str) -> set[str]:
    """The rules whose name is the first argument of a call of `fixture` in a test of this folder."""
    found = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match call:
                case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(rule)), *_]) if name == fixture:
                    found.add(rule)
    return found


FIRING, LEAVING = rules_under("fires"), rules_under("leaves")


@pytest.mark.parametrize("rule", RULES)
def test_there_is_a_case_where_it_fires_and_one_where_it_does_not(rule):
    assert rule in FIRING, f'no test says fires("{rule}", ...)'
    assert rule in LEAVING, f'no test says leaves("{rule}", ...)'


def test_no_test_names_a_rule_that_is_gone():
    assert not (FIRING | LEAVING) - set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_says_what_it_does(rule):
    functions = {found.function for rules in CANONICAL.rules.values() for found in rules if found.name == rule}
    assert len(functions) == 1, f"two rules are called {rule}: the report could not tell them apart"
    assert functions.pop().__doc__
