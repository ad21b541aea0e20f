"""The canonicalising pass: rules, folding and cleaning in turns, until none of them has anything left to do."""

from __future__ import annotations

from tfgraph.capabilities import Capabilities
from tfgraph.ir.graph import Graph
from tfgraph.passes.canonical import CANONICAL, LATE
from tfgraph.passes.cleanup import clean
from tfgraph.passes.folding import fold_constants
from tfgraph.passes.report import PassResult

_MOST_ROUNDS = 10


def canonicalise(graph: Graph, target: Capabilities) -> PassResult:
    """Bring `graph` into canonical form."""
    result = PassResult()
    for _ in range(_MOST_ROUNDS):
        before = result.changes.total()
        result.changes += clean(graph, target).changes
        result.changes += fold_constants(graph)
        result.changes += CANONICAL.apply(graph)
        if result.changes.total() == before:
            result.changes += LATE.apply(graph)
        if result.changes.total() == before:
            break
    graph.sort()
    return result
