"""Importing: names, dimensions, constants, metadata, order, operators carried as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_node, make_tensor_value_info

from tfgraph.backends.onnx.lower import to_onnx_ir
from tfgraph.backends.onnx.read import from_onnx
from tfgraph.backends.onnx.write import to_bytes
from tfgraph.errors import OnnxError, TargetError
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Source

F = TensorProto.FLOAT


def test_names_types_and_order_are_the_file_s(make_model: Any, round_trip: Any, rng: Any) -> None:
    nodes = [
        make_node("MatMul", ["x", "w"], ["h"]),
        make_node("Add", ["h", "bias"], ["y"]),
        make_node("Relu", ["h"], ["z"]),
    ]
    weights = {"w": rng.standard_normal((4, 5), dtype=np.float32), "bias": np.ones(5, np.float32)}
    model = make_model(nodes, {"x": (F, ["batch", "seq", 4])}, ["z", "y"], initializers=weights)
    graph, lowered = round_trip(model, {"x": rng.standard_normal((2, 3, 4), dtype=np.float32)})
    assert list(graph.inputs) == ["x"]
    assert list(graph.outputs) == ["z", "y"]
    assert [value.name for value in graph.values()] == ["x", "w", "bias", "h", "y", "z"]
    assert format_shape(graph.outputs["y"].shape) == "[batch, seq, 5]"
    assert [node.op_type for node in lowered.graph.node] == ["MatMul", "Add", "Relu"]
    assert {info.name for info in lowered.graph.value_info} >= {"h"}
    assert lowered.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["batch", "seq"], "[batch, seq]"),
        (["past + seq", "2*batch"], "[past + seq, 2*batch]"),
        (["a b", "a.b"], "[`a b`, `a.b`]"),
        (["?", "None"], "[x_0, x_1]"),
        ([None, ""], "[x_0, x_1]"),
        ([7, "12"], "[7, 12]"),
        ([-1, "-1"], "[x_0, x_1]"),
        (["floor(s/2)", "max(s, 4)"], "[`floor(s/2)`, max(4, s)]"),
        (["s" * 600, "1" * 600], f"[{'s' * 600}, `{'1' * 600}`]"),
    ],
)
def test_dimensions_of_any_spelling_are_read(written: list[Any], read: str, make_model: Any) -> None:
    model = make_model([make_node("Relu", ["x"], ["y"])], {"x": (F, written)}, ["y"])
    assert format_shape(from_onnx(model).inputs["x"].shape) == read


@pytest.mark.parametrize("name", ["batch", "a b", "a.b", "1", "in", "max", "past + seq", "s0-s1"])
def test_a_dim_param_survives_the_round_trip(name: str, make_model: Any, anything: Any) -> None:
    model = make_model([make_node("Relu", ["x"], ["y"])], {"x": (F, [name])}, ["y"])
    once = onnx.load_from_string(to_bytes(to_onnx_ir(from_onnx(model), anything)))
    again = from_onnx(once)
    assert again.inputs["x"].shape == from_onnx(model).inputs["x"].shape


def test_an_input_of_unknown_rank_is_read(make_model: Any) -> None:
    graph = from_onnx(make_model([make_node("Relu", ["x"], ["y"])], {"x": (F, None)}, ["y"]))
    assert graph.inputs["x"].type.known_shape is None
    assert graph.outputs["y"].type.known_shape is None


def test_a_declared_shape_stands_in_where_inference_knows_no_rank(make_model: Any) -> None:
    model = make_model([make_node("Relu", ["x"], ["y"])], {"x": (F, None)}, {"y": (F, ["batch", None])})
    assert format_shape(from_onnx(model).outputs["y"].shape) == "[batch, y_1]"


def test_stale_value_information_does_not_override_inference(make_model: Any) -> None:
    model = make_model([make_node("Relu", ["x"], ["y"])], {"x": (F, [2, 3])}, {"y": (F, [9, 9, 9])})
    assert from_onnx(model).outputs["y"].shape == (2, 3)


def test_initializers_that_are_also_inputs_are_constants(make_model: Any, round_trip: Any, rng: Any) -> None:
    model = make_model(
        [make_node("Add", ["x", "w"], ["y"])],
        {"x": (F, [3]), "w": (F, [3])},
        ["y"],
        opset=9,
        ir_version=3,
        initializers={"w": np.arange(3, dtype=np.float32)},
    )
    graph, _ = round_trip(model, {"x": rng.standard_normal(3, dtype=np.float32)})
    assert list(graph.inputs) == ["x"]
    assert [value.name for value in graph.constants] == ["w"]


def test_constant_nodes_become_constants(make_model: Any, round_trip: Any) -> None:
    tensor = onnx.numpy_helper.from_array(np.array([[1, 2]], np.float32))
    nodes = [
        make_node("Constant", [], ["t"], value=tensor),
        make_node("Constant", [], ["f"], value_float=1.5),
        make_node("Constant", [], ["fs"], value_floats=[1.0, 2.0]),
        make_node("Constant", [], ["i"], value_int=3),
        make_node("Constant", [], ["is"], value_ints=[1, 2]),
        make_node("Add", ["t", "f"], ["a"]),
        make_node("Mul", ["a", "fs"], ["y"]),
        make_node("Reshape", ["y", "is"], ["z"]),
        make_node("Add", ["is", "i"], ["n"]),
    ]
    graph, lowered = round_trip(make_model(nodes, {}, ["y", "z", "n"]), {})
    assert len(graph) == 4
    assert graph.outputs["z"].shape == (1, 2)
    assert {tensor.name for tensor in lowered.graph.initializer} == {"t", "f", "fs", "i", "is"}


def test_string_constants_and_tensors_are_kept(make_model: Any, round_trip: Any) -> None:
    words = np.array(["a", "é", ""], dtype=object)
    nodes = [
        make_node("Constant", [], ["c"], value_strings=["b", "é"]),
        make_node("Concat", ["x", "c"], ["h"], axis=0),
        make_node("Gather", ["h", "i"], ["y"]),
    ]
    model = make_model(nodes, {"x": (TensorProto.STRING, [3])}, ["y"], initializers={"i": np.array([4, 0])})
    graph, _ = round_trip(model, {"x": words})
    assert graph.outputs["y"].dtype is DType.STRING


def test_sparse_initializers_are_made_dense(make_model: Any, round_trip: Any, rng: Any) -> None:
    model = make_model([make_node("Add", ["x", "w"], ["y"])], {"x": (F, [2, 3])}, ["y"])
    values = onnx.numpy_helper.from_array(np.array([5, 7], np.float32), "w")
    indices = onnx.numpy_helper.from_array(np.array([1, 5]), "indices")
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [2, 3]))
    graph, _ = round_trip(model, {"x": rng.standard_normal((2, 3), dtype=np.float32)})
    (constant,) = (value.constant for value in graph.constants)
    assert constant is not None
    np.testing.assert_array_equal(constant.numpy(), [[0, 5, 0], [0, 0, 7]])


def test_nodes_in_any_order_are_sorted(make_model: Any, run_onnx: Any, anything: Any, rng: Any) -> None:
    nodes = [make_node("Neg", ["b"], ["y"]), make_node("Relu", ["x"], ["a"]), make_node("Exp", ["a"], ["b"])]
    shuffled = make_model(nodes, {"x": (F, [4])}, ["y"])
    graph = from_onnx(shuffled)
    assert [node.op for node in graph] == ["Relu", "Exp", "Neg"]
    x = rng.standard_normal(4, dtype=np.float32)
    found = run_onnx(to_bytes(to_onnx_ir(graph, anything)), {"x": x})["y"]
    np.testing.assert_allclose(found, -np.exp(np.maximum(x, 0)), rtol=1e-6)


def test_metadata_is_kept_and_the_target_recorded(make_model: Any, anything: Any) -> None:
    model = make_model([make_node("Relu", ["x"], ["y"])], {"x": (F, [1])}, ["y"])
    onnx.helper.set_model_props(model, {"author": "somebody", "tfgraph.domain.x": "none of a user's business"})
    graph = from_onnx(model)
    assert graph.metadata == {"author": "somebody"}
    lowered = to_onnx_ir(graph, anything, {"tfgraph.passes": "a,b"})
    assert lowered.metadata_props["author"] == "somebody"
    assert lowered.metadata_props["tfgraph.target"] == "anything"
    assert lowered.metadata_props["tfgraph.passes"] == "a,b"
    assert "tfgraph.version" in lowered.metadata_props


def test_a_source_line_is_written_without_folders_and_read_back(make_model: Any, anything: Any) -> None:
    graph = from_onnx(make_model([make_node("Relu", ["x"], ["y"])], {"x": (F, [1])}, ["y"]))
    next(iter(graph)).source = Source("/home/somebody/model.py", 12)
    again = from_onnx(to_bytes(to_onnx_ir(graph, anything)))
    assert next(iter(again)).source == Source("model.py", 12)


def test_operators_of_other_domains_are_carried(make_model: Any, anything: Any) -> None:
    nodes = [
        make_node("Mystery", ["x", "", "w"], ["", "a", ""], domain="my.own", alpha=0.5, names=["p", "q"], t=_tensor()),
        make_node("Relu", ["a"], ["y"]),
    ]
    model = make_model(
        nodes, {"x": (F, ["n", 3])}, ["y"], domains={"my.own": 7}, initializers={"w": np.ones(3, np.float32)}
    )
    model.graph.value_info.append(make_tensor_value_info("a", F, ["n", None]))
    graph = from_onnx(model)
    mystery = next(iter(graph))
    assert mystery.key == "my.own::Mystery"
    assert [None if value is None else value.name for value in mystery.inputs] == ["x", None, "w"]
    assert format_shape(graph.outputs["y"].shape) == "[n, a_1]"
    lowered = onnx.load_from_string(to_bytes(to_onnx_ir(graph, anything)))
    node = lowered.graph.node[0]
    assert (list(node.input), list(node.output)) == (["x", "", "w"], ["", "a"])
    assert {
        attribute.name: onnx.helper.get_attribute_value(attribute)
        for attribute in node.attribute
        if attribute.name != "t"
    } == {
        "alpha": 0.5,
        "names": [b"p", b"q"],
    }
    assert {entry.domain: entry.version for entry in lowered.opset_import} == {"": 24, "my.own": 7}


def _tensor() -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.arange(3, dtype=np.int64))


def test_a_standard_operator_that_the_table_lacks_is_carried_with_inferred_types(
    make_model: Any, round_trip: Any, rng: Any
) -> None:
    model = make_model(
        [make_node("LSTM", ["x", "w", "r"], ["", "h"], hidden_size=2), make_node("Relu", ["h"], ["y"])],
        {"x": (F, ["seq", "batch", 3])},
        ["y"],
        initializers={name: rng.standard_normal((1, 8, size), dtype=np.float32) for name, size in (("w", 3), ("r", 2))},
    )
    graph, lowered = round_trip(model, {"x": rng.standard_normal((5, 4, 3), dtype=np.float32)})
    assert format_shape(graph.outputs["y"].shape) == "[1, batch, 2]"
    assert list(lowered.graph.node[0].output) == ["", "h"]


def test_a_form_that_the_table_lacks_is_carried(make_model: Any, round_trip: Any, rng: Any) -> None:
    weights = {name: np.array([0.5, 1.5], np.float32) for name in ("s", "b", "m", "v")}
    node = make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "mean", "var"], training_mode=1)
    model = make_model([node], {"x": (F, [3, 2, 4])}, ["y", "mean", "var"], opset=15, initializers=weights)
    graph, lowered = round_trip(model, {"x": rng.standard_normal((3, 2, 4), dtype=np.float32)})
    assert next(iter(graph)).domain == "carried"
    assert lowered.graph.node[0].domain == ""


def test_what_came_after_the_ir_s_opset_is_carried_and_refused_by_an_older_target(
    make_model: Any, anything: Any
) -> None:
    shape = (F, [1, 2, 4, 8])
    inputs = dict.fromkeys("qkv", shape)
    plain = make_node("Attention", ["q", "k", "v"], ["y"], left_window_size=-1)
    window = make_node("Attention", ["q", "k", "v"], ["y"], left_window_size=2)
    (node,) = from_onnx(make_model([plain], inputs, ["y"], opset=25))
    assert (node.domain, dict(node.attributes)) == ("", {})
    graph = from_onnx(make_model([window], inputs, ["y"], opset=25))
    assert next(iter(graph)).domain == "carried"
    with pytest.raises(TargetError, match="Attention of opset 24 has no attribute left_window_size"):
        to_onnx_ir(graph, anything)


def test_a_path_is_read_and_named_in_errors(make_model: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(make_model([make_node("Relu", ["x"], ["y"])], {"x": (F, [1])}, ["y"]), path)
    assert list(from_onnx(path).outputs) == ["y"]
    assert list(from_onnx(str(path)).outputs) == ["y"]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(OnnxError, match=r"model\.onnx"):
        from_onnx(path)
