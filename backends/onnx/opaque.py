"""What the IR carries without understanding it: subgraphs, forms of operators that the operator table does not hold.

Importing (`read.py`) makes these, lowering (`lower.py`) turns them back. Passes see an operator that the table does not
know, with exact uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tfgraph.ir.graph import Graph, Node

OMITTED: Final = "tfgraph_omitted_outputs"
"""Attribute of an opaque node: positions of the outputs that its file leaves out. It is not written."""

_CARRIED: Final = "carried"


@dataclass(frozen=True)
class Subgraph:
    """The payload of a subgraph attribute (`If`, `Loop`, `Scan`, …).

    Attributes:
        graph: the subgraph; values of the graph around it that it reads are inputs of it, after its own.
        captured: for each of those, its name among the inputs of `graph`, and its position among the node's operands.
        num_operands: how many operands the node has of its own, before the captured values.
    """

    graph: Graph
    captured: tuple[tuple[str, int], ...]
    num_operands: int


def carried_domain(domain: str) -> str:
    """The domain under which an operator is carried that the table holds, but not in the form that a file uses."""
    return f"{_CARRIED}.{domain}" if domain else _CARRIED


def file_domain(node: Node) -> str:
    """The domain of the node's operator in a file."""
    if node.domain == _CARRIED:
        return ""
    return node.domain.removeprefix(f"{_CARRIED}.")


def is_carried(node: Node) -> bool:
    """Whether the table holds an operator of this name, but not the form that this node has."""
    return node.domain == _CARRIED or node.domain.startswith(f"{_CARRIED}.")
