"""The Python of the documentation runs, and prints or raises what the pages say."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import tfgraph as tg
from tests.text_checkpoints import write_stories, write_stories_gguf, write_translator
from tests.tiny_checkpoint import write_checkpoint
from tfgraph import nn
from tfgraph.errors import TFGraphError


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the snippets find in their folder: checkpoints, and an ONNX file in which nothing is fused."""
    folder = tmp_path_factory.mktemp("files")
    write_checkpoint(folder / "checkpoint")
    write_stories(folder / "stories")
    write_translator(folder / "translator")
    write_stories_gguf(folder / "stories.gguf")
    block = nn.EncoderBlock(64, 4, 256)
    inputs = {"x": tg.spec("float32", ["batch", "seq", 64])}
    tg.compile(block, inputs=inputs, target="onnx", fuse=False).save(folder / "theirs.onnx")
    return folder


@pytest.fixture
def workplace(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with those files, in which the snippets run."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


def run(text: str, names: dict[str, Any]) -> str:
    """What the snippet prints, or the error that it ends with, as Python's traceback would show it."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(text, "model.py", "exec"), names)
        except TFGraphError as error:
            return f"{type(error).__module__}.{type(error).__qualname__}: {error}\n"
    return printed.getvalue()


def as_pattern(expected: str) -> str:
    """The output on a page as a regular expression."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else ".*".join(re.escape(part) for part in line.split("…")) + r"\n"
        for line in expected.splitlines()
    ]
    return "".join(lines)


def check(blocks: Sequence[Any], name: str) -> int:
    """Run the marked blocks in order and compare their outputs; return how many there are."""
    names: dict[str, Any] = {"__name__": "__docs__"}
    printed, ran, waiting = "", 0, None
    for block in blocks:
        if block.mark in ("run", "raises"):
            assert block.language == "python", f"{name}:{block.line}: only Python is run"
            assert waiting is None, f"{name}:{waiting}: an error without the output that shows it"
            printed = run(block.text, names)
            failed = printed.startswith("tfgraph.errors.")
            assert failed == (block.mark == "raises"), f"{name}:{block.line}: {printed or 'raised nothing'}"
            waiting = block.line if failed else None
            ran += 1
        elif block.mark == "output":
            waiting = None
            shown = "\n".join(line.rstrip() for line in printed.rstrip().splitlines()) + "\n"
            assert re.fullmatch(as_pattern(block.text), shown), f"{name}:{block.line}: the code before prints\n{shown}"
        else:
            assert not block.mark, f"{name}:{block.line}: there is no mark '{block.mark}'"
    assert waiting is None, f"{name}:{waiting}: an error without the output that shows it"
    return ran


def test_the_snippets_of_a_page(page: Path, blocks: Sequence[Any], workplace: Path) -> None:
    check(blocks, page.name)


MUST_RUN = (
    *("README", "getting-started", "language", "generation", "checkpoints"),
    *("graph", "passes", "onnx", "targets", "numerics"),
)


def test_python_on_the_pages_for_users_is_run(page: Path, blocks: Sequence[Any]) -> None:
    python = [block for block in blocks if block.language == "python"]
    if page.stem in MUST_RUN:
        assert python, f"{page.name} shows no Python"
        assert all(block.mark in ("run", "raises") for block in python), f"{page.name} shows Python that no test runs"


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nb\n", "a\nc\n", False),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("a\n…\nd\n", "a\nb\nc\n", False),
        ("took … s\n", "took 1.25 s\n", True),
        ("(a.b)\n", "(axb)\n", False),
    ],
)
def test_how_outputs_are_compared(expected: str, printed: str, same: bool) -> None:
    assert (re.fullmatch(as_pattern(expected), printed) is not None) == same
