"""`tfgraph.optimize_onnx`: what stays, what the report says, the proof, and that once is enough."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_node, make_opsetid, make_tensor_value_info

import tfgraph as tg
from tests.onnx_files import FAMILIES, export_tiny
from tfgraph.errors import ConfigError, ExportError, OnnxError, TargetError, VerificationError
from tfgraph.passes import pipeline
from tfgraph.passes.base import FunctionPass, Pipeline
from tfgraph.passes.report import PassResult

F = TensorProto.FLOAT


@pytest.fixture(scope="session")
def exports(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exports")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {family: export_tiny(family, folder / f"{family}.onnx") for family in FAMILIES}


def gelu_file(path: Path, **fields) -> Path:
    """`x * (erf(x / sqrt(2)) + 1) * 0.5`, with everything about itself that a file can say."""
    constants = {"root": np.sqrt(np.float32(2)), "one": np.float32(1), "half": np.float32(0.5)}
    nodes = [
        make_node("Div", ["x", "root"], ["d"]),
        make_node("Erf", ["d"], ["e"]),
        make_node("Add", ["e", "one"], ["a"]),
        make_node("Mul", ["x", "a"], ["m"]),
        make_node("Mul", ["m", "half"], ["y"]),
    ]
    graph = make_graph(
        nodes,
        "a graph",
        [make_tensor_value_info("x", F, ["N", "some axis", 8], "the input")],
        [make_tensor_value_info("y", F, ["N", "other name", None], "the output")],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
        doc_string="about the graph",
    )
    settings = {
        "producer_name": "hand",
        "producer_version": "3",
        "domain": "d.e",
        "model_version": 5,
        "doc_string": "t",
    }
    model = onnx.helper.make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8, **{**settings, **fields})
    onnx.helper.set_model_props(model, {"author": "A. N. Other", "labels": "[1]"})
    onnx.save(model, path)
    return path


def run(path: Path, feed):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, feed)


def test_it_fuses_and_the_interface_and_metadata_stay(tmp_path):
    source = gelu_file(tmp_path / "in.onnx")
    report = tg.optimize_onnx(source, tmp_path / "out.onnx")
    before, after = onnx.load(source), onnx.load(tmp_path / "out.onnx")
    assert [node.op_type for node in after.graph.node] == ["Gelu"]
    for what in ("input", "output"):
        assert [v.SerializeToString() for v in getattr(after.graph, what)] == [
            v.SerializeToString() for v in getattr(before.graph, what)
        ]
    for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        assert getattr(after, name) == getattr(before, name)
    assert (after.graph.name, after.graph.doc_string) == ("a graph", "about the graph")
    props = {entry.key: entry.value for entry in after.metadata_props}
    assert props["author"] == "A. N. Other" and props["labels"] == "[1]" and props["tfgraph.target"] == "cpu"
    x = np.random.default_rng(0).standard_normal((2, 3, 8), np.float32)
    np.testing.assert_allclose(run(source, {"x": x})[0], run(tmp_path / "out.onnx", {"x": x})[0], atol=1e-6)
    assert (report.before.nodes, report.after.nodes) == (5, 1)
    assert report.before.nbytes > 2 * report.after.nbytes > 0
    assert report.fused == {"Gelu": 1}
    assert report.proof.verdict == "equal" and len(report.proof.cases) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_an_export_is_fused_and_proved_under_every_mask(exports, family, tmp_path):
    report = tg.optimize_onnx(exports[family], tmp_path / "out.onnx")
    assert report.stages[1].result.changes["Attention"] == 2
    assert report.proof.verdict == "equal"
    for kind in ("full", "left", "right", "holes"):
        assert any(case.endswith(f"padding: {kind}") for case in report.proof.cases)
    before, after = onnx.load(exports[family]).graph, onnx.load(tmp_path / "out.onnx").graph
    assert list(before.input) == list(after.input) and list(before.output) == list(after.output)


@pytest.mark.parametrize("target", ["cpu", "onnx"])
@pytest.mark.parametrize("family", FAMILIES)
def test_twice_is_once_and_in_place_is_beside(exports, family, target, tmp_path):
    once, twice, again = (tmp_path / name for name in ("once.onnx", "twice.onnx", "again.onnx"))
    tg.optimize_onnx(exports[family], once, target, verify=False)
    tg.optimize_onnx(once, twice, target, verify=False)
    assert twice.read_bytes() == once.read_bytes()
    again.write_bytes(exports[family].read_bytes())
    tg.optimize_onnx(again, again, target, verify=True)
    assert again.read_bytes() == once.read_bytes()


def test_the_bytes_do_not_depend_on_the_process(exports, tmp_path):
    code = "import sys, tfgraph; tfgraph.optimize_onnx(sys.argv[1], sys.argv[2], verify=False)"
    found = set()
    for seed in ("0", "1", "77"):
        out = tmp_path / f"{seed}.onnx"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, exports["llama"], out], check=True, env=environment)
        found.add(hashlib.sha256(out.read_bytes()).hexdigest())
    assert len(found) == 1


def broken() -> Pipeline:
    """The passes, and one that halves what is returned."""

    def halve(graph, _target):
        for name, value in list(graph.outputs.items()):
            from tfgraph.ir.build import add_node
            from tfgraph.ir.constant import ArrayConstant

            half = graph.add_constant(ArrayConstant(np.asarray(np.float32(0.5))), "half")
            graph.set_output(name, add_node(graph, "Mul", [value, half]).output)
        return PassResult()

    return Pipeline((FunctionPass("halve", halve),))


def test_a_file_that_differs_is_not_written(tmp_path, monkeypatch):
    source = gelu_file(tmp_path / "in.onnx")
    (tmp_path / "out.onnx").write_bytes(b"old")
    monkeypatch.setattr(pipeline, "optimising", broken)
    with pytest.raises(VerificationError) as error:
        tg.optimize_onnx(source, tmp_path / "out.onnx")
    message = str(error.value)
    assert "out.onnx was not written: the output 'y' of the optimised model differs" in message
    assert "where 1e-05 is allowed, on x float32[2, 5, 8]" in message
    assert (tmp_path / "out.onnx").read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"in.onnx", "out.onnx"}
    assert tg.optimize_onnx(source, tmp_path / "out.onnx", verify=False).proof.verdict == "not asked for"


def test_what_cannot_be_verified_is_written_and_said(tmp_path):
    node = make_node("Mystery", ["x"], ["y"], domain="my.own")
    values = [make_tensor_value_info(name, F, [1]) for name in "xy"]
    imports = [make_opsetid("", 17), make_opsetid("my.own", 1)]
    graph = make_graph([node], "g", values[:1], values[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path / "in.onnx")
    report = tg.optimize_onnx(tmp_path / "in.onnx", tmp_path / "out.onnx")
    assert report.proof.verdict == "not verified"
    assert "does not load the original" in str(report.proof)


def test_random_numbers_are_not_taken_for_an_error(tmp_path):
    graph = make_graph(
        [make_node("Dropout", ["x", "ratio", "training"], ["y"])],
        "g",
        [make_tensor_value_info("x", F, [64])],
        [make_tensor_value_info("y", F, [64])],
        [
            onnx.numpy_helper.from_array(np.float32(0.5).reshape(()), "ratio"),
            onnx.numpy_helper.from_array(np.array(True), "training"),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "in.onnx")
    report = tg.optimize_onnx(tmp_path / "in.onnx", tmp_path / "out.onnx")
    assert report.proof.reason == "the original draws random numbers: each run gives other results"


def test_progress_goes_through_passes_writing_and_runs(tmp_path):
    seen = []
    tg.optimize_onnx(
        gelu_file(tmp_path / "in.onnx"), tmp_path / "out.onnx", on_progress=lambda *step: seen.append(step)
    )
    assert list(dict.fromkeys(step[0] for step in seen)) == ["optimise", "verify", "write"]
    assert all(0 <= done <= total for _, done, total in seen)


def test_errors(tmp_path):
    source = gelu_file(tmp_path / "in.onnx")
    with pytest.raises(TargetError, match="there is no target 'gpu'"):
        tg.optimize_onnx(source, tmp_path / "out.onnx", "gpu")
    with pytest.raises(ExportError, match=r"does not exist\. Make it first"):
        tg.optimize_onnx(source, tmp_path / "a" / "out.onnx")
    with pytest.raises(ExportError, match="it is a folder"):
        tg.optimize_onnx(source, tmp_path)
    with pytest.raises(OnnxError, match=r"cannot read .*gone.onnx"):
        tg.optimize_onnx(tmp_path / "gone.onnx", tmp_path / "out.onnx")
    with pytest.raises(ConfigError, match="'auto' is about the runtime as well"):
        tg.optimize_onnx(source, tmp_path / "out.onnx", precision="auto")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(OnnxError, match=r"bad.onnx is damaged"):
        tg.optimize_onnx(tmp_path / "bad.onnx", tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()
