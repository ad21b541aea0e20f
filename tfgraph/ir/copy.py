"""Copying a graph: new nodes and values over the same constants."""

from __future__ import annotations

from tfgraph.ir.graph import Graph, Value


def copy_graph(graph: Graph) -> Graph:
    """An independent copy with the same names; weights are handles, and are shared."""
    copied = Graph(graph.name)
    copied.metadata.update(graph.metadata)
    known: dict[Value, Value] = {}
    for name, value in graph.inputs.items():
        known[value] = copied.add_input(name, value.dtype, value.type.known_shape)
        known[value].type = value.type
    for value in graph.constants:
        if value.constant is not None:
            known[value] = copied.add_constant(value.constant, value.name)
    for node in graph:
        twin = copied.add(
            node.op,
            [None if value is None else known[value] for value in node.inputs],
            node.attributes,
            types=[value.type for value in node.outputs],
            names=[value.name for value in node.outputs],
            domain=node.domain,
            scope=node.scope,
            source=node.source,
        )
        known.update(zip(node.outputs, twin.outputs, strict=True))
    for name, value in graph.outputs.items():
        copied.set_output(name, known[value])
    return copied
