"""`tfgraph show`."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tfgraph as tg
from tfgraph.summary import summarise


@pytest.fixture
def linear(tmp_path):
    """`relu(x @ w)` with w [3, 4], as somebody else's exporter may write it."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 3), ("y", 4)))
    nodes = [
        helper.make_node("MatMul", ["x", "fc.w"], ["/fc/MatMul_0"]),
        helper.make_node("Relu", ["/fc/MatMul_0"], ["y"]),
    ]
    weights = [onnx.numpy_helper.from_array(np.ones((3, 4), np.float32), "fc.w")]
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    path = tmp_path / "linear.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def lines_of(text: str) -> list[str]:
    """The lines, spaces made one."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_an_onnx_file(cli, linear):
    lines = lines_of(cli("show", linear, "--size", "n=10").stdout)
    assert f"{linear}: ONNX file" in lines
    for expected in (
        "Input x: float32[n, 3]",
        "Output y: float32[n, 4]",
        "Parameters 12, 48 B",
        "Nodes 2",
        "FLOPs 280 at n=10",
        "28 n",
        "MatMul 1",
        "Relu 1",
        "fc 2 12 48 B 280",
    ):
        assert expected in lines


def test_a_checkpoint(cli, checkpoint):
    done = cli("show", checkpoint)
    assert done.code == 0
    lines = lines_of(done.stdout)
    assert f"{checkpoint}: checkpoint, model_type bert, task sentence-embedding, max_length 20" in lines
    summary = summarise(tg.load(checkpoint).trace())
    assert f"Parameters {summary.total.parameters:,}, {summary.total.nbytes / 1000:.1f} kB" in lines
    assert any(line.startswith("base.encoder.layers.1 ") for line in lines)
    assert not any(line.startswith("query ") for line in lines)


def test_layers_shows_every_module(cli, checkpoint):
    done = cli("show", checkpoint, "--layers")
    assert sum(line.startswith("query ") for line in lines_of(done.stdout)) == 2
    assert "        attention " in done.stdout


def test_an_export(cli, exported):
    lines = lines_of(cli("show", exported()).stdout)
    assert any(line.startswith(f"{exported()}: export, target cpu, model_type bert") for line in lines)
    assert "Output sentence_embedding: float32[batch, 16]" in lines


def test_a_folder_with_an_onnx_file_only(cli, linear):
    linear.rename(linear.parent / "model.onnx")
    assert "model.onnx: ONNX file" in cli("show", linear.parent).stdout


def test_json(cli, checkpoint):
    found = cli("show", checkpoint, "--json", "--size", "seq=7").json
    summary = summarise(tg.load(checkpoint).trace(), {"seq": 7})
    assert found["sizes"] == {"batch": 1, "seq": 7}
    assert {key: found[key] for key in summary.as_dict()} == summary.as_dict()
    assert found["model"]["kind"] == "checkpoint" and found["model"]["task"] == "sentence-embedding"
    assert "modules" not in found
    modules = cli("show", checkpoint, "--json", "--layers").json["modules"]
    assert [module["path"] for module in modules] == [part.path for part in summary.tree()]


def test_what_is_not_known_is_said(cli, tmp_path):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Own", ["x"], ["y"], domain="my.own")], "g", [x], [y])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my.own", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "own.onnx")
    lines = lines_of(cli("show", tmp_path / "own.onnx").stdout)
    assert "FLOPs 0" in lines and "without those of 1 x my.own::Own, which are not known" in lines
    assert any(line.startswith("(in no module) 1 ") for line in lines)


def test_errors(cli, linear, tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ((tmp_path / "nowhere",), "nowhere does not exist: expected an ONNX file, a checkpoint folder, or the folder"),
        ((tmp_path / "text.onnx",), "text.onnx is damaged, or is no ONNX model"),
        ((tmp_path / "empty",), "has no config.json"),
        ((linear, "--size", "m=3"), "there is no size 'm': this model leaves open n"),
    ):
        done = cli("show", *arguments)
        assert (done.code, done.stdout) == (1, "")
        assert message in done.stderr
