"""Reading the documentation: its pages, the code blocks on them, and the marks that say which blocks are run.

A mark is an HTML comment on the line before a block, which readers do not see:

- `<!-- run -->`: Python that runs; the blocks of a page share their names and a folder;
- `<!-- raises -->`: the same, and its last line raises an error of tfgraph;
- `<!-- output -->`: what the block that ran before it prints, or the error that it raises. A line `…` stands for any
  lines, `…` within a line for any text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_MARK = r"(?:^<!-- (?P<mark>[a-z]+) -->\n)?"
_BLOCK = re.compile(_MARK + r"^(?P<fence>```+)(?P<language>\w*)\n(?P<text>.*?)^(?P=fence)$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A code block: its mark (or ""), its language, its text, and the line of the page at which the text begins."""

    mark: str
    language: str
    text: str
    line: int


def read_blocks(text: str) -> list[Block]:
    """The code blocks of a page, in order."""
    return [
        Block(found["mark"] or "", found["language"], found["text"], text.count("\n", 0, found.start("text")) + 1)
        for found in _BLOCK.finditer(text)
    ]


def name_of(page: Path) -> str:
    """The page's path from the root of the repository."""
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(params=PAGES, ids=name_of)
def page(request: pytest.FixtureRequest) -> Path:
    """Each page in turn."""
    path: Path = request.param
    return path


@pytest.fixture
def blocks(page: Path) -> list[Block]:
    """The code blocks of the page."""
    return read_blocks(page.read_text(encoding="utf-8"))
