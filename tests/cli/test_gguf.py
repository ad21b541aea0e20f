"""GGUF files on the command line: exported, and shown as the checkpoints that they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gguf_files import convert, save_model


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    save_model("llama", folder)
    convert(folder, "llama", folder / "small.gguf")
    return folder / "small.gguf"


def test_export(cli, gguf, tmp_path):
    done = cli("export", gguf, tmp_path / "out")
    assert done.code == 0, done.stderr
    assert f"Exported {gguf} (llama, text-generation) to {tmp_path / 'out'} for cpu." in done.stdout
    assert f'Try it: tfgraph generate {tmp_path / "out"} --prompt "Once upon a time"' in done.stdout


def test_show(cli, gguf):
    done = cli("show", gguf)
    assert done.code == 0, done.stderr
    assert done.stdout.startswith(f"{gguf}: checkpoint, model_type llama, task text-generation, max_length 48\n")


def test_a_damaged_file(cli, gguf, tmp_path):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(gguf.read_bytes()[:100])
    done = cli("export", damaged, tmp_path / "out")
    assert done.code == 1
    assert str(damaged) in done.stderr
    assert not (tmp_path / "out").exists()
