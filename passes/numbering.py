"""Names that passes made up, numbered in the order of the graph.

A pass that makes a node takes the next free name, so that the numbers tell the history of the rewriting. Numbered by
position instead, equal graphs have equal names: optimising a graph again changes nothing.
"""

from __future__ import annotations

from collections import Counter

from tfgraph.ir.graph import Graph, Value


def number_names(graph: Graph) -> None:
    """Give each result that is called like its operator (`Transpose_4`) the first free such name, in order.

    Results that are outputs get the output's name, which is what a file calls them. Those that nothing reads, which a
    file may leave out, are named last, after the first result of their node.
    """
    outputs = set(graph.outputs.values())
    _name_outputs(graph)
    unread = [value for node in graph for value in node.outputs[1:] if not value.num_uses]
    for index, value in enumerate(unread):
        graph.rename(value, f"{index} is not read")
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
    for value in unread:
        node = value.producer
        if node is not None:
            graph.rename(value, graph.free_name(f"{node.output.name}.{node.outputs.index(value)}"))


def _name_outputs(graph: Graph) -> None:
    """Call each result that is an output by the first name of the output, unless something else has that name."""
    named: dict[Value, str] = {}
    for name, value in graph.outputs.items():
        if value.producer is not None:
            named.setdefault(value, name)
    taken = {value.name for value in graph.values() if value not in named}
    renamed = {value: name for value, name in named.items() if name not in taken}
    for index, value in enumerate(renamed):
        graph.rename(value, f"{index} goes out")  # so that every name is free
    for value, name in renamed.items():
        graph.rename(value, name)


def _is_made_up(value: Value, op: str) -> bool:
    stem, _, number = value.name.rpartition("_")
    return value.name == op or (stem == op and number.isdecimal())
