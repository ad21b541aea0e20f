"""`tfgraph export --precision auto`, and the start-up cache of the commands that run models."""

from __future__ import annotations

import pytest

import tfgraph as tg

TEXTS = ["the cat sat", "a dog runs to the mat", "it rains", "who sleeps on the mat ?"]


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS), encoding="utf-8")
    return path


def test_auto_measures_and_chooses(cli, checkpoint, texts, tmp_path):
    command = ("export", checkpoint, tmp_path / "out", "--precision", "auto", "--budget", "cosine>=0.9")
    done = cli(*command, "--calibration", texts, "--shape", "batch=2,seq=8", "--shape", "batch=1,seq=8")
    assert done.code == 0, done.stderr
    assert "Tried on this machine" in done.stdout
    choice = tg.open(tmp_path / "out").manifest.choice
    assert f"Chosen: {choice['precision']} on {choice['target']}." in done.stdout
    timed = [trial for trial in choice["trials"] if not trial["reason"]]
    assert all(set(trial["milliseconds"]) == {"batch=2, seq=8", "batch=1, seq=8"} for trial in timed)


def test_a_shape_that_is_none(cli, checkpoint, texts, tmp_path):
    command = ("export", checkpoint, tmp_path / "out", "--precision", "auto", "--budget", "cosine>=0.9")
    done = cli(*command, "--calibration", texts, "--shape", "8x128")
    assert done.code == 2
    assert "NAME=NUMBER" in done.stderr


def test_auto_without_a_budget(cli, checkpoint, tmp_path):
    done = cli("export", checkpoint, tmp_path / "out", "--precision", "auto")
    assert done.code == 1
    assert "budget" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_start_up_cache(cli, exported, tmp_path):
    for _ in range(2):
        done = cli("run", exported(), "--text", "the cat sat", "--cache", tmp_path / "cache", "--json")
        assert done.code == 0, done.stderr
    assert len(list((tmp_path / "cache").iterdir())) == 1
