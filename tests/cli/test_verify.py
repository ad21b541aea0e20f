"""`tfgraph verify`."""

from __future__ import annotations

from pathlib import Path

import pytest

import tfgraph as tg


@pytest.fixture
def doubled(tmp_path) -> tuple[Path, Path]:
    """Two files, `2 x` and `2.02 x`."""
    for name, factor in (("a.onnx", 2.0), ("b.onnx", 2.02)):
        graph = tg.trace(lambda x, factor=factor: x * factor, x=tg.spec("float32", ["batch", "seq"]))
        tg.compile(graph).save(tmp_path / name)
    return tmp_path / "a.onnx", tmp_path / "b.onnx"


def test_equal_files(cli, doubled):
    done = cli("verify", doubled[0], doubled[0])
    assert (done.code, done.stderr) == (0, "")
    assert "output float32 equal 0 0 1e-05" in " ".join(done.stdout.split())
    assert f"{doubled[0]} and {doubled[0]} give the same results." in done.stdout
    assert "Inputs: batch=2, seq=5; batch=1, seq=17; batch=3, seq=2." in done.stdout


def test_files_that_differ_exit_with_1(cli, doubled):
    done = cli("verify", *doubled)
    assert (done.code, done.stderr) == (1, "")
    assert "output float32 DIFFERENT" in " ".join(done.stdout.split())
    assert "do NOT give the same results" in done.stdout
    assert cli("verify", *doubled, "--tolerance", "0.011").code == 0


def test_json(cli, doubled):
    found = cli("verify", doubled[0], doubled[0], "--json", "--size", "seq=4", "--cases", "2").json
    assert found["equal"] is True and found["cases"] == [{"batch": 2, "seq": 4}, {"batch": 1, "seq": 4}]
    done = cli("verify", *doubled, "--json")
    assert done.code == 1 and '"equal": false' in done.stdout


def test_the_seed_settles_the_numbers(cli, doubled):
    first, again, other = (cli("verify", *doubled, "--json", "--seed", seed).stdout for seed in (1, 1, 2))
    assert first == again != other


def test_errors(cli, doubled, tmp_path):
    graph = tg.trace(lambda y: y * 2.0, y=tg.spec("float32", ["batch", "seq"]))
    tg.compile(graph).save(tmp_path / "c.onnx")
    for arguments, message in (
        ((doubled[0], tmp_path / "c.onnx"), "the files cannot be compared, their inputs differ: only"),
        ((doubled[0], tmp_path / "nowhere"), "nowhere"),
        ((*doubled, "--size", "length=2"), "there is no size 'length': the first file leaves open batch, seq"),
    ):
        done = cli("verify", *arguments)
        assert (done.code, done.stdout) == (1, "")
        assert message in done.stderr
