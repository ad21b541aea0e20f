"""Sessions of ONNX Runtime: running by name, and every error in tfgraph's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from tfgraph.backends.onnxruntime.session import Session
from tfgraph.errors import InputError, OnnxError, TargetError
from tfgraph.ir.dtypes import DType

F, I64 = TensorProto.FLOAT, TensorProto.INT64


@pytest.fixture
def model(make_model: Any) -> bytes:
    """y = softmax(x) and n = ids + ids, over shared symbols."""
    nodes = [make_node("Softmax", ["x"], ["y"], axis=-1), make_node("Add", ["ids", "ids"], ["n"])]
    inputs = {"x": (F, ["batch", "seq", 4]), "ids": (I64, ["batch", "seq"])}
    outputs = {"y": (F, ["batch", "seq", 4]), "n": (I64, ["batch", "seq"])}
    return make_model(nodes, inputs, outputs, opset=17).SerializeToString()


def feed(batch: int = 2, seq: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "x": rng.standard_normal((batch, seq, 4), dtype=np.float32),
        "ids": np.arange(batch * seq).reshape(batch, seq),
    }


def test_a_session_says_what_it_takes_and_gives(model: bytes) -> None:
    session = Session(model)
    assert [str(spec) for spec in session.inputs.values()] == ["x: float32[batch, seq, 4]", "ids: int64[batch, seq]"]
    assert [str(spec) for spec in session.outputs.values()] == ["y: float32[batch, seq, 4]", "n: int64[batch, seq]"]
    assert session.provider == "CPUExecutionProvider"
    with pytest.raises(TypeError):
        session.inputs["z"] = session.inputs["x"]  # type: ignore[index]


@pytest.mark.parametrize("options", [{}, {"num_threads": 1}, {"optimize": False}, {"provider": "cpu"}])
def test_a_run(model: bytes, options: dict[str, Any]) -> None:
    found = Session(model, **options).run(feed())
    exponents = np.exp(feed()["x"])
    np.testing.assert_allclose(found["y"], exponents / exponents.sum(-1, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(found["n"], 2 * feed()["ids"])
    assert list(found) == ["y", "n"]


def test_a_run_of_some_outputs_on_lists(model: bytes) -> None:
    found = Session(model).run({"x": [[[1, 2, 3, 4]]], "ids": [[7]]}, ["n"])
    assert list(found) == ["n"]
    assert found["n"].tolist() == [[14]]


def test_wrong_inputs_are_reported_before_the_run(model: bytes) -> None:
    session = Session(model)
    for wrong, message in [
        ({"x": feed()["x"]}, "missing input 'ids'"),
        ({**feed(), "id": 1}, "did you mean 'ids'"),
        ({**feed(), "ids": feed()["ids"].astype(np.int32)}, "'ids' is int32, and int64 is expected"),
        ({**feed(), "x": feed()["x"][0]}, "expected rank 3"),
        ({**feed(), "x": np.zeros((2, 3, 5), np.float32)}, "axis 2 is 5, expected 4"),
        ({**feed(), "ids": np.zeros((2, 5), np.int64)}, "'ids' has seq=5 (axis 1 of [2, 5]) where 'x' has seq=3"),
        (feed(0), "axis 0 is empty"),
    ]:
        with pytest.raises(InputError) as error:
            session.run(wrong)
        assert message in str(error.value)
    with pytest.raises(InputError, match="no output 'z'"):
        session.run(feed(), ["z"])


def test_sizes_that_may_be_empty(model: bytes) -> None:
    assert Session(model, may_be_empty=["batch"]).run(feed(0))["n"].shape == (0, 3)


def test_a_model_from_a_path(model: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model)
    for path in (tmp_path / "m.onnx", str(tmp_path / "m.onnx")):
        assert Session(path).run(feed())["n"].shape == (2, 3)


def test_a_failure_inside_a_run_is_a_target_error(make_model: Any) -> None:
    node = make_node("Reshape", ["x", "shape"], ["y"])
    model = make_model([node], {"x": (F, ["n"]), "shape": (I64, [2])}, {"y": (F, [None, None])}, opset=17)
    session = Session(model.SerializeToString())
    with pytest.raises(TargetError, match=r"ONNX Runtime failed while it ran the model: .*Reshape") as error:
        session.run({"x": np.zeros(4, np.float32), "shape": [3, 3]})
    assert error.value.__cause__ is None
    assert "/onnxruntime_src/" not in str(error.value)


def test_models_that_cannot_be_loaded(make_model: Any, tmp_path: Path) -> None:
    with pytest.raises(OnnxError, match="ONNX Runtime finds the model damaged or invalid"):
        Session(b"nothing")
    with pytest.raises(OnnxError, match=r"missing\.onnx damaged or invalid.*doesn't exist"):
        Session(tmp_path / "missing.onnx")
    unknown = make_model([make_node("Mystery", ["x"], ["y"], domain="my.own")], {"x": (F, [1])}, {"y": (F, [1])},
                         domains={"my.own": 1})  # fmt: skip
    with pytest.raises(OnnxError, match="Mystery"):
        Session(unknown.SerializeToString())
    bf16 = (TensorProto.BFLOAT16, [2, 2])
    unsupported = make_model([make_node("MatMul", ["x", "x"], ["y"])], {"x": bf16}, {"y": bf16}, opset=17)
    with pytest.raises(TargetError, match=r"CPUExecutionProvider lacks a kernel that the model needs: .*MatMul"):
        Session(unsupported.SerializeToString())
    domain = "ai.onnx.ml"
    zip_map = make_node("ZipMap", ["x"], ["s"], domain=domain, classlabels_int64s=[3, 4])
    mapped = make_model([zip_map], {"x": (F, [1, 2])}, ["s"], opset=17, domains={domain: 1})
    value = onnx.helper.make_tensor_type_proto(F, None)
    mapped.graph.output[0].type.CopyFrom(
        onnx.helper.make_sequence_type_proto(onnx.helper.make_map_type_proto(TensorProto.INT64, value))
    )
    with pytest.raises(
        OnnxError, match=r"'s' is a seq\(map\(int64,tensor\(float\)\)\), and tfgraph runs models of tensors,"
    ):
        Session(mapped.SerializeToString())


def test_wrong_options() -> None:
    with pytest.raises(TargetError, match="0 threads: expected 1 or more"):
        Session(b"", num_threads=0)
    with pytest.raises(TargetError, match="no execution provider 'tpu'"):
        Session(b"", provider="tpu")


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float16", "bool", "uint8", "string"])
def test_element_types_that_numpy_lacks_pass_through(dtype: str, make_model: Any) -> None:
    kind = DType(dtype)
    type_ = (kind.onnx_code, ["n"])
    model = make_model([make_node("Identity", ["x"], ["y"])], {"x": type_}, {"y": type_}, opset=19, ir_version=9)
    array = np.array(["a", "é"], object) if dtype == "string" else np.array([1, 0]).astype(kind.numpy())
    found = Session(model.SerializeToString()).run({"x": array})["y"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    assert ml_dtypes.bfloat16(1) == 1


def test_warming_up(model: bytes) -> None:
    session = Session(model)
    session.warm_up()
    session.warm_up({"batch": 2, "seq": 5}, runs=2)
    assert {name: array.shape for name, array in session.example_inputs({"seq": 5}).items()} == {
        "x": (1, 5, 4),
        "ids": (1, 5),
    }
    with pytest.raises(InputError, match="no size sequence=5 can be given"):
        session.warm_up({"sequence": 5})


def test_a_profile(model: bytes, tmp_path: Path) -> None:
    session = Session(model, profile=tmp_path / "profile")
    session.run(feed())
    path = session.end_profile()
    assert path.parent == tmp_path
    assert any(event.get("cat") == "Node" for event in json.loads(path.read_text()))
