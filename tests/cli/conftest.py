"""Running the command line inside the test process, and exports to run it on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tfgraph as tg
from tests.tiny_checkpoint import write_checkpoint


class Result:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code = code
        self.stdout = stdout
        self.stderr = stderr

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        assert self.code == 0, self.stderr
        return json.loads(self.stdout)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`cli("show", path, "--json")`: run a command."""
    from tfgraph.cli.app import app

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("TFGRAPH_DEBUG", raising=False)

    def run(*arguments: object, stdin: str | None = None) -> Result:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Result(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint for sentence embeddings."""
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny-bert")


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`exported("masked-lm")`: the folder of an export, made once for the same arguments."""
    made: dict[str, Path] = {}

    def export(task: str = "sentence-embedding", **settings: Any) -> Path:
        key = json.dumps([task, settings], sort_keys=True)
        if key not in made:
            folder = tmp_path_factory.mktemp(task)
            tg.export(tg.load(write_checkpoint(folder / "checkpoint", task, **settings)), folder / "out")
            made[key] = folder / "out"
        return made[key]

    return export
