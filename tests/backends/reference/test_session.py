"""The reference session: the surface of an ONNX Runtime session over the numpy interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from tfgraph.backends.onnx.read import from_onnx
from tfgraph.backends.onnxruntime.session import Session as OnnxRuntime
from tfgraph.backends.reference.capabilities import REFERENCE
from tfgraph.backends.reference.session import Session
from tfgraph.errors import InputError, UnknownOperatorError
from tfgraph.ir.optable import OPSET

F, I64 = TensorProto.FLOAT, TensorProto.INT64


@pytest.fixture
def model(make_model: Any) -> Any:
    nodes = [make_node("Softmax", ["x"], ["y"]), make_node("Add", ["ids", "ids"], ["n"])]
    inputs = {"x": (F, ["batch", 4]), "ids": (I64, ["batch"])}
    outputs = {"y": (F, ["batch", 4]), "n": (I64, ["batch"])}
    return make_model(nodes, inputs, outputs, opset=17)


def test_it_stands_for_a_session_of_onnx_runtime(model: Any, rng: np.random.Generator) -> None:
    ours, theirs = Session(from_onnx(model)), OnnxRuntime(model.SerializeToString())
    assert dict(ours.inputs) == dict(theirs.inputs)
    assert dict(ours.outputs) == dict(theirs.outputs)
    feed = {"x": rng.standard_normal((2, 4), dtype=np.float32), "ids": [3, 4]}
    found, expected = ours.run(feed), theirs.run(feed)
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-6)
    assert list(ours.run(feed, ["n"])) == ["n"]
    assert ours.example_inputs({"batch": 2})["x"].shape == theirs.example_inputs({"batch": 2})["x"].shape
    ours.warm_up({"batch": 2})
    surface = {name for name in dir(ours) if not name.startswith("_")} - {"graph"}
    of_onnx_runtime = {"bind", "end_profile", "fixed_cache", "growing_cache"}
    assert surface == {name for name in dir(theirs) if not name.startswith("_")} - of_onnx_runtime


@pytest.mark.parametrize(
    "wrong",
    [
        {"x": np.zeros((2, 4), np.float32)},
        {"x": np.zeros((2, 4)), "ids": [1, 2]},
        {"x": np.zeros((2, 4), np.float32), "ids": [1, 2, 3]},
        {"x": np.zeros((0, 4), np.float32), "ids": []},
        {"x": np.zeros((2, 4), np.float32), "ids": [1, 2], "y": 1},
    ],
)
def test_wrong_inputs_are_reported_in_the_same_words(wrong: dict[str, Any], model: Any) -> None:
    messages = []
    for session in (Session(from_onnx(model)), OnnxRuntime(model.SerializeToString())):
        with pytest.raises(InputError) as error:
            session.run(wrong)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_an_operator_that_is_only_carried(make_model: Any) -> None:
    node = make_node("Mystery", ["x"], ["y"], domain="my.own")
    graph = from_onnx(make_model([node], {"x": (F, [1])}, ["y"], domains={"my.own": 1}))
    with pytest.raises(UnknownOperatorError, match=r"my\.own::Mystery"):
        Session(graph).run({"x": [1.0]})


def test_it_runs_primitives_and_has_composites_written_out() -> None:
    assert REFERENCE.opset == OPSET
    common = {"dtypes": (), "attributes": {}, "num_outputs": 1}
    assert REFERENCE.refusal("MatMul", since=13, composite=False, **common) is None
    assert REFERENCE.refusal("Gelu", since=20, composite=True, **common) == "reference has no Gelu"
