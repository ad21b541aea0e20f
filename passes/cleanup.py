"""Cleaning: nodes and constants that nothing reads, and work that is done twice."""

from __future__ import annotations

from typing import Any

from tfgraph.capabilities import Capabilities
from tfgraph.ir.build import refresh_types
from tfgraph.ir.constant import constant_key
from tfgraph.ir.graph import Graph, Node, Opaque, Value
from tfgraph.ir.optable import find_spec
from tfgraph.passes.report import PassResult


def remove_dead_nodes(graph: Graph) -> int:
    """Erase every node and constant that no output depends on; return how many."""
    erased = 0
    for node in reversed(graph):
        if not any(value.num_uses for value in node.outputs):
            graph.erase(node)
            erased += 1
    for value in [value for value in graph.constants if not value.num_uses]:
        graph.erase(value)
        erased += 1
    return erased


def merge_equal_constants(graph: Graph) -> int:
    """Make constants that hold the same elements one value; return how many went."""
    merged = 0
    known: dict[object, Value] = {}
    for value in list(graph.constants):
        if value.constant is None:
            continue
        kept = known.setdefault(constant_key(value.constant), value)
        if kept is not value:
            graph.replace_all_uses(value, kept)
            graph.erase(value)
            merged += 1
    return merged


def merge_equal_nodes(graph: Graph) -> int:
    """Common-subexpression elimination: of equal applications to equal operands, keep the first; count the others."""
    merged = 0
    stale = False  # a size that only running tells has another name in each node
    known: dict[Any, Node] = {}
    for node in graph:
        key = _node_key(node)
        if key is None:
            continue
        kept = known.setdefault(key, node)
        if kept is node:
            continue
        for old, new in zip(node.outputs, kept.outputs, strict=True):
            stale = stale or old.type != new.type
            graph.replace_all_uses(old, new)
        graph.erase(node)
        merged += 1
    if stale:
        refresh_types(graph)
    return merged


def _node_key(node: Node) -> Any:
    attributes = tuple(sorted(node.attributes.items()))
    if find_spec(node.key) is None or any(isinstance(value, Opaque) for _, value in attributes):
        return None  # what is only carried may be random
    return (node.key, tuple(map(id, node.inputs)), attributes, len(node.outputs))


def clean(graph: Graph, _target: Capabilities) -> PassResult:
    """Remove what is dead and merge what is equal."""
    result = PassResult()
    for name, function in (
        ("dead", remove_dead_nodes),
        ("equal_constants", merge_equal_constants),
        ("equal_nodes", merge_equal_nodes),
    ):
        count = function(graph)
        if count:
            result.changes[name] += count
    return result
