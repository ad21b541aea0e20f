"""The commands on a model that runs as several graphs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tfgraph.models.names import checkpoint_name
from tfgraph.models.registry import find_family

CONFIG = {
    "model_type": "t5",
    "architectures": ["T5ForConditionalGeneration"],
    "vocab_size": 40,
    "d_model": 16,
    "d_kv": 4,
    "d_ff": 24,
    "num_layers": 1,
    "num_heads": 2,
}


@pytest.fixture(scope="module")
def t5_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("t5")
    family = find_family("t5")
    architecture = family.architecture_for("text-generation")
    module = architecture.build(family.config.from_dict(CONFIG))
    rng = np.random.default_rng(1)
    names = {checkpoint_name(path, architecture.names): each.shape for path, each in module.named_parameters()}
    weights = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in names.items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


@pytest.fixture
def out(cli, t5_checkpoint, tmp_path) -> Path:
    done = cli("export", t5_checkpoint, tmp_path / "out")
    assert (done.code, done.stderr) == (0, "")
    assert {"encoder.onnx", "decoder.onnx", "model.data"} <= set(done.stdout.split())
    return tmp_path / "out"


def test_show_shows_each_graph(cli, out):
    done = cli("show", out, "--size", "past=7")
    assert (done.code, done.stderr) == (0, "")
    assert f"{out}: export, target cpu, model_type t5, task text-generation, part encoder" in done.stdout
    assert "part decoder" in done.stdout
    found = cli("show", out, "--json", "--size", "encoder_seq=9").json
    assert found["model"]["task"] == "text-generation"
    assert list(found["parts"]) == ["encoder", "decoder"]
    assert found["parts"]["decoder"]["sizes"] == {"batch": 1, "seq": 128, "encoder_seq": 9, "past": 128}
    assert found["parts"]["encoder"]["operators"]["Attention"] == 1
    assert cli("show", out, "--size", "pst=7").code != 0


def test_show_a_checkpoint_and_one_file(cli, t5_checkpoint, out):
    assert list(cli("show", t5_checkpoint, "--json").json["parts"]) == ["encoder", "decoder"]
    assert cli("show", out / "encoder.onnx", "--json").json["operators"]["Attention"] == 1


def test_verify_compares_graph_by_graph(cli, t5_checkpoint, out, tmp_path):
    assert cli("export", t5_checkpoint, tmp_path / "plain", "--no-fuse").code == 0
    done = cli("verify", out, tmp_path / "plain", "--cases", "1")
    assert (done.code, done.stderr) == (0, "")
    for part in ("encoder", "decoder"):
        assert f"Largest differences: {part}" in done.stdout
        assert f"{out} and {tmp_path / 'plain'}, {part}, give the same results." in done.stdout
    found = cli("verify", out, tmp_path / "plain", "--cases", "1", "--json").json
    assert found["equal"] is True and list(found["parts"]) == ["encoder", "decoder"]
    assert cli("verify", out / "decoder.onnx", tmp_path / "plain" / "decoder.onnx", "--cases", "1").code == 0


def test_run_says_what_the_model_does_not_do(cli, out):
    done = cli("run", out, "--text", "a text")
    assert done.code == 1 and "Traceback" not in done.stderr
    assert "use tfgraph.Generator, or `tfgraph generate`" in done.stderr
