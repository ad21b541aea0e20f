"""`tfgraph.export`: what it writes, that it replaces an export whole or not at all, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tfgraph as tg
from tests.tiny_checkpoint import write_checkpoint
from tfgraph import exporter, nn
from tfgraph.errors import CheckpointError, ExportError, TargetError, TFGraphError, TraceError, VerificationError
from tfgraph.exporter import Progress
from tfgraph.staging import STAGING_FOLDER

IDS = {
    "input_ids": np.array([[2, 6, 7, 3]]),
    "attention_mask": np.ones((1, 4), np.int64),
    "token_type_ids": np.zeros((1, 4), np.int64),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def pretrained(checkpoint: Path) -> tg.Pretrained:
    return tg.load(checkpoint)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under `folder`, hidden ones included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_checkpoint_becomes_model_tokenizer_config_and_manifest(pretrained, tmp_path):
    report = tg.export(pretrained, tmp_path / "out")
    assert sorted(contents(tmp_path / "out")) == [
        "config.json",
        "model.onnx",
        "tfgraph.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]
    assert report.fused["LayerNormalization"] + report.fused["com.microsoft::SkipLayerNormalization"] == 5
    manifest = json.loads((tmp_path / "out" / "tfgraph.json").read_text())
    assert manifest["report"] == report.as_dict()
    assert manifest["target"] == "cpu"
    assert manifest["inputs"][0] == {"name": "input_ids", "dtype": "int64", "shape": ["batch", "seq"]}
    assert manifest["outputs"][0] == {"name": "sentence_embedding", "dtype": "float32", "shape": ["batch", 16]}
    model = {"task": "sentence-embedding", "model_type": "bert", "max_length": 20, "pooling": ["mean"]}
    assert model.items() <= manifest["model"].items()
    sizes = {name: len(data) for name, data in contents(tmp_path / "out").items() if name != "tfgraph.json"}
    assert manifest["files"] == sizes


def test_the_same_export_gives_the_same_bytes_wherever_it_goes(checkpoint, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    tg.export(tg.load(checkpoint), tmp_path / "out")
    tg.export(tg.load(checkpoint), tmp_path / "elsewhere" / "another")
    first, second = contents(tmp_path / "out"), contents(tmp_path / "elsewhere" / "another")
    assert first == second
    assert str(tmp_path).encode() not in b"".join(first.values())


def test_the_plain_form_has_no_fused_operator_and_the_same_results(pretrained, tmp_path):
    fused = tg.export(pretrained, tmp_path / "fused")
    plain = tg.export(pretrained, tmp_path / "plain", fuse=False)
    assert fused.fused and not plain.fused
    ours, theirs = (tg.open(tmp_path / name).run(IDS) for name in ("fused", "plain"))
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, atol=1e-5)


def test_a_graph_and_a_module(tmp_path):
    layer = nn.Linear(3, 2)
    layer.init_weights(seed=1)
    spec = tg.spec("float32", ["batch", 3])
    tg.export(layer, tmp_path / "module", inputs={"x": spec})
    tg.export(tg.trace(layer, x=spec), tmp_path / "graph", target="onnx")
    x = np.ones((2, 3), np.float32)
    results = [tg.open(tmp_path / name).run({"x": x})["output"] for name in ("module", "graph")]
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6)
    assert sorted(contents(tmp_path / "module")) == ["model.onnx", "tfgraph.json"]
    with pytest.raises(TraceError, match="without knowing its inputs"):
        tg.export(layer, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_progress_is_reported_for_passes_and_bytes(pretrained, tmp_path):
    steps: list[Progress] = []
    tg.export(pretrained, tmp_path / "out", on_progress=steps.append)
    passes = [step for step in steps if step.activity == "optimise"]
    assert [step.done for step in passes] == list(range(passes[0].total))
    assert all(step.detail for step in passes)
    assert steps[-1].activity == "write" and steps[-1].done == steps[-1].total > 10_000


def test_verify_accepts_a_right_export_and_refuses_a_wrong_one(pretrained, tmp_path, monkeypatch):
    tg.export(pretrained, tmp_path / "out", verify=True)
    before = contents(tmp_path / "out")
    original = exporter.compile

    def compile_another(*args, **kwargs):
        compiled = original(*args, **kwargs)
        save = compiled.save

        def save_something_else(path, **options):
            save(path, **options)
            compiled.graph = original(tg.load(other), target="cpu").graph

        compiled.save = save_something_else
        return compiled

    other = write_checkpoint(tmp_path / "other", layer_norm_eps=0.5)
    monkeypatch.setattr(exporter, "compile", compile_another)
    with pytest.raises(VerificationError, match=r"'sentence_embedding' with an error of .* 1e-05 is allowed"):
        tg.export(pretrained, tmp_path / "out", verify=True)
    assert contents(tmp_path / "out") == before


# -- an older export -------------------------------------------------------------------------------------------------


def test_an_older_export_is_replaced_and_its_leftovers_go(pretrained, tmp_path):
    out = tmp_path / "out"
    tg.export(pretrained, out)
    (out / "notes.txt").write_text("mine")
    tg.export(tg.trace(lambda x: x + 1, x=tg.spec("float32", ["n"])), out)
    assert sorted(contents(out)) == ["model.onnx", "notes.txt", "tfgraph.json"]
    assert tg.open(out).run({"x": np.zeros(2, np.float32)})["output"].tolist() == [1, 1]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device"), MemoryError])
@pytest.mark.parametrize("step", ["save", "manifest", "replace"])
def test_whatever_stops_an_export_leaves_the_old_one_whole(pretrained, tmp_path, monkeypatch, stop, step):
    out = tmp_path / "out"
    tg.export(pretrained, out)
    before = contents(out)
    calls = 0

    def fail(*args: object, **kwargs: object) -> None:
        nonlocal calls
        calls += 1
        if step != "replace" or calls == 8:  # after five files were moved aside and two of the new ones in
            raise stop
        original(*args)

    original = os.replace
    if step == "save":
        monkeypatch.setattr("tfgraph.compiler.CompiledModel.save", fail)
    elif step == "manifest":
        monkeypatch.setattr("tfgraph.manifest.Manifest.save", fail)
    else:
        monkeypatch.setattr("tfgraph.staging.os.replace", fail)
    with pytest.raises((KeyboardInterrupt, OSError, MemoryError)) as caught:
        tg.export(pretrained, out, fuse=False)
    monkeypatch.undo()
    if step != "save" and isinstance(stop, OSError):
        assert isinstance(caught.value, ExportError) and "No space left on device" in str(caught.value)
    assert contents(out) == before
    tg.open(out).run(IDS)


def test_an_interruption_after_the_last_file_leaves_the_new_export_whole(pretrained, tmp_path, monkeypatch):
    out = tmp_path / "out"
    tg.export(pretrained, out)
    tg.export(pretrained, tmp_path / "plain", fuse=False)

    def interrupt(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tfgraph.staging._flush_folder", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tg.export(pretrained, out, fuse=False)
    assert contents(out) == contents(tmp_path / "plain")


def test_a_first_export_that_is_stopped_leaves_nothing(pretrained, tmp_path, monkeypatch):
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tfgraph.manifest.Manifest.save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tg.export(pretrained, tmp_path / "out")
    assert not (tmp_path / "out").exists()


EXPORT_SLOWLY = """
import sys, time
from pathlib import Path
import tfgraph as tg
from tfgraph import staging

step, out, signal = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])

def wait(*arguments, **options):
    signal.touch()
    time.sleep(60)

def replace(old, new, calls=[]):
    calls.append(new)
    wait() if len(calls) == 4 else original(old, new)

original = staging.os.replace
if step == "swap":
    staging.os.replace = replace

def on_progress(step_):
    if step == "write" and step_.activity == "write" and 0 < step_.done < step_.total:
        wait()

layers = [tg.nn.Linear(2048, 2048) for _ in range(12)]
class Stack(tg.nn.Module):
    def __init__(self):
        self.layers = tg.nn.ModuleList(layers)
    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

model = Stack()
model.init_weights()
tg.export(model, out, inputs={"x": tg.spec("float32", ["n", 2048])}, on_progress=on_progress)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("step", ["write", "swap"])
def test_a_killed_export_leaves_the_old_one_whole(repository, pretrained, tmp_path, step):
    out = tmp_path / "out"
    tg.export(pretrained, out)
    before = contents(out)
    arguments = [sys.executable, "-c", EXPORT_SLOWLY, step, str(out), str(tmp_path / "ready")]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    process = subprocess.Popen(arguments, cwd=repository, env=environment)
    try:
        deadline = time.monotonic() + 50
        while not (tmp_path / "ready").exists():
            assert process.poll() is None and time.monotonic() < deadline, "the export ended, or never got there"
            time.sleep(0.02)
        assert (out / STAGING_FOLDER).is_dir()
        with pytest.raises(ExportError, match=r"another export is writing into .*: wait until it has finished"):
            tg.export(pretrained, out)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    tg.open(out).run(IDS)
    assert {name: data for name, data in contents(out).items() if STAGING_FOLDER not in name} == before
    tg.export(pretrained, out, fuse=False)  # clears away what the killed one left
    assert sorted(contents(out)) == sorted(before)


# -- what is refused -------------------------------------------------------------------------------------------------


def message_of(error: type[TFGraphError], *args: object, **kwargs: object) -> str:
    with pytest.raises(error) as caught:
        tg.export(*args, **kwargs)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_file_in_the_way_of_the_folder(pretrained, tmp_path):
    (tmp_path / "out").write_text("a file")
    assert message_of(ExportError, pretrained, tmp_path / "out") == (
        f"cannot export into {tmp_path}/out: it is a file, and a folder is expected. Choose another name"
    )


def test_a_missing_parent(pretrained, tmp_path):
    message = message_of(ExportError, pretrained, tmp_path / "no" / "out")
    assert f"the folder {tmp_path}/no does not exist. Make it first" in message


def test_a_folder_in_the_way_of_a_file(pretrained, tmp_path):
    (tmp_path / "out" / "model.onnx").mkdir(parents=True)
    (tmp_path / "out" / "model.onnx" / "mine").touch()
    message = message_of(ExportError, pretrained, tmp_path / "out")
    assert message.endswith("model.onnx: a folder lies there. Move it away, and try again")
    assert list(contents(tmp_path / "out")) == ["model.onnx/mine"]


def test_a_name_that_the_file_system_refuses(pretrained, tmp_path):
    assert "cannot write into" in message_of(ExportError, pretrained, tmp_path / ("x" * 300))


def test_a_folder_that_may_not_be_written(pretrained, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert message_of(ExportError, pretrained, tmp_path / "out") == (
        f"cannot write into {tmp_path}/out: Permission denied. Choose a folder that you may write to, or change its "
        "permissions"
    )


def test_the_folder_of_the_checkpoint(pretrained, checkpoint):
    before = contents(checkpoint)
    assert "it is the folder of the checkpoint. Choose another" in message_of(ExportError, pretrained, checkpoint)
    assert contents(checkpoint) == before


def test_an_unknown_target_is_refused_before_anything_is_made(pretrained, tmp_path):
    assert "there is no target 'cpuu': did you mean 'cpu'?" in message_of(
        TargetError, pretrained, tmp_path / "out", target="cpuu"
    )
    assert not (tmp_path / "out").exists()


def test_weights_without_values(tmp_path):
    text = str(tg.trace(nn.Linear(3, 2), x=tg.spec("float32", ["n", 3])))  # text has the types of weights alone
    with pytest.raises(CheckpointError) as caught:
        tg.export(tg.parse_graph(text), tmp_path / "out")
    assert f"cannot write {tmp_path}/out/model.onnx: 2 of 2 weights have no values" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_names_the_file(pretrained, tmp_path, monkeypatch):
    def fill(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tfgraph.backends.onnx.write._content", fill)
    message = message_of(ExportError, pretrained, tmp_path / "out")
    assert message == f"cannot write {tmp_path}/out/model.onnx: No space left on device"


def test_a_damaged_tokenizer(tmp_path):
    folder = write_checkpoint(tmp_path / "checkpoint")
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is not a tokenizer"):
        tg.export(tg.load(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()
