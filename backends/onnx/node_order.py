"""The nodes of a file in topological order, with every name accounted for.

A file may list its nodes in any order, and may be damaged: a name that nothing produces, one produced twice, a cycle.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from tfgraph.errors import OnnxError

if TYPE_CHECKING:
    import onnx


def describe(node: onnx.NodeProto) -> str:
    """The node for an error: operator and name, or first result where it has no name."""
    name = node.name or next((output for output in node.output if output), "")
    operator = f"{node.domain}::{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
    return f"{operator} '{name}'" if name else operator


def ordered_nodes(
    nodes: Sequence[onnx.NodeProto], given: Collection[str], outer: Collection[str]
) -> list[onnx.NodeProto]:
    """`nodes` in topological order, moving as few of them as possible.

    `given` are the names of inputs and initializers of their graph, `outer` those of the graphs around it.

    Raises:
        OnnxError: a name is produced twice, or by nothing, or the nodes form a cycle.
    """
    producer: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in given or producer.setdefault(name, index) != index:
                raise OnnxError(f"the name '{name}' is produced twice, the second time by {describe(node)}")
    needs = [{producer[name] for name in read_names(node) if name in producer} for node in nodes]
    for node in nodes:
        for name in read_names(node):
            if name not in producer and name not in given and name not in outer:
                raise OnnxError(f"{describe(node)} reads '{name}', which nothing produces: the model is damaged")
    if all(need < index for index, wanted in enumerate(needs) for need in wanted):
        return list(nodes)
    return [nodes[index] for index in _sorted(needs, nodes)]


def _sorted(needs: Sequence[set[int]], nodes: Sequence[onnx.NodeProto]) -> list[int]:
    readers: list[list[int]] = [[] for _ in needs]
    for index, wanted in enumerate(needs):
        for need in wanted:
            readers[need].append(index)
    waiting = [len(wanted) for wanted in needs]
    ready = [index for index, count in enumerate(waiting) if not count]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers[index]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(order) != len(nodes):
        stuck = next(index for index, count in enumerate(waiting) if count)
        raise OnnxError(f"the nodes form a cycle, which {describe(nodes[stuck])} belongs to or waits for")
    return order


def read_names(node: onnx.NodeProto) -> Iterator[str]:
    """The names that a node reads, those that its subgraphs read from around them included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield from free_names(attribute.g)
        for graph in attribute.graphs:
            yield from free_names(graph)


def free_names(graph: onnx.GraphProto) -> Iterator[str]:
    """The names that a subgraph reads from the graphs around it."""
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own |= {tensor.values.name for tensor in graph.sparse_initializer}
    own |= {name for node in graph.node for name in node.output}
    for node in graph.node:
        yield from (name for name in read_names(node) if name not in own)
    yield from (value.name for value in graph.output if value.name not in own)
