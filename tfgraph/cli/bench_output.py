"""What the commands of `tfgraph bench` share: options, a line of progress, and how a report is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tfgraph.cli.console import print_json, stderr, stdout
from tfgraph.errors import ExportError


class Report(Protocol):
    """What a benchmark measured."""

    def as_dict(self) -> dict[str, Any]:
        """The figures as plain data."""


R = TypeVar("R", bound=Report)

SaveOption = Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Write the JSON into a file as well.")]
ChartOption = Annotated[Path | None, typer.Option("--chart", metavar="FILE.svg", help="Draw the figures.")]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="NAME", help="Only candidates whose name begins so; may be repeated."),
]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of each candidate; one a core if left out.")]
RoundsOption = Annotated[int, typer.Option("--runs", min=1, help="Timed runs of each candidate.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of what is random, and of the order of turns.")]
RequireLimitsOption = Annotated[bool, typer.Option("--require-limits", help="Exit with 1 if a limit is exceeded.")]


@contextmanager
def progress_line(shown: bool) -> Iterator[Callable[[str, int, int], None]]:
    """One line that says what is being done and how far it is, on a terminal only."""
    console = stderr()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total}"))
    disabled = not (shown and console.is_terminal)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=disabled) as bars:
        task = bars.add_task("", total=None)
        yield lambda activity, done, of: bars.update(task, description=activity, completed=done, total=of)


def give(report: R, show: Callable[[Console, R], None], save: Path | None, as_json: bool) -> None:
    """A report, as JSON or as tables, and in a file as well if that was asked for."""
    save_json(save, report.as_dict())
    if as_json:
        print_json(report.as_dict())
    else:
        show(stdout(), report)


def save_json(path: Path | None, data: dict[str, Any]) -> None:
    """Write the figures into a file, if one is named.

    Raises:
        ExportError: it cannot be written.
    """
    if path is None:
        return
    try:
        path.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from None
