"""Scan of opset 8, whose operands have a batch axis: run by ONNX Runtime as it is, and after the upgrade."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_node, make_tensor_value_info

from tfgraph.backends.onnx.read import from_onnx
from tfgraph.backends.onnx.write import to_bytes
from tfgraph.compiler import compile
from tfgraph.errors import OnnxError
from tfgraph.ir.verify import verify

F = TensorProto.FLOAT


def scan_model(make_model: Any, *, lengths: str = "", batch: Any = 3, **attributes: Any) -> onnx.ModelProto:
    """Running sums of x [B, S, 2] and products with y [B, S, 2], scaled by a captured weight."""
    shape = [2]
    body = make_graph(
        [
            make_node("Mul", ["x", "scale"], ["scaled"]),
            make_node("Add", ["sum", "scaled"], ["next"]),
            make_node("Mul", ["next", "y"], ["product"]),
        ],
        "body",
        [make_tensor_value_info(name, F, shape) for name in ("sum", "x", "y")],
        [make_tensor_value_info(name, F, shape) for name in ("next", "product")],
    )
    node = make_node("Scan", [lengths, "sum0", "xs", "ys"], ["final", "products"], body=body, num_scan_inputs=2,
                     **attributes)  # fmt: skip
    inputs: dict[str, Any] = {"sum0": (F, [batch, 2]), "xs": (F, [batch, 5, 2]), "ys": (F, [batch, 5, 2])}
    inputs["w"] = (F, [2])
    if lengths:
        inputs[lengths] = (TensorProto.INT64, [batch])
    outputs = {"final": (F, [batch, 2]), "products": (F, [batch, 5, 2])}
    return make_model([make_node("Exp", ["w"], ["scale"]), node], inputs, outputs, opset=8, ir_version=3)


@pytest.mark.parametrize("batch", [3, 1, "batch"])
@pytest.mark.parametrize("directions", [None, [0, 1], [1, 1]])
def test_rows_are_scanned_on_their_own(
    batch: Any, directions: list[int] | None, make_model: Any, run_onnx: Any, rng: Any
) -> None:
    attributes = {} if directions is None else {"directions": directions}
    model = scan_model(make_model, batch=batch, **attributes)
    rows = batch if isinstance(batch, int) else 4
    feed = {"sum0": rng.standard_normal((rows, 2), dtype=np.float32), "w": np.array([0.5, 2], np.float32)}
    feed |= {name: rng.standard_normal((rows, 5, 2), dtype=np.float32) for name in ("xs", "ys")}
    compiled = compile(from_onnx(model), target="cpu")
    verify(compiled.graph)
    data = to_bytes(compiled.to_onnx_ir())
    onnx.checker.check_model(data)
    expected, found = run_onnx(model.SerializeToString(), feed), run_onnx(data, feed)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_lengths_of_rows_are_refused(make_model: Any) -> None:
    with pytest.raises(OnnxError, match="gives each row a length of its own, which newer opsets cannot"):
        from_onnx(scan_model(make_model, lengths="lengths"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda node: node.ClearField("attribute"), "without a body, or without anything to scan"),
        (lambda node: node.input.__setitem__(2, ""), "without a body, or without anything to scan"),
        (lambda node: node.ClearField("input"), "without a body, or without anything to scan"),
    ],
)
def test_damaged_nodes_are_refused(change: Any, message: str, make_model: Any) -> None:
    model = scan_model(make_model)
    change(model.graph.node[1])
    with pytest.raises(OnnxError, match=message):
        from_onnx(model)
