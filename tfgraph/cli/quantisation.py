"""What `export`, `optimize` and `accuracy` share about quantisation: the options, and how its record is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from tfgraph.cli.console import table

PrecisionOption = Annotated[
    str, typer.Option(help="fp32; int8 or int4, of weights; bf16; or auto, to measure these and choose.")
]
BudgetOption = Annotated[
    str | None,
    typer.Option(metavar="BOUND", help="The error that is accepted, such as cosine>=0.999; needs --calibration."),
]
KeepOption = Annotated[
    list[str] | None,
    typer.Option("--keep", metavar="PATTERN", help="Weights to leave in float, such as *.down.weight; repeatable."),
]


def kept_in_float(patterns: Sequence[str] | None) -> dict[str, str]:
    """What `sites` of `tfgraph.compile` is for the patterns of --keep."""
    from tfgraph.quantization.schemes import FLOAT

    return dict.fromkeys(patterns or (), FLOAT)


def print_quantisation(console: Console, record: Mapping[str, Any], part: str = "") -> None:
    """Print what was chosen, what was measured, and what was tried for it."""
    from tfgraph.quantization.table import TRADE_OFF_COLUMNS, summary, trade_off

    rows = trade_off(record)
    if rows:
        title = f"Tried for {record['budget']}{f' ({part})' if part else ''}"
        console.print(table(title, TRADE_OFF_COLUMNS, rows))
    for line in summary(record):
        console.print(Text(f"{part}: {line}" if part else line), soft_wrap=True)
    console.print()


def print_choice(console: Console, choice: Mapping[str, Any]) -> None:
    """Print what was tried on this machine, and what was chosen."""
    shapes = list(dict.fromkeys(shape for trial in choice["trials"] for shape in trial["milliseconds"]))
    rows = []
    for trial in choice["trials"]:
        times = [f"{trial['milliseconds'][shape]:.2f} ms" if shape in trial["milliseconds"] else "" for shape in shapes]
        error = "" if trial["error"] is None else f"{trial['error']:.5f}"
        rows.append([trial["target"], trial["precision"], *times, error, trial["reason"]])
    columns = ["Target", "Precision", *shapes, choice["metric"].capitalize() or "Error", "Left out because"]
    console.print(table("Tried on this machine", columns, rows))
    console.print(Text(f"Chosen: {choice['precision']} on {choice['target']}."))
    console.print()


def existing(path: Path | None) -> str | None:
    """The path as `tfgraph.compile` takes it."""
    return None if path is None else str(path)
