"""Models run by OpenVINO: the same results as ONNX Runtime, and errors in tfgraph's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from tfgraph.backends.onnxruntime.session import Session as OrtSession
from tfgraph.backends.openvino import availability
from tfgraph.backends.openvino import session as module
from tfgraph.backends.openvino.session import Session
from tfgraph.errors import InputError, OnnxError, TargetError

F, I64 = TensorProto.FLOAT, TensorProto.INT64
RNG = np.random.default_rng(0)


@pytest.fixture
def model(make_model: Any, tmp_path: Path) -> Path:
    """y = softmax(x W), n = ids + ids, and an input that nothing reads."""
    proto = make_model(
        [
            make_node("MatMul", ["x", "w"], ["xw"]),
            make_node("Softmax", ["xw"], ["y"], axis=-1),
            make_node("Add", ["ids", "ids"], ["n"]),
        ],
        {"x": (F, ["batch", "seq", 8]), "ids": (I64, ["batch", "seq"]), "unused": (F, [1])},
        {"y": (F, ["batch", "seq", 5]), "n": (I64, ["batch", "seq"])},
        opset=17,
        initializers={"w": RNG.standard_normal((8, 5)).astype(np.float32)},
    )
    onnx.save_model(proto, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def feed(batch: int = 2, seq: int = 3) -> dict[str, np.ndarray]:
    return {
        "x": RNG.standard_normal((batch, seq, 8)).astype(np.float32),
        "ids": np.arange(batch * seq).reshape(batch, seq),
        "unused": np.zeros(1, np.float32),
    }


def test_results_are_those_of_onnxruntime(model: Path) -> None:
    session, other = Session(model, num_threads=1), OrtSession(model)
    assert dict(session.inputs) == dict(other.inputs) and dict(session.outputs) == dict(other.outputs)
    for batch, seq in [(2, 3), (1, 1), (4, 7)]:
        inputs = feed(batch, seq)
        found, expected = session.run(inputs), other.run(inputs)
        np.testing.assert_allclose(found["y"], expected["y"], atol=1e-6)
        np.testing.assert_array_equal(found["n"], expected["n"])


def test_a_model_in_memory(model: Path) -> None:
    inputs = feed()
    found, expected = Session(model.read_bytes()).run(inputs), OrtSession(model).run(inputs)
    np.testing.assert_allclose(found["y"], expected["y"], atol=1e-6)


def test_results_outlive_the_next_run(model: Path) -> None:
    session = Session(model)
    first = session.run(feed(), ["y"])
    kept = first["y"].copy()
    session.run(feed(), ["y"])
    np.testing.assert_array_equal(first["y"], kept)


def test_bfloat16_where_the_processor_has_it(model: Path) -> None:
    reason = availability.why_unusable("bf16")
    if reason is not None:
        assert "bfloat16" in reason
        with pytest.raises(TargetError, match="bfloat16"):
            Session(model, precision="bf16")
        return
    inputs = feed()
    found, expected = Session(model, precision="bf16").run(inputs)["y"], OrtSession(model).run(inputs)["y"]
    np.testing.assert_allclose(found, expected, atol=2e-2)


def test_the_compiled_model_is_kept(model: Path, tmp_path: Path) -> None:
    Session(model, cache=tmp_path / "cache")
    assert any((tmp_path / "cache").iterdir())
    Session(model, cache=tmp_path / "cache").run(feed())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"precision": "fp8"}, "fp32 or bf16, not in 'fp8'"), ({"num_threads": 0}, "0 threads")],
)
def test_wrong_settings(model: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        Session(model, **options)


def test_no_cache(model: Path) -> None:
    with pytest.raises(TargetError, match="keep no cache"):
        Session(model).growing_cache()
    with pytest.raises(TargetError, match="keep no cache"):
        Session(model).fixed_cache()


def test_a_wrong_input(model: Path) -> None:
    with pytest.raises(InputError, match="missing input"):
        Session(model).run({})
    with pytest.raises(InputError, match="no output 'z'"):
        Session(model).run(feed(), ["z"])


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(OnnxError, match=r"m\.onnx"):
        Session(tmp_path / "m.onnx")


def test_an_operator_that_openvino_lacks(make_model: Any, tmp_path: Path) -> None:
    proto = make_model(
        [make_node("NoSuchThing", ["x"], ["y"], domain="com.microsoft")],
        {"x": (F, [2])},
        {"y": (F, [2])},
        opset=17,
    )
    onnx.save_model(proto, tmp_path / "m.onnx")
    with pytest.raises(OnnxError, match="OpenVINO cannot load"):
        Session(tmp_path / "m.onnx")


def test_without_the_package(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "why_unusable", lambda _precision: f"OpenVINO is not installed: {availability.INSTALL}")
    with pytest.raises(TargetError, match=r"pip install \"tfgraph-onnx\[openvino\]\""):
        Session(model)
