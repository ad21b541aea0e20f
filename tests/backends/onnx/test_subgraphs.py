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
from tfgraph.backends.onnx.write import to_bytes
from tfgraph.errors import OnnxError
from tfgraph.ir.build import add_node
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.graph import Node, Opaque
from tfgraph.ir.verify import verify

F, B = TensorProto.FLOAT, TensorProto.BOOL


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
    then = branch(
        "then", [make_node("Squeeze", ["h", *axes], ["s"], **squeeze), make_node("Add", ["s", "w"], ["t"])], "t"
    )
    other = branch(
        "else", [make_node("Squeeze", ["h", *axes], ["s"], **squeeze), make_node("Mul", ["s", "w"], ["e"])], "e"
    )
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
    inner_names = {name for n in lowered.graph.node for a in n.attribute for inner in a.g.node for name in inner.output}
    assert not inner_names & {name for n in lowered.graph.node for name in n.output}


def test_a_captured_value_that_a_pass_replaced_is_found_after_lowering(
    make_model: Any, anything: Any, run_onnx: Any
) -> None:
    graph = from_onnx(if_model(make_model))
    relu = next(node for node in graph if node.op == "Relu")
    absolute = add_node(graph, "Abs", relu.inputs, names=["s"], before=relu)  # a name that the branches use inside too
    graph.replace_all_uses(relu.output, absolute.output)
    graph.erase(relu)
    verify(graph)
    x = np.linspace(-1, 1, 600, dtype=np.float32).reshape(1, 1, 600)
    found = run_onnx(to_bytes(to_onnx_ir(graph, anything)), {"x": x, "c": np.array(True)})["y"]
    np.testing.assert_array_equal(found, np.abs(x[0]) + np.float32(2.5))


def test_a_branch_that_hands_on_a_captured_value(make_model: Any, round_trip: Any, rng: Any) -> None:
    then = branch("then", [make_node("Identity", ["x"], ["t"])], "t")
    other = branch("else", [make_node("If", ["c"], ["e"], then_branch=then, else_branch=then)], "e")
    model = make_model(
        [make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)],
        {"x": (F, [3]), "c": (B, [])},
        {"y": (F, [3])},
    )
    graph, _ = round_trip(model, {"x": rng.standard_normal(3, dtype=np.float32), "c": np.array(False)})
    (node,) = graph
    inner = next(iter(subgraph(node, "else_branch").graph))
    assert subgraph(inner, "then_branch").captured == (("x", 1),)


def loop_model(make_model: Any, typed: bool) -> onnx.ModelProto:
    types: dict[str, tuple[int, list[int]]] = {"i": (TensorProto.INT64, []), "go": (B, []), "state": (F, [2])}
    body = make_graph(
        [
            make_node("Add", ["state", "x"], ["next"]),
            make_node("Identity", ["go"], ["go_on"]),
            make_node("Mul", ["next", "x"], ["seen"]),
        ],
        "body",
        [
            make_tensor_value_info(name, *type_) if typed else onnx.ValueInfoProto(name=name)
            for name, type_ in types.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in ("go_on", "next", "seen")],
    )
    return make_model(
        [make_node("Loop", ["count", "", "start"], ["last", "all"], body=body)],
        {"x": (F, [2]), "start": (F, [2])},
        {"last": (F, [2]), "all": (F, [None, 2])},
        initializers={"count": np.array(3)},
    )


def test_a_loop_with_carried_and_stacked_values(make_model: Any, round_trip: Any, rng: Any) -> None:
    feed = {name: rng.standard_normal(2, dtype=np.float32) for name in ("x", "start")}
    graph, _ = round_trip(loop_model(make_model, typed=True), feed)
    (node,) = graph
    assert [None if value is None else value.name for value in node.inputs] == ["count", None, "start", "x"]


def test_a_body_without_types_takes_them_from_its_node(make_model: Any) -> None:
    model = loop_model(make_model, typed=False)
    for output in model.graph.output:
        output.ClearField("type")
    graph = from_onnx(model)
    (node,) = graph
    inner = subgraph(node, "body").graph
    assert [str(value.dtype) for value in inner.inputs.values()] == ["int64", "bool", "float32", "float32"]
    assert inner.inputs["i"].shape == ()
    assert [str(value.type) for value in graph.outputs.values()] == ["float32[...]", "float32[...]"]


def test_a_scan(make_model: Any, round_trip: Any, rng: Any) -> None:
    body = make_graph(
        [make_node("Add", ["total", "row"], ["next"]), make_node("Identity", ["next"], ["seen"])],
        "body",
        [make_tensor_value_info(name, F, [2]) for name in ("total", "row")],
        [make_tensor_value_info(name, F, [2]) for name in ("next", "seen")],
    )
    model = make_model(
        [make_node("Scan", ["start", "x"], ["last", "all"], body=body, num_scan_inputs=1)],
        {"x": (F, ["n", 2]), "start": (F, [2])},
        {"last": (F, [2]), "all": (F, ["n", 2])},
    )
    feed = {"x": rng.standard_normal((4, 2), dtype=np.float32), "start": np.zeros(2, np.float32)}
    graph, _ = round_trip(model, feed)
    assert format_shape(graph.outputs["all"].shape) == "[n, 2]"


def test_a_subgraph_reads_a_value_that_is_produced_later_in_the_file(make_model: Any, round_trip: Any) -> None:
    model = if_model(make_model)
    model.graph.output[0].CopyFrom(make_tensor_value_info("y", F, [None, 600]))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    assert [node.op for node in from_onnx(model)] == ["Relu", "If"]


def function_model(make_model: Any) -> onnx.ModelProto:
    """y = Outer(x), which calls Inner twice; Inner is of an older opset, and one of its attributes has a default."""
    inner = make_function(
        "local",
        "Inner",
        ["a", "b"],
        ["out"],
        [
            _with_reference(make_node("LeakyRelu", ["a"], ["scaled"]), "alpha", "slope", onnx.AttributeProto.FLOAT),
            _with_reference(
                make_node("ReduceSum", ["scaled"], ["sum"], keepdims=1), "axes", "axes", onnx.AttributeProto.INTS
            ),
            make_node("Add", ["sum", "a"], ["out"]),
        ],
        [make_opsetid("", 12)],
        ["axes"],
        [onnx.helper.make_attribute("slope", 0.25)],
    )
    outer = make_function(
        "local",
        "Outer",
        ["x"],
        ["out"],
        [
            make_node("Inner", ["x"], ["h"], domain="local", axes=[1]),
            make_node("Inner", ["h", ""], ["out"], domain="local", axes=[0], slope=0.5),
        ],
        [make_opsetid("", 24), make_opsetid("local", 1)],
    )
    return make_model(
        [make_node("Outer", ["x"], ["y"], domain="local")],
        {"x": (F, [2, 3])},
        ["y"],
        domains={"local": 1},
        functions=[inner, outer],
    )


def _with_reference(node: onnx.NodeProto, name: str, reference: str, kind: int) -> onnx.NodeProto:
    node.attribute.append(onnx.AttributeProto(name=name, ref_attr_name=reference, type=kind))
    return node


def test_functions_are_written_out(make_model: Any, anything: Any, run_onnx: Any, rng: Any) -> None:
    graph = from_onnx(function_model(make_model))
    verify(graph)
    assert [node.op for node in graph] == ["LeakyRelu", "ReduceSum", "Add"] * 2
    assert [node.output.name for node in graph][-1] == "y"
    assert len({value.name for value in graph.values()}) == len(list(graph.values()))
    x = rng.standard_normal((2, 3), dtype=np.float32)

    def inner(a: np.ndarray, axis: int, slope: float) -> np.ndarray:
        return np.where(a > 0, a, a * np.float32(slope)).sum(axis, keepdims=True) + a

    found = run_onnx(to_bytes(to_onnx_ir(graph, anything)), {"x": x})["y"]
    np.testing.assert_allclose(found, inner(inner(x, 1, 0.25), 0, 0.5), rtol=1e-6)


def test_deeply_nested_branches(make_model: Any, round_trip: Any) -> None:
    graph = branch("inner", [make_node("Neg", ["x"], ["t"])], "t")
    for depth in range(25):
        graph = branch(f"depth{depth}", [make_node("If", ["c"], ["t"], then_branch=graph, else_branch=graph)], "t")
        if depth:  # two copies at the deepest level, one on the way
            del graph.node[0].attribute[1].g.node[:]
            graph.node[0].attribute[1].g.node.append(make_node("Abs", ["x"], ["t"]))
    node = make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)
    model = make_model([node], {"x": (F, [2]), "c": (B, [])}, {"y": (F, [2])})
    round_trip(model, {"x": np.array([1, -2], np.float32), "c": np.array(True)})


def test_a_function_that_calls_itself_is_refused(make_model: Any) -> None:
    model = function_model(make_model)
    model.functions[0].node.append(make_node("Outer", ["a"], ["again"], domain="local"))
    with pytest.raises(OnnxError, match="local::Outer of the model calls itself"):
        from_onnx(model)


def test_functions_that_stand_for_too_many_nodes_are_refused(make_model: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("tfgraph.backends.onnx.read._MOST_NODES", 5)
    with pytest.raises(OnnxError, match="the functions of the model stand for more than 5 nodes once written out"):
        from_onnx(function_model(make_model))


def test_a_call_with_too_many_operands_is_refused(make_model: Any) -> None:
    model = function_model(make_model)
    model.graph.node[0].input.append("x")
    with pytest.raises(OnnxError, match="has 2 inputs and 1 outputs, and the function takes 1 and gives 1"):
        from_onnx(model)
