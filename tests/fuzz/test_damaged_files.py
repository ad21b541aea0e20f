"""Damaged and hostile files through `optimize_onnx`: a typed error, soon, in little memory, and nothing written."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_node, make_opsetid, make_tensor_value_info

import tfgraph as tg
from tests.fuzz.damage import attempt, flipped_bytes, refuse_cut_short

F = TensorProto.FLOAT


def sample() -> onnx.ModelProto:
    """A norm and a small attention, over a weight and a subgraph."""
    branch = make_graph([make_node("Neg", ["h"], ["b"])], "b", [], [make_tensor_value_info("b", F, None)])
    nodes = [
        make_node("MatMul", ["x", "w"], ["h"]),
        make_node("If", ["c"], ["i"], then_branch=branch, else_branch=branch),
        make_node("Transpose", ["h"], ["t"], perm=[0, 2, 1]),
        make_node("MatMul", ["h", "t"], ["scores"]),
        make_node("Softmax", ["scores"], ["p"], axis=-1),
        make_node("MatMul", ["p", "i"], ["y"]),
    ]
    graph = make_graph(
        nodes,
        "main",
        [make_tensor_value_info("x", F, ["n", "s", 4]), make_tensor_value_info("c", TensorProto.BOOL, [])],
        [make_tensor_value_info("y", F, ["n", "s", 4])],
        [onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")],
    )
    return onnx.helper.make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)


SAMPLE = sample().SerializeToString()


def refused(model: onnx.ModelProto, folder: Path) -> str:
    message = attempt(model.SerializeToString(), folder)
    assert message is not None, "it was optimised"
    return message


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory):
    """What is imported once is not counted against the first file."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / "in.onnx").write_bytes(SAMPLE)
    assert tg.optimize_onnx(folder / "in.onnx", folder / "out.onnx").proof.verdict == "equal"


def test_a_truncated_file_at_every_seventh_length(tmp_path):
    refuse_cut_short(SAMPLE, tmp_path)


@hypothesis.given(data=flipped_bytes(SAMPLE))
@hypothesis.settings(max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_flipped_bytes(data, tmp_path):
    attempt(data, tmp_path)


@hypothesis.given(data=st.binary(max_size=300))
@hypothesis.settings(max_examples=50, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_bytes_that_are_no_model(data, tmp_path):
    assert attempt(data, tmp_path) is not None


def test_wrong_shapes(tmp_path):
    model = sample()
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.eye(5, dtype=np.float32), "w"))
    assert "MatMul 'h' is not valid ONNX" in refused(model, tmp_path)
    model = sample()
    model.graph.initializer[0].dims[0] = 400
    assert "'w'" in refused(model, tmp_path)


def test_cycles(tmp_path):
    model = sample()
    model.graph.node[0].input[0] = "y"
    assert "cycle" in refused(model, tmp_path)
    model.graph.node[0].input[0] = "h"
    assert "cycle" in refused(model, tmp_path)


def test_dangling_inputs_and_outputs(tmp_path):
    model = sample()
    model.graph.node[2].input[0] = "nowhere"
    assert "'nowhere', which nothing produces" in refused(model, tmp_path)
    model = sample()
    model.graph.output[0].name = "nowhere"
    assert "'nowhere' is read and nothing produces it" in refused(model, tmp_path)


def test_duplicate_names(tmp_path):
    model = sample()
    model.graph.node[3].output[0] = "h"
    assert "produced twice" in refused(model, tmp_path)
    model = sample()
    model.graph.initializer.append(model.graph.initializer[0])
    assert "two initializers named 'w'" in refused(model, tmp_path)
    model = sample()
    model.graph.input.append(model.graph.input[0])
    assert "twice" in refused(model, tmp_path)


@pytest.mark.parametrize(
    "location", ["../secret", "/etc/hostname", "a/../../secret", "..\\secret", "C:\\secret", "", "\0", "gone.bin"]
)
def test_external_data_from_elsewhere(tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(64))
    model = sample()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "64")):
        tensor.external_data.add(key=key, value=value)
    assert "the weights of 'w' lie " in refused(model, folder)


@pytest.mark.parametrize("dims", [[2**40, 4], [2**62, 2**62], [-5, 4], [2**31, 2**31, 2**31]])
def test_absurd_dimensions_of_a_weight(tmp_path, dims):
    model = sample()
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend(dims)
    assert "'w'" in refused(model, tmp_path)


@pytest.mark.parametrize("size", [2**40, 2**62, -(2**62)])
@pytest.mark.parametrize("op", ["ConstantOfShape", "Expand", "Tile", "Range"])
def test_absurd_dimensions_that_are_computed(tmp_path, op, size):
    """Such a file may be valid: then it is not folded into a weight, and it is written unverified or refused."""
    shape = onnx.numpy_helper.from_array(np.array([size], np.int64), "shape")
    one = onnx.numpy_helper.from_array(np.array([1], np.int64), "one")
    zero, step = (onnx.numpy_helper.from_array(np.array(v, np.int64), n) for v, n in ((0, "zero"), (1, "step")))
    limit = onnx.numpy_helper.from_array(np.array(size, np.int64), "limit")
    operands = {"ConstantOfShape": ["shape"], "Range": ["zero", "limit", "step"]}.get(op, ["one", "shape"])
    graph = make_graph(
        [make_node(op, operands, ["big"]), make_node("Shape", ["big"], ["s"]), make_node("Add", ["s", "x"], ["y"])],
        "main",
        [make_tensor_value_info("x", TensorProto.INT64, [1])],
        [make_tensor_value_info("y", TensorProto.INT64, [1])],
        [shape, one, zero, step, limit],
    )
    model = onnx.helper.make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)
    attempt(model.SerializeToString(), tmp_path)


def test_absurd_dimensions_of_an_input(tmp_path):
    model = sample()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**50
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    attempt(model.SerializeToString(), tmp_path)
