"""Scan of opset 8, the only one with a batch axis, as two that have none: one over the batch, and the real one inside.

The body of the outer Scan is a graph of one node, the inner Scan, whose body is the file's.
"""

from __future__ import annotations

from collections.abc import Sequence

from tfgraph.backends.onnx.opaque import Subgraph
from tfgraph.backends.onnx.opaque_types import opaque_types
from tfgraph.backends.onnx.upgrade import Application, Builder
from tfgraph.backends.onnx.value_types import NOTHING
from tfgraph.errors import OnnxError
from tfgraph.ir.graph import Graph, Opaque, Value
from tfgraph.ir.optable import OPSET


def scan_8(app: Application, _build: Builder) -> None:
    """Rewrite a Scan whose operands are a length for each row (which must be left out), states, and what is scanned.

    Every row of the batch starts from its own states, so that states are scanned as well: by the outer Scan.

    Raises:
        OnnxError: rows have lengths of their own, or the node is damaged.
    """
    given = app.attributes.pop("body", None)
    body = given.payload if isinstance(given, Opaque) else None
    operands = [
        value for value in app.inputs[1:] if value is not None
    ]  # those of the node, then what its body captures
    if not isinstance(body, Subgraph) or body.num_operands < 2 or len(operands) != len(app.inputs) - 1:
        raise OnnxError(f"{app.label} is a Scan of opset 8 without a body, or without anything to scan")
    if app.input(0) is not None:
        raise OnnxError(
            f"{app.label} is a Scan of opset 8 that gives each row a length of its own, which newer opsets cannot: "
            "convert the model to opset 11 or newer first"
        )
    directions = app.attributes.pop("directions", None)
    if directions is not None:
        app.attributes["scan_input_directions"] = directions
    count = body.num_operands - 1
    rows = _over_rows(app, body, operands[:count], operands[count:])
    captured = tuple((name, index) for index, name in enumerate(rows.inputs) if index >= count)
    app.inputs = [*operands]
    app.attributes = {
        "body": Opaque(f"graph {rows.name}", Subgraph(rows, captured, count)),
        "num_scan_inputs": count,
    }


def _over_rows(app: Application, body: Subgraph, scanned: Sequence[Value], captured: Sequence[Value]) -> Graph:
    """The graph that scans one row: its inputs are `scanned` without their batch axis, then `captured`."""
    rows = Graph("rows")
    inputs: list[Value | None] = []
    for index, value in enumerate(scanned):
        shape = value.type.known_shape
        inputs.append(rows.add_input(f"operand_{index}", value.dtype, shape[1:] if shape else None))
    for index, value in enumerate(captured):
        inner_value = rows.add_input(f"captured_{index}", value.dtype, value.type.known_shape)
        inner_value.type = value.type
        inputs.append(inner_value)
    moved = Subgraph(body.graph, tuple((name, place - 1) for name, place in body.captured), len(scanned))
    attributes = {**app.attributes, "body": Opaque(f"graph {body.graph.name}", moved)}
    names = [f"result_{index}" for index in range(len(app.outputs))]
    inner = Application("Scan", "", inputs, names, attributes, app.label)
    types = opaque_types(inner, [NOTHING] * len(names), OPSET)
    node = rows.add("Scan", inputs, attributes, types=types, names=names)
    for name, value in zip(names, node.outputs, strict=True):
        rows.set_output(name, value)
    return rows
