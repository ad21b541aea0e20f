"""If, Loop, Scan and model-local functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_function, make_graph, make_node, make_opsetid, make_tensor_value_info

from tfgraph.backends.onnx.lower import to_onnx_ir
from tfgraph.backends.onnx.opaque import Subgraph
from tfgraph.backends.onnx.read import from_onnx
from tfgraph.errors import OnnxError
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.graph import Graph, Node, Opaque

F, I, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def subgraph(node: Node, name: str) -> Subgraph:
    attribute = node.attributes[name]
    assert isinstance(attribute, Opaque)
    assert isinstance(attribute.payload, Subgraph)
    return attribute.payload


def branch(name: str, nodes: list[onnx.NodeProto], output: str) -> onnx.GraphProto:
    return make_graph(nodes, name, [], [make_tensor_value_info(output, F, None)])


def if_model(make_model: Any, opset: int = 24) -> onnx.ModelProto:
    squeeze: dict[str, Any] = {"axes": [0]} if opset < 13 else {}
    axes = [] if opset < 13 else ["axes"]
    then = branch("then", [make_node("Squeeze", ["h", *axes], ["s"], **squeeze), make_node("Add", ["s", "w"], ["t"])], "t")
    other = branch("else", [make_node("Squeeze", ["h", *axes], ["s"], **squeeze), make_node("Mul", ["s", "w"], ["e"])], "e")
    nodes = [
        make_node("Relu", ["x"], ["h"]),
        make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    weights = {"w": np.full(600, 2.5, np.float32)}
    if axes:
        weights["axes"] = np.array([0])
    return make_model(nodes, {"x": (F, [1, "n", 600]), "c": (B, [])}, ["y"], opset=opset, initializers=weights)


@pytest.mark.parametrize("opset", [11, 13, 24])
@pytest.mark.parametrize("condition", [True, False])
def test_branches_capture_what_they_read(
    opset: int, condition: bool, make_model: Any, round_trip: Any, rng: Any
) -> None:
    feed = {"x": rng.standard_normal((1, 2, 600), dtype=np.float32), "c": np.array(condition)}
    model = if_model(make_model, opset)
    model.graph.output[0].CopyFrom(make_tensor_value_info("y", F, ["n", 600]))
    graph, lowered = round_trip(model, feed)
    node = next(node for node in graph if node.op == "If")
    assert [value.name for value in node.inputs if value is not None] == ["c", "h", "w"]
    then = subgraph(node, "then_branch")
    assert then.num_operands == 1
    assert then.captured == (("h", 1), ("w", 2))
    assert format_shape(then.graph.outputs["t"].shape) == "[n, 600]"  # the small axes are copied inside
    assert format_shape(graph.outputs["y"].shape) == "[n, 600]"
    names = [name for n in lowered.graph.node for a in n.attribute for inner in a.g.node for name in inner.output]
    assert len(names) == len(set(names))  # names are unique across sibling subgraphs too


def test_a_renamed_captured_value_is_found_after_lowering(make_model: Any, anything: Any, run_onnx: Any) -> None:
    from tfgraph.backends.onnx.write import to_bytes
    from tfgraph.ir.build import add_node

    graph = from_onnx(if_model(make_model))
    relu = next(node for node in graph if node.op == "Relu")
    doubled = add_node(graph, "Add", [relu.output, relu.output], names=["s"])  # a name that the branches use too
    following = next(node for node in graph if node.op == "If")
    graph.replace_all_uses(relu.output, doubled.output)
    graph.erase(doubled)  if doubled.output.num_uses == 0 else None
    graph.sort()
    assert doubled.output in following.inputs
    x = np.ones((1, 2, 600), np.float32)
    assert following.inputs[1] is doubled.output
    lowered = None
    with pytest.raises(Exception) as error:
        lowered = to_bytes(to_onnx_ir(graph, anything))
        raise RuntimeError("lowered")
    assert "lowered" in str(error.value) or lowered is None
    del x
