"""Runs over fixed buffers."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from tfgraph.backends.onnxruntime.session import Session
from tfgraph.errors import InputError, TargetError

F = TensorProto.FLOAT


@pytest.fixture
def session(make_model: Any) -> Session:
    """y = 2 x, of known size, and z = the elements of x above 0, of a size that only the run can tell."""
    nodes = [
        make_node("Add", ["x", "x"], ["y"]),
        make_node("Constant", [], ["zero"], value_float=0.0),
        make_node("Greater", ["x", "zero"], ["positive"]),
        make_node("Compress", ["x", "positive"], ["z"], axis=0),
    ]
    model = make_model(nodes, {"x": (F, ["n"])}, {"y": (F, ["n"]), "z": (F, ["m"])}, opset=17)
    return Session(model.SerializeToString())


def test_new_numbers_go_through_the_same_buffers(session: Session) -> None:
    x = np.array([1, -2, 3], np.float32)
    y = np.zeros(3, np.float32)
    binding = session.bind({"x": x}, {"y": y})
    assert binding.inputs["x"] is x
    found = binding.run()
    assert found["y"] is y
    assert y.tolist() == [2, -4, 6]
    assert found["z"].tolist() == [1, 3]
    x[:] = [4, 5, 6]
    assert binding.run()["z"].tolist() == [4, 5, 6]
    assert y.tolist() == [8, 10, 12]
    binding.update("x", [7, -7, -7])
    assert binding.run()["z"].tolist() == [7]
    assert x.tolist() == [7, -7, -7]


def test_outputs_of_known_size_get_a_buffer(session: Session) -> None:
    binding = session.bind({"x": [1.0, 2.0]})
    first = binding.run()["y"]
    binding.update("x", np.array([3, 4], np.float32))
    assert binding.run()["y"] is first
    assert first.tolist() == [6, 8]


def test_one_buffer_as_input_and_output(make_model: Any) -> None:
    node = make_node("TensorScatter", ["past", "new", "at"], ["present"])
    cache = (F, [1, 1, 4, 2])
    inputs = {"past": cache, "new": (F, [1, 1, 1, 2]), "at": (TensorProto.INT64, [1])}
    model = make_model([node], inputs, {"present": cache}, opset=24)
    buffer, at = np.zeros((1, 1, 4, 2), np.float32), np.array([0])
    new = np.ones((1, 1, 1, 2), np.float32)
    binding = Session(model.SerializeToString()).bind({"past": buffer, "new": new, "at": at}, {"present": buffer})
    for step in range(3):
        at[0], new[...] = step, step + 1
        binding.run()
    assert buffer[0, 0, :, 0].tolist() == [1, 2, 3, 0]


def test_bfloat16_buffers(make_model: Any) -> None:
    type_ = (TensorProto.BFLOAT16, ["n"])
    model = make_model([make_node("Identity", ["x"], ["y"])], {"x": type_}, {"y": type_}, opset=17)
    x = np.array([1.5, 2], ml_dtypes.bfloat16)
    binding = Session(model.SerializeToString()).bind({"x": x})
    assert binding.run()["y"].tolist() == [1.5, 2]
    x[0] = 3
    assert binding.run()["y"].tolist() == [3, 2]


def test_what_does_not_fit(session: Session) -> None:
    x = np.ones(3, np.float32)
    for inputs, outputs, message in [
        ({"x": np.ones(3)}, {}, "'x' is float64, and float32 is expected"),
        ({"x": x}, {"w": x}, "no output 'w': its outputs are y, z"),
        ({"x": x}, {"y": np.ones(4, np.float32)}, "the buffer of output 'y' has shape [4], expected [3]"),
        ({"x": x}, {"y": np.ones(3)}, "expected a writeable array of float32 in C order"),
        ({"x": x}, {"y": np.ones(6, np.float32)[::2]}, "in C order"),
        ({"x": x}, {"z": np.ones((2, 2), np.float32)}, "'z' has shape [2, 2], of rank 2"),
    ]:
        with pytest.raises(InputError) as error:
            session.bind(inputs, outputs)
        assert message in str(error.value)
    read_only = np.ones(3, np.float32)
    read_only.flags.writeable = False
    with pytest.raises(InputError, match="writeable"):
        session.bind({"x": x}, {"y": read_only})
    binding = session.bind({"x": x})
    with pytest.raises(InputError, match="no input 'w': its inputs are x"):
        binding.update("w", x)
    with pytest.raises(InputError, match=r"'x' is bound to float32\[3\], and float32\[4\] was given: bind again"):
        binding.update("x", np.ones(4, np.float32))
    with pytest.raises(InputError, match="bind again"):
        binding.update("x", ["a", "b", "c"])


def test_a_buffer_that_the_run_does_not_fill_is_an_error(session: Session) -> None:
    binding = session.bind({"x": np.ones(3, np.float32)}, {"z": np.zeros(2, np.float32)})
    with pytest.raises(TargetError, match="ONNX Runtime failed while it ran the model"):
        binding.run()
