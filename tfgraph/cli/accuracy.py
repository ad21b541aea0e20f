"""`tfgraph accuracy`: what int8 and int4 cost a checkpoint, measured on texts that the search did not see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from tfgraph.cli.console import JsonOption, print_json, stderr, stdout, table
from tfgraph.cli.quantisation import print_quantisation

if TYPE_CHECKING:
    from tfgraph.quantization.accuracy import Accuracy


def accuracy_command(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="What `tfgraph export` takes.")],
    profile: Annotated[
        list[str] | None,
        typer.Option(metavar="PRECISION[:BUDGET]", help="Such as int8 or int8:cosine>=0.999; may be repeated."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Texts, one a line, or an .npz of arrays; half are held out."),
    ] = None,
    texts: Annotated[
        int, typer.Option(min=2, help="Without --calibration: so many paragraphs of installed packages' documentation.")
    ] = 400,
    task: Annotated[str | None, typer.Option(help="What the model is for, if not what the checkpoint says.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; one a core if left out.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Quantise a checkpoint to several precisions, and measure how far each is from float32.

    Nothing is written. Errors are those on the held-out half of the texts.
    """
    from tfgraph.bench.paragraphs import collect_paragraphs
    from tfgraph.pretrained import load
    from tfgraph.quantization.accuracy import measure_accuracy

    model = load(checkpoint, task=task)
    given = str(calibration) if calibration is not None else collect_paragraphs(texts)
    with _progress(shown=not as_json) as on_progress:
        found = measure_accuracy(model, profile or ["int8"], given, num_threads=threads, on_progress=on_progress)
    if as_json:
        print_json(found.as_dict())
        return
    _print(stdout(), found)


@contextmanager
def _progress(shown: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar over the profiles, on a terminal only."""
    console = stderr()
    if not shown or not console.is_terminal:
        yield None
        return
    with Progress(BarColumn(), TextColumn("{task.description}"), console=console, transient=True) as bars:
        bar = bars.add_task("", total=None)
        yield lambda what, done, total: bars.update(bar, description=what, completed=done, total=total)


def _print(console: Console, found: Accuracy) -> None:
    records = [outcome.as_dict() for outcome in found.outcomes]
    metrics = list(dict.fromkeys(name for record in records for name in record["held_out"]))
    rows = []
    for record in records:
        values = [record["held_out"].get(name) for name in metrics]
        cells = ["-" if value is None else f"{value:.5f}" for value in values]
        name = record["precision"] + (f", {record['budget']}" if record["budget"] else "")
        rows.append([name, *cells, f"{record['megabytes']:.1f}"])
    rows.append(["fp32", *("" for _ in metrics), f"{records[0]['float_megabytes']:.1f}"])
    console.print(table(f"{found.model} on held-out inputs", ["Precision", *metrics, "MB"], rows))
    for record in records:
        print_quantisation(console, record)
