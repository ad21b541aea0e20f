"""Widening: arithmetic in bfloat16 that a target has no kernels for runs in float32, between casts.

Results are rounded to bfloat16 again, so that every value keeps its type. What a target cannot run for other reasons is
written out by its definition (`legalise.py`).
"""

from __future__ import annotations

from typing import Final

from tfgraph.capabilities import Capabilities
from tfgraph.ir.build import add_node
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.optable import all_attributes, find_spec

NARROW: Final = DType.BFLOAT16
WIDE: Final = DType.FLOAT32
WIDENED: Final = "compute in float32 "
"""What the name of a change opens with that widens an operator."""


def runs_when_wide(node: Node, target: Capabilities) -> bool:
    """Whether `target`, which refuses `node`, would run it over float32 in place of bfloat16."""
    spec = find_spec(node.key)
    if spec is None or not any(_is_narrow(value) for value in node.inputs):
        return False
    dtypes = [None if value is None else value.dtype for value in node.inputs]
    refused = target.refusal(
        node.key,
        since=spec.since,
        composite=spec.body is not None,
        dtypes=tuple(WIDE if dtype is NARROW else dtype for dtype in dtypes),
        attributes=all_attributes(spec, node.attributes),
        num_outputs=len(node.outputs),
    )
    return refused is None


def widen(graph: Graph, node: Node) -> Node:
    """Put `node` over float32 in its own place, its bfloat16 operands and results cast; return the new node."""
    casts = {
        value: _cast(graph, node, value, WIDE)
        for value in dict.fromkeys(node.inputs)
        if value is not None and value.dtype is NARROW
    }
    operands = [None if value is None else casts.get(value, value) for value in node.inputs]
    wide = add_node(
        graph,
        node.key,
        operands,
        node.attributes,
        num_outputs=len(node.outputs),
        before=node,
        scope=node.scope,
        source=node.source,
    )
    results = [
        new if new.dtype is old.dtype or not old.num_uses else _cast(graph, node, new, old.dtype)
        for old, new in zip(node.outputs, wide.outputs, strict=True)
    ]
    names = [value.name for value in node.outputs]
    used = [bool(value.num_uses) for value in node.outputs]
    for old, new in zip(node.outputs, results, strict=True):
        graph.replace_all_uses(old, new)
    graph.erase(node)
    for name, is_used, new in zip(names, used, results, strict=True):
        if is_used:
            graph.rename(new, name)
    return wide


def _is_narrow(value: Value | None) -> bool:
    return value is not None and value.dtype is NARROW


def _cast(graph: Graph, before: Node, value: Value, dtype: DType) -> Value:
    attributes = {"to": dtype.onnx_code}
    return add_node(graph, "Cast", [value], attributes, before=before, scope=before.scope, source=before.source).output
