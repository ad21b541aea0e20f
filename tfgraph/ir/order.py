"""Topological order: operands before what reads them, and otherwise the order that was there."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from tfgraph.errors import GraphError

if TYPE_CHECKING:
    from tfgraph.ir.graph import Graph, Node


def topological_order(graph: Graph) -> list[Node]:
    """The nodes with every operand's producer first; nodes that need not move stay in their order.

    Raises:
        GraphError: the graph has a cycle.
    """
    position = {node: index for index, node in enumerate(graph)}
    waiting: dict[Node, int] = {}
    readers: dict[Node, list[Node]] = {}
    for node in position:
        producers = {value.producer for value in node.inputs if value is not None and value.producer is not None}
        waiting[node] = len(producers)
        for producer in producers:
            readers.setdefault(producer, []).append(node)
    ready = [(index, node) for node, index in position.items() if not waiting[node]]
    heapq.heapify(ready)
    order: list[Node] = []
    while ready:
        _, node = heapq.heappop(ready)
        order.append(node)
        for reader in readers.get(node, ()):
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, (position[reader], reader))
    if len(order) != len(position):
        stuck = next(node for node, count in waiting.items() if count)
        raise GraphError(f"the graph has a cycle through {stuck.describe()}")
    return order
