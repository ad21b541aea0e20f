"""The shell commands of the documentation exist: every `tfgraph` command with its options, every target of `make`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def commands(blocks: Sequence[Any]) -> Iterator[list[str]]:
    """The words of each command in the shell blocks, comments and pipes left out."""
    for block in blocks:
        if block.language in ("sh", "bash", "console"):
            for line in block.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ ").partition(" | ")[0].partition(" > ")[0], comments=True)
                while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # an environment variable
                    words = words[1:]
                if words:
                    yield words


def problem_with(words: Sequence[str]) -> str | None:
    """What is wrong with a `tfgraph` command, or None; it is parsed, and not run."""
    import typer

    from tfgraph.cli.app import app

    command: Any = typer.main.get_command(app)
    rest = list(words[1:])
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return f"there is no command {rest[0]}"
        command = command.commands[rest.pop(0)]
    try:
        command.make_context(words[0], rest)
    except typer.Exit:  # it only prints, as --version does
        return None
    except Exception as error:  # noqa: BLE001 - whichever click typer brings, its errors of usage have a message
        return getattr(error, "message", "") or repr(error)
    return None


def test_the_commands_of_a_page(page: Path, blocks: Sequence[Any]) -> None:
    for words in commands(blocks):
        if words[0] == "tfgraph":
            assert problem_with(words) is None, f"{page.name}: {shlex.join(words)}: {problem_with(words)}"


def test_the_targets_of_make_on_a_page(page: Path, blocks: Sequence[Any]) -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = set(re.findall(r"`make ([a-z]+)", page.read_text(encoding="utf-8")))
    named |= {words[1] for words in commands(blocks) if words[0] == "make" and len(words) > 1}
    assert named <= targets


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("tfgraph export checkpoint out --target cpu", False),
        ("tfgraph bench encoder --shape 1x128", False),
        ("tfgraph --version", False),
        ("tfgraph exprot checkpoint out", True),
        ("tfgraph export checkpoint out --tarjet cpu", True),
        ("tfgraph export checkpoint", True),
    ],
)
def test_wrong_commands_are_found(line: str, wrong: bool) -> None:
    assert (problem_with(line.split()) is not None) == wrong
