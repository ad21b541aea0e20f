"""Which opset a file for a target is stamped with: the target's own, unless the model's operators need another.

Targets say which opsets they read, and which operators they lost on the way (`tfgraph.capabilities`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tfgraph.backends.onnx.opaque import Subgraph, file_domain
from tfgraph.backends.onnx.schemas import first_opset
from tfgraph.backends.onnx.upgrade import form_since
from tfgraph.capabilities import Capabilities
from tfgraph.ir.graph import Graph, Node, Opaque, Value
from tfgraph.ir.optable import find_spec


def settle_opset(graph: Graph, capabilities: Capabilities) -> Capabilities:
    """`capabilities`, of another opset where the target's own lacks an operator or an element type of `graph` that one
    it reads has.

    Operators that can be written out by their definitions do not count: passes do that.
    """
    oldest, newest = 0, max(capabilities.newest_opset, capabilities.opset)
    for op in _primitive_operators(graph):
        newest = min(newest, capabilities.last_opsets.get(op, newest))
        oldest = max(oldest, first_opset(op) or 0, form_since(op))
    oldest = max([oldest, *{value.dtype.since for value in _values(graph)}])
    wanted = min(max(capabilities.opset, oldest), newest)
    if wanted == capabilities.opset or wanted < oldest:
        return capabilities
    return replace(capabilities, opset=wanted)


def _primitive_operators(graph: Graph) -> set[str]:
    """The operators of the ONNX domain that no definition could replace, those of subgraphs included."""
    found: set[str] = set()
    for node in _nodes(graph):
        spec = find_spec(node.key)
        if not file_domain(node) and (spec is None or spec.body is None):
            found.add(node.op)
    return found


def _values(graph: Graph) -> Iterator[Value]:
    for one in _graphs(graph):
        yield from one.values()


def _nodes(graph: Graph) -> Iterator[Node]:
    for one in _graphs(graph):
        yield from one


def _graphs(graph: Graph) -> Iterator[Graph]:
    """The graph and all graphs inside it."""
    yield graph
    for node in graph:
        for attribute in node.attributes.values():
            if isinstance(attribute, Opaque) and isinstance(attribute.payload, Subgraph):
                yield from _graphs(attribute.payload.graph)
