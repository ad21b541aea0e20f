"""The start-up cache of prepared models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, save_model
from onnx.helper import make_node

from tfgraph.backends.onnxruntime import prepared
from tfgraph.backends.onnxruntime.session import Session
from tfgraph.errors import ExportError, OnnxError

WEIGHT = np.random.default_rng(0).standard_normal((64, 48)).astype(np.float32)


@pytest.fixture
def model(make_model: Any, tmp_path: Path) -> Path:
    """y = x W, the weights in a data file."""
    proto = make_model(
        [make_node("MatMul", ["x", "w"], ["y"])],
        {"x": (TensorProto.FLOAT, ["rows", 64])},
        {"y": (TensorProto.FLOAT, ["rows", 48])},
        opset=17,
        initializers={"w": WEIGHT},
    )
    folder = tmp_path / "model"
    folder.mkdir()
    save_model(proto, folder / "m.onnx", save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    return folder / "m.onnx"


def result(session: Session) -> np.ndarray:
    return session.run({"x": np.eye(64, dtype=np.float32)})["y"]


def test_a_second_session_takes_what_the_first_prepared(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    np.testing.assert_allclose(result(Session(model, cache=cache)), WEIGHT, rtol=1e-6)
    (entry,) = cache.iterdir()
    assert sorted(path.name for path in entry.iterdir()) == ["model.onnx", "model.onnx.data"]
    monkeypatch.setattr(prepared.tempfile, "mkdtemp", lambda **_: pytest.fail("prepared again"))
    np.testing.assert_allclose(result(Session(model, cache=cache)), WEIGHT, rtol=1e-6)


def test_a_changed_model_is_prepared_again(model: Path, tmp_path: Path) -> None:
    Session(model, cache=tmp_path / "cache")
    data = model.with_name("m.onnx.data")
    data.write_bytes((2 * WEIGHT).tobytes())
    os.utime(data, ns=(1, 1))
    np.testing.assert_allclose(result(Session(model, cache=tmp_path / "cache")), 2 * WEIGHT, rtol=1e-6)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_another_processor_or_version_has_an_entry_of_its_own(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Session(model, cache=tmp_path / "cache")
    monkeypatch.setattr(prepared, "_processor", lambda: "another")
    Session(model, cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_model_that_cannot_be_loaded_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(OnnxError):
        Session(tmp_path / "m.onnx", cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_cache_that_cannot_be_made(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot write the start-up cache"):
        Session(model, cache=tmp_path / "no" / "such")


def test_a_model_in_memory_is_loaded_without(model: Path, tmp_path: Path, make_model: Any) -> None:
    proto = make_model(
        [make_node("Neg", ["x"], ["y"])], {"x": (TensorProto.FLOAT, [1])}, {"y": (TensorProto.FLOAT, [1])}, opset=17
    )
    Session(proto.SerializeToString(), cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
