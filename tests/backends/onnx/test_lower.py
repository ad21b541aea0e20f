"""Lowering: names, interface, opset, value information, weights, and what a target refuses."""

from __future__ import annotations

import dataclasses
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from tfgraph.backends.onnx.capabilities import ONNX
from tfgraph.backends.onnx.lower import to_onnx_ir
from tfgraph.backends.onnx.read import from_onnx
from tfgraph.backends.onnx.write import to_bytes
from tfgraph.backends.onnxruntime.capabilities import CPU
from tfgraph.capabilities import Capabilities, Support
from tfgraph.errors import CheckpointError, OnnxError, TargetError
from tfgraph.ir.build import add_array, add_node
from tfgraph.ir.constant import AbsentConstant, ArrayConstant, Derived
from tfgraph.ir.dims import symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Opaque, Value

F = TensorProto.FLOAT


def lowered(graph: Graph, target: Capabilities = CPU) -> onnx.ModelProto:
    model = onnx.load_from_string(to_bytes(to_onnx_ir(graph, target)))
    onnx.checker.check_model(model, full_check=True)
    return model


def with_input() -> tuple[Graph, Value]:
    graph = Graph("g")
    return graph, graph.add_input("x", DType.FLOAT32, (symbol("batch"), 2 * symbol("seq"), 4))


def test_the_file_states_the_target_s_opset_and_who_made_it() -> None:
    graph, x = with_input()
    graph.set_output("y", add_node(graph, "Relu", [x]).output)
    for target in (CPU, ONNX):
        model = lowered(graph, target)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", target.opset)]
        assert model.ir_version == target.ir_version
        assert model.producer_name == "tfgraph"
        assert model.graph.name == "g"


def test_nodes_are_named_after_their_results_and_shapes_are_shown() -> None:
    graph, x = with_input()
    hidden = add_node(graph, "Relu", [x], names=["encoder.0.act"]).output
    graph.set_output("y", add_node(graph, "Neg", [hidden], names=["encoder.1.neg"]).output)
    model = lowered(graph)
    assert [node.name for node in model.graph.node] == ["encoder.0.act", "y"]
    (info,) = model.graph.value_info
    assert info.name == "encoder.0.act"
    dims = [dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim]
    assert dims == ["batch", "2*seq", 4]


def test_an_output_has_the_interface_s_name_whatever_the_value_s() -> None:
    graph, x = with_input()
    first = add_node(graph, "Relu", [x], names=["y"]).output  # another value has the output's name
    second = add_node(graph, "Neg", [first], names=["z"]).output
    graph.set_output("y", second)
    model = lowered(graph)
    assert [output.name for output in model.graph.output] == ["y"]
    assert [(list(node.input), list(node.output)) for node in model.graph.node] == [(["x"], ["y_1"]), (["y_1"], ["y"])]


def test_inputs_constants_and_repeated_results_are_returned_through_an_identity(run_onnx: Any) -> None:
    graph, x = with_input()
    result = add_node(graph, "Relu", [x]).output
    weight = add_array(graph, [1.0, 2.0], "w", "float32")
    for name, value in [("same", x), ("a", result), ("b", result), ("w", weight)]:
        graph.set_output(name, value)
    model = lowered(graph)
    assert [output.name for output in model.graph.output] == ["same", "a", "b", "w"]
    assert [node.op_type for node in model.graph.node] == ["Relu", "Identity", "Identity", "Identity"]
    data = np.ones((1, 2, 4), np.float32)
    found = run_onnx(model.SerializeToString(), {"x": data})
    np.testing.assert_array_equal(found["b"], data)
    np.testing.assert_array_equal(found["w"], [1, 2])


def test_an_input_handed_through_under_its_own_name(run_onnx: Any) -> None:
    graph, x = with_input()
    graph.set_output("x", x)
    graph.set_output("y", add_node(graph, "Neg", [x]).output)
    found = run_onnx(lowered(graph).SerializeToString(), {"x": np.ones((1, 2, 4), np.float32)})
    assert list(found) == ["x", "y"]


def test_an_output_with_the_name_of_another_input_is_refused() -> None:
    graph, x = with_input()
    graph.set_output("x", add_node(graph, "Neg", [x]).output)
    with pytest.raises(OnnxError, match="the output 'x' has the name of an input: rename one of them"):
        to_onnx_ir(graph, CPU)


def test_a_shared_constant_is_one_initializer_and_an_unused_one_none() -> None:
    graph, x = with_input()
    shared, unused = add_array(graph, np.ones(4), "shared", "float32"), add_array(graph, [1], "unused")
    total = add_node(graph, "Add", [add_node(graph, "Mul", [x, shared]).output, shared]).output
    graph.set_output("y", total)
    assert unused.num_uses == 0
    assert [tensor.name for tensor in lowered(graph).graph.initializer] == ["shared"]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int8).reshape(2, 3).T,
        np.array([[1, 2, 3]], dtype=">f4"),
        np.array([-8, 7, 1], dtype=ml_dtypes.int4),
        np.array([1.5, -2], dtype=ml_dtypes.bfloat16),
        np.array([0.5], dtype=ml_dtypes.float8_e4m3fn),
        np.array([True, False]),
        np.array("text", dtype=object),
        np.zeros((0, 3), np.float32),
        np.array(7),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_weights_of_any_dtype_and_layout_are_written_exactly(array: np.ndarray) -> None:
    graph = Graph()
    native = array.astype(array.dtype.newbyteorder("=")) if array.dtype.kind == "f" else array
    graph.set_output("y", graph.add_constant(ArrayConstant(native), "w"))
    (tensor,) = lowered(graph).graph.initializer
    identity = make_node("Identity", ["w"], ["y"])
    read = onnx.helper.make_graph([identity], "g", [], [onnx.ValueInfoProto(name="y")], [tensor])
    model = onnx.helper.make_model(read, opset_imports=[onnx.helper.make_opsetid("", 24)])
    (value,) = from_onnx(model).constants
    assert value.constant is not None
    np.testing.assert_array_equal(value.constant.numpy(), native)
    assert value.constant.numpy().dtype == native.dtype
    assert tensor.data_type == value.dtype.onnx_code


def test_attributes_of_every_kind(make_model: Any, run_onnx: Any) -> None:
    graph, x = with_input()
    cast = add_node(graph, "Cast", [x], {"to": "float16"}).output
    back = add_node(graph, "Cast", [cast], {"to": "float32"}).output
    shape = add_array(graph, [2, 2], "shape")
    filled = add_node(graph, "ConstantOfShape", [shape], {"value": 3, "dtype": "int64"}).output
    perm = add_node(graph, "Transpose", [back], {"perm": (2, 0, 1)}).output
    leaky = add_node(graph, "LeakyRelu", [perm], {"alpha": 1}).output  # an integer where ONNX has a float
    graph.set_output("y", leaky)
    graph.set_output("filled", filled)
    model = lowered(graph)
    attributes = {node.op_type: node.attribute[0] for node in model.graph.node}
    assert attributes["LeakyRelu"].type == onnx.AttributeProto.FLOAT
    assert attributes["Cast"].i == TensorProto.FLOAT
    found = run_onnx(model.SerializeToString(), {"x": np.ones((1, 2, 4), np.float32)})
    np.testing.assert_array_equal(found["filled"], np.full((2, 2), 3))
    assert found["filled"].dtype == np.int64


def test_optional_results_that_nothing_reads_are_left_out(make_model: Any) -> None:
    node = make_node("Dropout", ["x"], ["y", "mask"])
    for returned, named in ((["y"], ["y"]), (["y", "mask"], ["y", "mask"]), (["mask"], ["y", "mask"])):
        graph = from_onnx(make_model([node], {"x": (F, [3, 2])}, returned))
        assert list(lowered(graph).graph.node[0].output) == named


def test_a_skip_norm_names_the_sum_and_not_the_statistics_before_it(make_model: Any) -> None:
    node = make_node("SkipLayerNormalization", ["x", "x", "s", "s"], ["y", "", "", "sum"], domain="com.microsoft")
    weights = {"s": np.ones(2, np.float32)}
    model = make_model([node], {"x": (F, [1, 3, 2])}, ["y", "sum"], domains={"com.microsoft": 1}, initializers=weights)
    graph = from_onnx(model)
    assert not next(iter(graph)).domain.startswith("carried")
    (node,) = lowered(graph).graph.node
    assert list(node.output) == ["y", "", "", "sum"]


def test_what_continues_a_past_is_computed_though_nothing_reads_it(make_model: Any, run_onnx: Any) -> None:
    node = make_node("Attention", ["q", "k", "v", "", "pk", "pv"], ["y", "present_key", "present_value"])
    inputs = dict.fromkeys(("q", "k", "v", "pk", "pv"), (F, [1, 2, 4, 8]))
    model = lowered(from_onnx(make_model([node], inputs, {"y": (F, [1, 2, 4, 8])})))
    assert list(model.graph.node[0].output) == ["y", "present_key", "present_value"]
    feed = dict.fromkeys(inputs, np.ones((1, 2, 4, 8), np.float32))
    assert run_onnx(model.SerializeToString(), feed)["y"].shape == (1, 2, 4, 8)


def _anything(*keys: str) -> Capabilities:
    return Capabilities("anything", 24, 12, operators={key: Support() for key in keys})


def test_a_node_that_the_target_refuses_is_named_with_the_reason() -> None:
    graph, _ = with_input()
    half = graph.add_input("h", DType.BFLOAT16, (4, 4))
    graph.set_output("y", add_node(graph, "MatMul", [half, half], names=["layer.0.MatMul"]).output)
    message = "MatMul 'layer.0.MatMul' cannot be lowered for the target cpu: MatMul on cpu does not take bfloat16"
    with pytest.raises(TargetError, match=message):
        to_onnx_ir(graph, CPU)


@pytest.mark.parametrize(
    ("op", "attributes", "opset", "message"),
    [
        ("Swish", {}, 23, "Swish came with opset 24, and the target reads 23"),
        ("Cast", {"to": "float32", "round_mode": "up"}, 23, "Cast of opset 23 has no attribute round_mode"),
        ("Relu", {}, 17, "tfgraph writes opset 18 or newer, and the target reads 17"),
    ],
)
def test_what_an_opset_lacks_is_refused(op: str, attributes: Any, opset: int, message: str) -> None:
    graph, x = with_input()
    node = graph.add(op, [x], attributes, types=[x.type], names=["y"], domain="carried" if op == "Cast" else "")
    graph.set_output("y", node.output)
    target = dataclasses.replace(_anything("Swish"), opset=opset)
    with pytest.raises(TargetError) as error:
        to_onnx_ir(graph, target)
    assert message in str(error.value)


def test_operands_and_results_beyond_what_an_opset_has_are_refused() -> None:
    graph, x = with_input()
    node = graph.add("Relu", [x, x], types=[x.type], names=["y"], domain="carried")
    graph.set_output("y", node.output)
    with pytest.raises(TargetError, match="Relu of opset 24 takes 1 inputs, and this has 2"):
        to_onnx_ir(graph, CPU)
    graph, x = with_input()
    node = graph.add("Relu", [x], types=[x.type, x.type], names=["y", "z"], domain="carried")
    graph.set_output("y", node.output)
    with pytest.raises(TargetError, match="Relu of opset 24 gives 1 results, and this has 2"):
        to_onnx_ir(graph, CPU)


def test_an_attribute_that_no_file_can_hold_is_refused() -> None:
    graph, x = with_input()
    node = graph.add("Own", [x], {"a": Opaque("?", object())}, types=[x.type], names=["y"], domain="my.own")
    graph.set_output("y", node.output)
    with pytest.raises(OnnxError, match=r"the attribute 'a' of Own is .*, which no ONNX file can hold"):
        to_onnx_ir(graph, CPU)


def test_weights_without_values_are_lowered_and_refused_only_when_written() -> None:
    graph, x = with_input()
    for index in range(5):
        weight = graph.add_constant(AbsentConstant(DType.FLOAT32, (4, 4)), f"layer.{index}.weight")
        x = add_node(graph, "MatMul", [x, weight]).output
    graph.set_output("y", x)
    model = to_onnx_ir(graph, CPU)
    assert len(model.graph.initializers) == 5
    message = "cannot serialise the model: 5 of 5 weights have no values ('layer.0.weight', 'layer.1.weight', "
    with pytest.raises(CheckpointError) as error:
        to_bytes(model)
    assert message in str(error.value)
    assert "load a checkpoint" in str(error.value)


def test_an_error_of_reading_a_weight_comes_through_as_it_is() -> None:
    def fail() -> np.ndarray:
        raise CheckpointError("the checkpoint is gone")

    graph, x = with_input()
    weight = graph.add_constant(Derived(fail, [], ("fail",), DType.FLOAT32, (4,)), "w")
    graph.set_output("y", add_node(graph, "Add", [x, weight]).output)
    with pytest.raises(CheckpointError, match="the checkpoint is gone"):
        to_bytes(to_onnx_ir(graph, CPU))


def test_the_same_graph_gives_the_same_bytes(make_model: Any) -> None:
    nodes = [make_node("MatMul", ["x", "w"], ["h"]), make_node("Softmax", ["h"], ["y"])]
    model = make_model(nodes, {"x": (F, ["n", 4])}, ["y"], initializers={"w": np.eye(4, dtype=np.float32)})
    onnx.helper.set_model_props(model, {"b": "1", "a": "2"})
    once, again = (to_bytes(to_onnx_ir(from_onnx(model), CPU)) for _ in range(2))
    assert once == again
