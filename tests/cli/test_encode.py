"""`tfgraph encode`: lines of text to a file of vectors."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tfgraph as tg
from tfgraph.artefact import Artefact

LINES = ["the cat sat", "", "a dog runs to the mat", "it rains"]


@pytest.fixture(scope="module")
def expected(exported):
    return tg.open(exported()).encode(LINES)


def test_lines_of_text(cli, exported, expected, tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    done = cli("encode", exported(), tmp_path / "texts.txt", "--out", tmp_path / "v.npy")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith("4 texts, 16 features each: ")
    found = np.load(tmp_path / "v.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["texts.txt", "v.npy"]


def test_json_lines(cli, exported, expected, tmp_path):
    rows = [json.dumps(LINES[0]), *(json.dumps({"id": 1, "body": text}) for text in LINES[1:])]
    (tmp_path / "texts.jsonl").write_text("\n".join(rows), encoding="utf-8")
    command = ("encode", exported(), tmp_path / "texts.jsonl", "--out", tmp_path / "v.npy", "--field", "body", "--json")
    assert cli(*command, "--max-tokens", "8").json["shape"] == [4, 16]
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), expected, atol=1e-5)


def test_standard_input(cli, exported, expected, tmp_path):
    cli("encode", exported(), "-", "--out", tmp_path / "v.npy", stdin="\n".join(LINES))
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), expected, atol=1e-5)


def test_no_texts(cli, exported, tmp_path):
    assert cli("encode", exported(), "-", "--out", tmp_path / "v.npy", stdin="").code == 0
    assert np.load(tmp_path / "v.npy").shape == (0, 16)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is not JSON"),
        ('{"body": "a"}', "line 2 has no field 'text', only body: name it with --field"),
        ('{"text": 3}', "line 2 holds 3: expected a text"),
    ],
)
def test_lines_that_are_no_texts(cli, exported, tmp_path, line, message):
    (tmp_path / "texts.jsonl").write_text(f'"a"\n{line}\n')
    done = cli("encode", exported(), tmp_path / "texts.jsonl", "--out", tmp_path / "v.npy")
    assert done.code == 1 and message in done.stderr
    assert not (tmp_path / "v.npy").exists()


def test_files_that_cannot_be_read_or_written(cli, exported, tmp_path):
    assert "cannot read" in cli("encode", exported(), tmp_path / "no", "--out", tmp_path / "v.npy").stderr
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text" in cli("encode", exported(), tmp_path / "latin", "--out", tmp_path / "v.npy").stderr
    done = cli("encode", exported(), "-", "--out", tmp_path / "no" / "v.npy", stdin="a cat")
    assert done.code == 1 and "cannot write" in done.stderr
    assert "must end in .npy" in cli("encode", exported(), "-", "--out", tmp_path / "v.txt", stdin="a").stderr


def test_an_older_file_stays_if_it_is_stopped(cli, exported, tmp_path, monkeypatch):
    np.save(tmp_path / "v.npy", np.arange(3))

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(Artefact, "encode", stop)
    assert cli("encode", exported(), "-", "--out", tmp_path / "v.npy", stdin="a cat").code != 0
    assert np.load(tmp_path / "v.npy").tolist() == [0, 1, 2]


def test_an_unpadded_export_gives_the_same_vectors(cli, checkpoint, expected, tmp_path):
    found = cli("export", checkpoint, tmp_path / "out", "--unpad", "--verify", "--json").json
    assert {"unpad"} <= {name for stage in found["report"]["passes"] for name in stage["changes"]}
    cli("encode", tmp_path / "out", "-", "--out", tmp_path / "v.npy", stdin="\n".join(LINES))
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), expected, atol=1e-5)
