"""`tfgraph export`."""

from __future__ import annotations

import json

import tfgraph as tg
from tests.tiny_checkpoint import write_checkpoint


def test_it_prints_what_fused_sizes_and_what_to_do_next(cli, checkpoint, tmp_path):
    done = cli("export", checkpoint, tmp_path / "out")
    assert (done.code, done.stderr) == (0, "")
    assert f"Exported {checkpoint} (bert, sentence-embedding) to {tmp_path}/out for cpu." in done.stdout
    report = tg.open(tmp_path / "out").manifest.report
    assert f"{report['nodes_before']} nodes became {report['nodes_after']}." in done.stdout
    for key, count in report["fused"].items():
        assert any(line.split() == [key, str(count)] for line in done.stdout.splitlines()), key
    assert any(line.split()[0::2] == ["model.onnx", "kB"] for line in done.stdout.splitlines() if line.strip())
    assert f'Try it: tfgraph run {tmp_path}/out --text "Hello, world."' in done.stdout


def test_json_is_all_there_is(cli, checkpoint, tmp_path):
    found = cli("export", checkpoint, tmp_path / "out", "--json").json
    manifest = json.loads((tmp_path / "out" / "tfgraph.json").read_text())
    assert found["report"] == manifest["report"]
    assert found["files"] == manifest["files"]
    assert found["out"] == str(tmp_path / "out")
    assert set(found["seconds"]) == {"load", "passes", "write", "total"}
    again = cli("export", checkpoint, tmp_path / "out", "--json").json
    assert {**again, "seconds": 0} == {**found, "seconds": 0}


def test_options_reach_the_export(cli, checkpoint, tmp_path):
    done = cli("export", checkpoint, tmp_path / "out", "--no-fuse", "--target", "onnx", "--task", "base", "--verify")
    assert done.code == 0 and "Fused" not in done.stdout
    manifest = tg.open(tmp_path / "out").manifest
    assert (manifest.target, manifest.opset, manifest.task) == ("onnx", 20, "base")


def test_near_misses_are_printed_with_their_reasons(cli, checkpoint, tmp_path, monkeypatch):
    from tfgraph.passes.report import NearMiss, Report

    miss = NearMiss("Attention", "Softmax 'a' (m.py:3)", "the [scale] is 3", 4, 9)
    monkeypatch.setattr(Report, "near_misses", [miss])
    done = cli("export", checkpoint, tmp_path / "out")
    assert "Not fused (1)" in done.stdout
    assert f"- {miss}" in done.stdout


def test_the_example_fits_the_task(cli, tmp_path):
    for task, example in (("masked-lm", "[MASK]"), ("question-answering", "--pair"), ("next-sentence", "--pair")):
        checkpoint = write_checkpoint(tmp_path / task / "checkpoint", task)
        assert example in cli("export", checkpoint, tmp_path / task / "out").stdout.splitlines()[-1]


def test_progress_is_shown_on_a_terminal_and_goes_away(checkpoint, tmp_path, monkeypatch, capsys):
    from rich.console import Console

    from tfgraph.cli import export

    shown = []

    def terminal() -> Console:
        console = Console(force_terminal=True, stderr=True, width=100)
        shown.append(console)
        return console

    monkeypatch.setattr(export, "stderr", terminal)
    export.export_command(checkpoint, tmp_path / "out")
    errors = capsys.readouterr().err
    assert len(shown) == 1 and "optimise" in errors and "write" in errors and " kB of " in errors


def test_errors(cli, checkpoint, tmp_path):
    (tmp_path / "file").touch()
    for arguments, message in (
        ((checkpoint, tmp_path / "file"), "it is a file, and a folder is expected. Choose another name"),
        ((checkpoint, tmp_path / "a" / "b"), "does not exist. Make it first, or choose another place"),
        ((tmp_path / "nowhere", tmp_path / "out"), "nowhere does not exist"),
        ((checkpoint, tmp_path / "out", "--target", "gpu"), "there is no target 'gpu'"),
        ((checkpoint, tmp_path / "out", "--task", "masked"), "unknown task 'masked': did you mean 'masked-lm'?"),
    ):
        done = cli("export", *arguments)
        assert (done.code, done.stdout) == (1, "")
        assert message in done.stderr
        assert not (tmp_path / "out").exists()
