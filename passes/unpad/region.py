"""Which nodes run on packed tokens: products with weights, and what works by rows around them."""

from __future__ import annotations

from collections.abc import Mapping

from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.passes.unpad.padding import Padding
from tfgraph.passes.unpad.rows import HEAVY, Role, RowPlan, plan_of


def choose(graph: Graph, padding: Padding) -> dict[Node, RowPlan]:
    """The nodes to pack, in order, each with its plan.

    From the products on, everything downwards that works by rows is in; upwards, everything that nothing else reads.
    What only reads rows that are put back into their places anyway, such as a mask applied before pooling, stays out.
    """
    plans = {node: plan for node in graph if (plan := plan_of(node, padding)) is not None}
    chosen: set[Node] = set()
    for node, plan in plans.items():
        if node.key in HEAVY or any(value.producer in chosen for value in rows_of(node, plan)):
            chosen.add(node)
    for node, plan in reversed(plans.items()):
        if node not in chosen and _feeds_only(node, plan, chosen):
            chosen.add(node)
    for node, plan in reversed(plans.items()):
        if node in chosen and node.key not in HEAVY and _only_reads_restored(node, plan, chosen):
            chosen.discard(node)
    return {node: plan for node, plan in plans.items() if node in chosen}


def rows_of(node: Node, plan: RowPlan) -> list[Value]:
    """The operands with a row for each token."""
    pairs = zip(node.inputs, plan.roles, strict=True)
    return [value for value, role in pairs if value is not None and role is Role.ROWS]


def exits(chosen: Mapping[Node, RowPlan]) -> dict[Value, list[Node]]:
    """The packed results that something else reads, with those readers; an output of the graph is no reader."""
    found = {}
    for node, plan in chosen.items():
        for value, has_rows in zip(node.outputs, plan.results, strict=True):
            outside = [user for user in value.users if user not in chosen]
            if has_rows and (outside or value.is_output):
                found[value] = outside
    return found


def _feeds_only(node: Node, plan: RowPlan, chosen: set[Node]) -> bool:
    """Whether the node's rows are read, and by chosen nodes alone."""
    rows = [value for value, has_rows in zip(node.outputs, plan.results, strict=True) if has_rows and value.num_uses]
    return bool(rows) and all(not value.is_output and all(user in chosen for user in value.users) for value in rows)


def _only_reads_restored(node: Node, plan: RowPlan, chosen: set[Node]) -> bool:
    """Whether nothing chosen reads the node, and all rows that it reads leave the packed nodes by another way too."""
    if any(user in chosen for value in node.outputs for user in value.users):
        return False
    packed = [value for value in rows_of(node, plan) if value.producer in chosen]
    return all(
        value.is_output or any(user not in chosen and user is not node for user in value.users) for value in packed
    )
