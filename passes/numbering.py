"""Names that passes made up, numbered in the order of the graph.

A pass that makes a node takes the next free name, so that the numbers tell the history of the rewriting. Numbered by
position instead, equal graphs have equal names: optimising a graph again changes nothing.
"""

from __future__ import annotations

from collections import Counter

from tfgraph.ir.graph import Graph, Value


def number_names(graph: Graph) -> None:
    """Give each result that is called like its operator (`Transpose_4`) the first free such name, in order."""
    outputs = set(graph.outputs.values())
    made_up = [
        (value, node.op)
        for node in graph
        for value in node.outputs
        if value not in outputs and _is_made_up(value, node.op)
    ]
    for index, (value, _) in enumerate(made_up):
        graph.rename(value, f"{index} waits")  # so that every name is free
    taken = {value.name for value in graph.values()}
    counters: Counter[str] = Counter()
    for value, op in made_up:
        name = op
        while name in taken:
            counters[op] += 1
            name = f"{op}_{counters[op]}"
        graph.rename(value, name)
        taken.add(name)


def _is_made_up(value: Value, op: str) -> bool:
    stem, _, number = value.name.rpartition("_")
    return value.name == op or (stem == op and number.isdecimal())
