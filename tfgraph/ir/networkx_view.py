"""A graph as networkx sees it, for graph theory: generations, critical paths, cuts, drawing.

It is a view, not the storage; nothing reads a graph back from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfgraph.ir.graph import Graph, Value

if TYPE_CHECKING:
    import networkx


def to_networkx(graph: Graph) -> networkx.MultiDiGraph[Any]:
    """One vertex a `Node`, in the graph's order; one edge a use of one node's result by another.

    A vertex has `op` (as `Node.key`), `name` (of the first result), `scope` and `inputs` (the graph inputs and
    constants that the node reads, which are no vertices). An edge has `value` (the `Value`) and `operand` (its place
    among the inputs of the reader); its key is the value's name, or `name@operand` from the second use by the same
    reader on. The graph has `name`, and `outputs`: output names to the nodes that compute them.
    """
    import networkx

    view: networkx.MultiDiGraph[Any] = networkx.MultiDiGraph(name=graph.name)
    for node in graph:
        sources: list[Value] = []
        view.add_node(node, op=node.key, name=node.output.name, scope=node.scope, inputs=sources)
        for operand, value in enumerate(node.inputs):
            if value is None:
                continue
            if value.producer is None:
                sources.append(value)
                continue
            repeated = view.has_edge(value.producer, node, value.name)
            key = f"{value.name}@{operand}" if repeated else value.name
            view.add_edge(value.producer, node, key=key, value=value, operand=operand)
    view.graph["outputs"] = {
        name: value.producer for name, value in graph.outputs.items() if value.producer is not None
    }
    return view
