"""What all commands print with: consoles, tables, JSON, errors.

Colours appear only on a terminal, and never if NO_COLOR is set. What is not a terminal gets lines wide enough that
tables are not broken up.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from tfgraph.passes.report import Report

_WIDTH_IN_FILES = 140  # characters, unless COLUMNS says otherwise

_STEERING = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}

StartUpCacheOption = Annotated[
    Path | None,
    typer.Option("--cache", metavar="FOLDER", help="Keep the model as it was prepared to run, for a quick start."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]


def stdout() -> Console:
    """The console for results."""
    return _console(stderr=False)


def stderr() -> Console:
    """The console for progress and errors."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if terminal or "COLUMNS" in os.environ else _WIDTH_IN_FILES
    return Console(stderr=stderr, highlight=False, width=width)


def tolerate_encodings() -> None:
    """Let a character that the output's encoding lacks become a question mark, instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def print_error(message: str) -> None:
    """An error on standard error: one message, not broken into lines."""
    stderr().print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)


def print_text(console: Console, text: str, style: str = "") -> None:
    """Text of a user or a model, unchanged; on a terminal without the control characters that would steer it."""
    shown = text.translate(_STEERING) if console.is_terminal else text
    console.print(Segments([Segment(shown, console.get_style(style))]), end="", soft_wrap=True)


def print_json(data: Any) -> None:
    """JSON on standard output; numbers that are not finite, which JSON lacks, become null."""
    try:
        text = json.dumps(data, indent=2, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(data), indent=2, allow_nan=False)
    typer.echo(text)


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> Table:
    """A table whose first `left` columns are text and whose others are numbers. Cells are plain text, never markup."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def print_operators(console: Console, report: Report) -> None:
    """Print what was fused, and what was found and written out, as tables."""
    if report.fused:
        fused = sorted(report.fused.items(), key=lambda item: (-item[1], item[0]))
        console.print(table("Fused", ["Operator", "Count"], [[key, str(count)] for key, count in fused]))
    if report.written_out:
        title = f"Found, and written out by definition for {report.target}"
        written = sorted(report.written_out.items())
        console.print(table(title, ["Operator", "Count"], [[key, str(count)] for key, count in written]))
