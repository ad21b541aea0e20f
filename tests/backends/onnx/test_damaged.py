"""Damaged files: every one of them an `OnnxError` that says what is wrong, never a hang or a dependency's traceback."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_node, make_opsetid, make_tensor_value_info

from tfgraph.backends.onnx.read import from_onnx
from tfgraph.errors import OnnxError

F = TensorProto.FLOAT


def simple(make_model: Any, **changes: Any) -> onnx.ModelProto:
    return make_model(
        [make_node("MatMul", ["x", "w"], ["h"]), make_node("Relu", ["h"], ["y"])],
        {"x": (F, ["n", 4])},
        ["y"],
        initializers={"w": np.eye(4, dtype=np.float32)},
        **changes,
    )


def refused(model: onnx.ModelProto | bytes | Path) -> str:
    with pytest.raises(OnnxError) as error:
        from_onnx(model)
    assert error.value.__cause__ is None
    return str(error.value)


def test_a_missing_file_a_folder_and_an_empty_file(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "model.onnx")
    assert "directory" in refused(tmp_path)
    (tmp_path / "empty.onnx").write_bytes(b"")
    assert "holds no graph" in refused(tmp_path / "empty.onnx")


def test_what_is_no_protobuf() -> None:
    assert "damaged, or is no ONNX model" in refused(b"PK\x03\x04 this is a zip file, not a model" * 10)


def test_a_name_that_is_no_text(make_model: Any) -> None:
    data = make_model([make_node("Relu", ["input"], ["y"])], {"input": (F, [1])}, ["y"]).SerializeToString()
    assert "the name b'inp\\xfft' in it is not UTF-8" in refused(data.replace(b"input", b"inp\xfft"))


def test_a_truncated_file_at_every_length(make_model: Any) -> None:
    data = simple(make_model).SerializeToString()
    for length in range(len(data)):
        refused(data[:length])


@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=300)
def test_flipped_bytes_never_raise_anything_else(data: st.DataObject) -> None:
    original = bytearray(_SAMPLE)
    for _ in range(data.draw(st.integers(1, 4))):
        original[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(OnnxError):  # anything else fails the test
        from_onnx(bytes(original))


@pytest.mark.parametrize(
    ("opset", "message"), [(0, "opset 0, and tfgraph reads 7 to 28"), (29, "opset 29"), (-1, "-1")]
)
def test_an_opset_that_is_not_read(opset: int, message: str, make_model: Any) -> None:
    assert message in refused(simple(make_model, opset=opset))


def test_of_the_oldest_opsets_the_forms_that_stayed_are_read(make_model: Any) -> None:
    assert [node.key for node in from_onnx(simple(make_model, opset=6))] == ["MatMul", "Relu"]
    for op in ("Add", "Dropout", "SequenceAt"):
        model = simple(make_model, opset=6)
        model.graph.node[1].op_type = op
        assert f"{op} 'y' has the form of ONNX opset 6, and tfgraph reads 7 to 28" in refused(model)


def test_no_opset_or_two(make_model: Any) -> None:
    model = simple(make_model)
    model.opset_import.append(make_opsetid("ai.onnx", 23))
    assert "two versions of the domain '': 24 and 23" in refused(model)
    del model.opset_import[:]
    assert "does not say which opset" in refused(model)
    model.opset_import.append(make_opsetid("my.own", 1))
    assert "of the ONNX domain, whose opset the model does not name" in refused(model)


def test_names_that_nothing_or_too_much_produces(make_model: Any) -> None:
    model = simple(make_model)
    model.graph.node[1].input[0] = "nowhere"
    assert "Relu 'y' reads 'nowhere', which nothing produces" in refused(model)

    model = simple(make_model)
    model.graph.node.append(make_node("Neg", ["x"], ["h"]))
    assert "the name 'h' is produced twice, the second time by Neg 'h'" in refused(model)

    model = simple(make_model)
    model.graph.node.append(make_node("Neg", ["h"], ["w"]))
    assert "the name 'w' is produced twice" in refused(model)

    model = simple(make_model)
    model.graph.output.append(onnx.ValueInfoProto(name="nowhere"))
    assert "'nowhere' is read and nothing produces it" in refused(model)

    model = simple(make_model)
    model.graph.output.append(model.graph.output[0])
    assert "returns 'y' twice" in refused(model)

    model = simple(make_model)
    model.graph.input.append(model.graph.input[0])
    assert "declares an input twice" in refused(model)

    model = simple(make_model)
    model.graph.initializer.append(model.graph.initializer[0])
    assert "two initializers named 'w'" in refused(model)


def test_cycles(make_model: Any) -> None:
    model = simple(make_model)
    model.graph.node[0].input[0] = "y"
    assert "the nodes form a cycle, which MatMul 'h' belongs to" in refused(model)
    model.graph.node[0].input[0] = "h"
    assert "cycle" in refused(model)


def test_a_cycle_through_a_subgraph(make_model: Any) -> None:
    branch = make_graph([make_node("Neg", ["z"], ["b"])], "b", [], [make_tensor_value_info("b", F, None)])
    nodes = [make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch), make_node("Relu", ["y"], ["z"])]
    assert "cycle" in refused(make_model(nodes, {"c": (TensorProto.BOOL, [])}, ["y"]))


def test_inputs_without_a_type_or_that_are_no_tensors(make_model: Any) -> None:
    model = simple(make_model)
    model.graph.input[0].ClearField("type")
    assert "the input 'x' of the model has no name, or no element type" in refused(model)
    model.graph.input[0].type.CopyFrom(onnx.helper.make_sequence_type_proto(onnx.helper.make_tensor_type_proto(F, [1])))
    assert "takes tensors only, and its input 'x' is sequence<float32[1]>" in refused(model)
    value = onnx.helper.make_tensor_type_proto(F, [1])
    model.graph.input[0].type.CopyFrom(onnx.helper.make_map_type_proto(onnx.TensorProto.INT64, value))
    assert "the value 'x' is a map, and tfgraph reads tensors, sequences and optional values" in refused(model)
    model.graph.input[0].type.CopyFrom(onnx.helper.make_tensor_type_proto(TensorProto.COMPLEX64, [1]))
    assert "'x' has the element type COMPLEX64, which tfgraph does not read" in refused(model)
    model.graph.input[0].type.tensor_type.elem_type = 999
    assert "the element type number 999" in refused(model)


def test_operands_that_make_no_sense(make_model: Any) -> None:
    model = simple(make_model)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.eye(5, dtype=np.float32), "w"))
    message = refused(model)
    assert "MatMul 'h' is not valid ONNX" in message
    model = make_model([make_node("Transpose", ["x"], ["y"], perm=[0, 7])], {"x": (F, [2, 3])}, ["y"])
    assert "Transpose 'y' is not valid ONNX" in refused(model)


def test_a_constant_without_a_value(make_model: Any) -> None:
    assert "Constant 'y' has no value" in refused(make_model([make_node("Constant", [], ["y"])], {}, ["y"]))


def test_an_attribute_of_a_kind_that_is_not_read(make_model: Any) -> None:
    node = make_node("Mystery", ["x"], ["y"], domain="my.own")
    node.attribute.append(onnx.helper.make_attribute("t", [onnx.helper.make_tensor_type_proto(F, [1])]))
    model = make_model([node], {"x": (F, [1])}, ["y"], domains={"my.own": 1})
    assert "the attribute 't' of Mystery is of the kind TYPE_PROTOS" in refused(model)
    node.attribute[0].CopyFrom(onnx.helper.make_attribute("t", onnx.TypeProto()))
    model = make_model([node], {"x": (F, [1])}, ["y"], domains={"my.own": 1})
    assert "the attribute 't' of Mystery is a type without an element type" in refused(model)


def test_a_fill_of_more_than_one_element(make_model: Any) -> None:
    value = onnx.numpy_helper.from_array(np.zeros(2, np.float32))
    node = make_node("ConstantOfShape", ["s"], ["y"], value=value)
    model = make_model([node], {}, ["y"], initializers={"s": np.array([2])})
    assert "a fill of float32[2]: expected one element" in refused(model)


def _sample() -> bytes:
    branch = make_graph([make_node("Neg", ["h"], ["b"])], "b", [], [make_tensor_value_info("b", F, None)])
    nodes = [
        make_node("MatMul", ["x", "w"], ["h"]),
        make_node("If", ["c"], ["i"], then_branch=branch, else_branch=branch),
        make_node("ReduceSum", ["i"], ["r"], axes=[1], keepdims=0),
        make_node("Softmax", ["h"], ["p"], axis=0),
        make_node("Own", ["r", "p"], ["y"], domain="my.own", a=1.5, b=[1, 2], s="text"),
    ]
    graph = make_graph(
        nodes,
        "main",
        [make_tensor_value_info("x", F, ["n", 4]), make_tensor_value_info("c", TensorProto.BOOL, [])],
        [make_tensor_value_info("y", F, ["n"])],
        [onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")],
    )
    imports = [make_opsetid("", 12), make_opsetid("my.own", 2)]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()


_SAMPLE = _sample()
