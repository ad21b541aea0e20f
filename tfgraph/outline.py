"""The structure of a graph as plain text, by module: what a report shows of a graph that no longer exists.

Nothing of the graph is kept alive by an outline, its weights least of all.
"""

from __future__ import annotations

from dataclasses import dataclass

from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.types import ContainerType
from tfgraph.summary import layer_of, module_paths


@dataclass(frozen=True, slots=True)
class Line:
    """One node: its operator, the name of its first result, what it reads, and what it gives."""

    operator: str
    name: str
    reads: str
    gives: str


@dataclass(frozen=True)
class Outline:
    """The nodes of a graph in order, in runs that lie in one layer, or in one module outside of the layers."""

    sections: tuple[tuple[str, tuple[Line, ...]], ...]


def outline(graph: Graph) -> Outline:
    """The outline of `graph`."""
    sections: list[tuple[str, list[Line]]] = []
    for node, module in module_paths(graph).items():
        path = layer_of(module) or module
        if not sections or sections[-1][0] != path:
            sections.append((path, []))
        sections[-1][1].append(_line(node))
    return Outline(tuple((path, tuple(lines)) for path, lines in sections))


def _line(node: Node) -> Line:
    reads = ", ".join("-" if value is None else _name(value) for value in node.inputs)
    gives = ", ".join(_type(value) for value in node.outputs)
    return Line(node.key, node.output.name, reads, gives)


def _name(value: Value) -> str:
    return f"{value.name} ({_type(value)})" if value.constant is not None else value.name


def _type(value: Value) -> str:
    shape = value.type.known_shape
    if isinstance(value.type, ContainerType):
        return str(value.type)
    return f"{value.dtype}{'[?]' if shape is None else format_shape(shape)}"
