"""Rows of a table, looked up: however an exporter spells that, it becomes one `Gather` of the table's first axis.

GatherElements(Tile(table [1, P, R], [B, 1, 1]), Tile(ids [B, S, 1], [1, 1, R]), axis=1)  ->  Gather(table [P, R], ids)
"""

from __future__ import annotations

from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.passes.canonical.views import static_target
from tfgraph.passes.rewrite import Rewriter, RuleSet

GATHERS = RuleSet()


@GATHERS.rule("GatherElements")
def gather_whole_rows(node: Node, rewriter: Rewriter) -> Value | None:
    """Elements gathered along axis 1 from one table for the whole batch, at indices repeated over a row, are rows.

    As in `torch.gather`, which models with rotary tables used to read them with.
    """
    data, indices = node.required(0), node.required(1)
    if data.type.known_shape is None or indices.type.known_shape is None or (data.rank, indices.rank) != (3, 3):
        return None
    axis, table, ids = attribute(node, "axis"), _unrepeated(data, 0), _unrepeated(indices, 2)
    if axis not in (1, -2) or table is None or ids is None or table.shape[2] != indices.shape[2]:
        return None
    rows = static_target(table.shape, table.shape[1:])
    positions = static_target(ids.shape, ids.shape[:2])
    if rows is None or positions is None:
        return None
    flat = rewriter.emit("Reshape", [table, rewriter.ints(rows)])
    return rewriter.emit("Gather", [flat, rewriter.emit("Reshape", [ids, rewriter.ints(positions)])], {"axis": 0})


def _unrepeated(value: Value, axis: int) -> Value | None:
    """What `value` repeats along `axis` alone, where it has size 1; `value` itself if it has size 1 there."""
    if value.shape[axis] == 1:
        return value
    node = value.producer
    if node is None or node.key not in ("Expand", "Tile"):
        return None
    x, wanted = node.required(0), tuple(1 if place == axis else dim for place, dim in enumerate(value.shape))
    return x if x.type.known_shape == wanted else None
