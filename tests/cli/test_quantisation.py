"""--precision and its companions of `tfgraph export` and `tfgraph optimize`, and `tfgraph accuracy`."""

from __future__ import annotations

import numpy as np
import pytest

import tfgraph as tg
from tests.tiny_checkpoint import write_checkpoint
from tfgraph import nn

TEXTS = "the cat sat on the mat\na dog runs to the cat\nit rains inside\nwho sleeps on the red mat ?\n"


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("cli") / "bert", hidden_size=64, intermediate_size=128)


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text(TEXTS, encoding="utf-8")
    return path


def test_an_export_within_a_budget(cli, bert, texts, tmp_path):
    done = cli(
        *("export", bert, tmp_path / "out", "--precision", "int8", "--budget", "cosine>=0.999"),
        *("--calibration", texts, "--keep", "*.mlp.down.weight"),
    )
    assert (done.code, done.stderr) == (0, "")
    assert "Tried for cosine>=0.999" in done.stdout
    assert "Quantised to int8: " in done.stdout and "The budget is cosine>=0.999." in done.stdout
    record = tg.open(tmp_path / "out").manifest.quantization["model"]
    assert record["held_out"]["cosine"] >= 0.999
    assert record["sites"]["base.encoder.layers.0.mlp.down.weight"] == "fp32"


def test_json_of_an_export_has_the_record(cli, bert, tmp_path):
    found = cli("export", bert, tmp_path / "out", "--precision", "int4", "--json").json
    assert found["quantization"]["model"] == tg.open(tmp_path / "out").manifest.quantization["model"]
    assert "quantization" not in cli("export", bert, tmp_path / "float", "--json").json


def test_without_calibration_it_says_so(cli, bert, tmp_path):
    done = cli("export", bert, tmp_path / "out", "--precision", "int8")
    assert done.code == 0
    assert "The error was not measured, since no calibration inputs were given." in done.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--precision", "int8", "--budget", "cosine>=0.999"], "give calibration"),
        (["--budget", "cosine>=0.999"], 'add precision="int8"'),
        (["--precision", "half"], "no precision is called 'half'"),
        (["--precision", "int8", "--calibration", "nowhere.txt"], "cannot read the calibration texts in nowhere.txt"),
        (["--precision", "int8", "--keep", "*.nothing"], "no site matches '*.nothing'"),
    ],
)
def test_wrong_options(cli, bert, tmp_path, options, expected):
    done = cli("export", bert, tmp_path / "out", *options)
    assert done.code == 1
    assert expected in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_an_onnx_file(cli, tmp_path):
    block = nn.EncoderBlock(64, 4, 128)
    block.init_weights(seed=1, scale=0.2)
    tg.compile(block, inputs={"x": tg.spec("float32", ["batch", "seq", 64])}, target="onnx", fuse=False).save(
        tmp_path / "in.onnx"
    )
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "inputs.npz", x=rng.standard_normal((6, 5, 64)).astype(np.float32))
    arguments = ["--precision", "int8", "--budget", "relative<=0.02", "--calibration", tmp_path / "inputs.npz"]
    done = cli("optimize", tmp_path / "in.onnx", tmp_path / "out.onnx", *arguments)
    assert (done.code, done.stderr) == (0, "")
    assert "Tried for relative<=0.02" in done.stdout
    record = cli("optimize", tmp_path / "in.onnx", tmp_path / "out.onnx", *arguments, "--json").json["report"]
    assert record["quantization"]["held_out"]["relative"] <= 0.02


def test_accuracy_of_several_precisions(cli, bert, texts):
    profiles = ["--profile", "int8", "--profile", "int8:cosine>=0.9999", "--calibration", texts]
    done = cli("accuracy", bert, *profiles)
    assert (done.code, done.stderr) == (0, "")
    assert any(line.split()[:2] == ["int8,", "cosine>=0.9999"] for line in done.stdout.splitlines())
    outcomes = cli("accuracy", bert, *profiles, "--json").json["outcomes"]
    assert [outcome["budget"] for outcome in outcomes] == ["", "cosine>=0.9999"]
    assert outcomes[1]["held_out"]["cosine"] >= max(0.9999, outcomes[0]["held_out"]["cosine"])


def test_accuracy_of_nothing(cli, bert, texts):
    done = cli("accuracy", bert, "--profile", "fp32", "--calibration", texts)
    assert done.code == 1 and "give int8 or int4" in done.stderr
