"""`tfgraph optimize`."""

from __future__ import annotations

from pathlib import Path

import pytest

import tfgraph as tg
from tfgraph.errors import VerificationError
from tfgraph.nn import EncoderBlock
from tfgraph.proof import Proof


@pytest.fixture
def source(tmp_path) -> Path:
    block = EncoderBlock(16, 2, 24)
    block.init_weights()
    graph = tg.trace(block, x=tg.spec("float32", ["batch", "seq", 16]))
    tg.compile(graph, fuse=False).save(tmp_path / "in.onnx")
    return tmp_path / "in.onnx"


def test_it_prints_what_fused_the_numbers_and_the_proof(cli, source, tmp_path):
    done = cli("optimize", source, tmp_path / "out.onnx")
    assert (done.code, done.stderr) == (0, "")
    assert f"Optimised {source} for cpu: {tmp_path}/out.onnx, in " in done.stdout
    assert "Estimated at batch=1, seq=128" in done.stdout
    assert any(line.split()[0:2] == ["Attention", "1"] for line in done.stdout.splitlines() if line.strip())
    assert "Verified: the same results in 3 runs" in done.stdout
    assert (tmp_path / "out.onnx").is_file()


def test_json_is_all_there_is(cli, source, tmp_path):
    found = cli("optimize", source, tmp_path / "out.onnx", "--json", "--no-verify").json
    report = found["report"]
    assert report["before"]["nodes"] == report["nodes_before"] > report["after"]["nodes"]
    assert report["sizes"] == {"batch": 1, "seq": 128}
    assert report["proof"]["verdict"] == "not asked for"
    verified = cli("optimize", source, tmp_path / "out.onnx", "--json", "--verify").json["report"]["proof"]
    assert verified["verdict"] == "equal" and len(verified["cases"]) == 3


def test_explain_and_the_page(cli, source, tmp_path):
    done = cli("optimize", source, tmp_path / "out.onnx", "--explain", "--report", tmp_path / "r.html")
    assert done.code == 0 and "Not fused (" in done.stdout
    assert "The graph before and after:" in done.stdout
    assert "<!DOCTYPE html>" in (tmp_path / "r.html").read_text()


def test_what_was_not_verified_is_a_warning(cli, source, tmp_path, monkeypatch):
    from tfgraph import optimizer

    monkeypatch.setattr(optimizer, "prove", lambda *_: Proof("not verified", "no inputs are known"))
    done = cli("optimize", source, tmp_path / "out.onnx")
    assert done.code == 0
    assert f"warning: {tmp_path}/out.onnx was written and is NOT verified: no inputs are known" in done.stderr


def test_files_that_differ_exit_with_1_and_nothing_is_written(cli, source, tmp_path, monkeypatch):
    from tfgraph import optimizer

    def differ(*_):
        raise VerificationError("the output 'y' differs")

    monkeypatch.setattr(optimizer, "prove", differ)
    done = cli("optimize", source, tmp_path / "out.onnx")
    assert (done.code, done.stdout) == (1, "")
    assert "out.onnx was not written: the output 'y' differs" in done.stderr
    assert not (tmp_path / "out.onnx").exists()


def test_errors(cli, source, tmp_path):
    for arguments, message in (
        ((tmp_path / "nowhere.onnx", tmp_path / "out.onnx"), "cannot read"),
        ((source, tmp_path / "out.onnx", "--target", "gpu"), "there is no target 'gpu'"),
        ((source, tmp_path / "a" / "out.onnx"), "does not exist. Make it first"),
    ):
        done = cli("optimize", *arguments)
        assert (done.code, done.stdout) == (1, "")
        assert message in done.stderr
