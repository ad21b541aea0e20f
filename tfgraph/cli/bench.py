"""`tfgraph bench`: how fast the results are, and how long it takes to make them.

What they print as tables is in `bench_tables.py`; measuring is in `tfgraph.bench`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tfgraph.cli.bench_optimize import print_optimize
from tfgraph.cli.bench_tables import print_notes, print_scale, print_shape, print_write
from tfgraph.cli.console import JsonOption, print_json, stderr, stdout
from tfgraph.errors import ExportError, InputError

if TYPE_CHECKING:
    from tfgraph.bench.encoder import EncoderReport


class Report(Protocol):
    """What a benchmark measured."""

    def as_dict(self) -> dict[str, Any]:
        """The figures as plain data."""


R = TypeVar("R", bound=Report)

bench_app = typer.Typer(no_args_is_help=True, help="Measure speed against what users would run instead, and scale.")

SaveOption = Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Write the JSON into a file as well.")]
RequireLimitsOption = Annotated[bool, typer.Option("--require-limits", help="Exit with 1 if a limit is exceeded.")]


@bench_app.command("encoder")
def encoder_command(
    shape: Annotated[
        list[str] | None, typer.Option(metavar="BxS", help="Texts and tokens, such as 8x128; may be repeated.")
    ] = None,
    layers: Annotated[int, typer.Option(min=1, help="Layers of the model; BERT-base has 12.")] = 12,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs of each candidate at each shape.")] = 25,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of each candidate; one a core if left out.")
    ] = None,
    with_torch: Annotated[bool, typer.Option("--torch", help="Time torch itself, too.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, inputs and orders.")] = 0,
    require_ratio: Annotated[
        float | None,
        typer.Option(
            metavar="R", min=0.0, help="Exit with 1 if tfgraph takes more than R times the best peer's median."
        ),
    ] = None,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Time BERT-base in fp32 against torch's export of the same random weights.

    The export runs as it is, and after ONNX Runtime's transformers optimiser. All candidates share one process and take
    turns in random order, on the same number of threads. Errors are relative to torch, on inputs with padding.
    """
    from dataclasses import replace

    from tfgraph.bench.encoder import MODEL, SHAPES, Settings, measure_encoder
    from tfgraph.bench.shapes import BatchShape
    from tfgraph.models import published

    settings = Settings(
        shapes=[BatchShape.parse(text) for text in shape] if shape else SHAPES,
        config=replace(published.configs[MODEL], num_hidden_layers=layers),
        rounds=runs,
        threads=threads,
        seed=seed,
        with_torch=with_torch,
    )
    console = stdout()

    def print_latest(report: EncoderReport) -> None:
        if not as_json:
            print_shape(console, report)

    with _progress(shown=not as_json) as on_progress:
        report = measure_encoder(settings, on_progress=on_progress, on_result=print_latest)
    _save(save, report.as_dict())
    if as_json:
        print_json(report.as_dict())
    else:
        print_notes(console, report)
    if require_ratio is not None and not report.is_at_most(require_ratio):
        if all(result.ratio is None for result in report.results):
            raise InputError(f"there is no peer to compare with: {next(iter(report.skipped.values()), '')}")
        raise typer.Exit(1)


@bench_app.command("scale")
def scale_command(
    layers: Annotated[
        list[int] | None, typer.Option(min=1, metavar="N", help="Layers of the decoder; may be repeated.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Processes for each measurement; the median counts.")] = 3,
    require_limits: RequireLimitsOption = False,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the time and memory of an export of BERT-base, and of lowering a decoder of GPT-3's size.

    The decoder has 175 billion parameters at 96 layers and no weights. Each measurement has a process of its own;
    memory counts from where everything is imported.
    """
    from tfgraph.bench.scale import LAYERS, Settings, measure_scale

    settings = Settings(layers=sorted(set(layers)) if layers else LAYERS, repeats=repeats)
    with _progress(shown=not as_json) as on_progress:
        report = measure_scale(settings, on_progress=on_progress)
    _give(report, print_scale, save, as_json)
    if require_limits and report.exceeded():
        raise typer.Exit(1)


@bench_app.command("write")
def write_command(
    model: Annotated[str, typer.Option(help="A published LLaMA size; see `tfgraph models llama`.")] = "llama-7b",
    layers: Annotated[int | None, typer.Option(min=1, help="Another number of layers than the model's own.")] = None,
    dtype: Annotated[str, typer.Option(help="Of the weights: float16 or float32.")] = "float16",
    rounds: Annotated[int, typer.Option(min=1, help="Copies and exports, in turns; medians count.")] = 3,
    folder: Annotated[
        Path, typer.Option(metavar="DIR", help="Where files of twice the weights are made, and deleted.")
    ] = Path(),
    require_limits: RequireLimitsOption = False,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Time the export of a model of many gigabytes against copying its files, and measure its memory.

    LLaMA-7B in float16 takes 27 GB on the disk while it is measured. The weights are generated. An export ends when its
    files are on the disk, a copy when `cp` returns; the time until the copy is on the disk is given, too.
    """
    from dataclasses import replace

    from tfgraph.bench.write import Settings, measure_write
    from tfgraph.dsl.layers.choices import choose
    from tfgraph.ir.dtypes import as_dtype
    from tfgraph.models import published
    from tfgraph.models.llama import CONFIGS

    config = choose("LLaMA size", model, {name: published.configs[name] for name in CONFIGS})
    config = config if layers is None else replace(config, num_hidden_layers=layers)
    settings = Settings(config, as_dtype(dtype), rounds, folder)
    with _progress(shown=not as_json) as on_progress:
        report = measure_write(settings, on_progress=on_progress)
    _give(report, print_write, save, as_json)
    if require_limits and report.exceeded():
        raise typer.Exit(1)


@bench_app.command("optimize")
def optimize_command(
    nodes: Annotated[
        list[int] | None, typer.Option(min=1, metavar="N", help="Nodes of a generated graph; may be repeated.")
    ] = None,
    layers: Annotated[int, typer.Option(min=1, help="Layers of the exported BERT; BERT-base has 12.")] = 12,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each, in turns; medians count.")] = 3,
    require_limits: RequireLimitsOption = False,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Time `tfgraph optimize` on torch's export of BERT-base, and on graphs of up to 50,000 nodes.

    On the export it takes turns with ONNX Runtime's transformers optimiser. Nothing is verified.
    """
    from dataclasses import replace

    from tfgraph.bench.encoder import MODEL
    from tfgraph.bench.optimize import NODES, Settings, measure_optimize
    from tfgraph.models import published

    config = replace(published.configs[MODEL], num_hidden_layers=layers)
    settings = Settings(config, sorted(set(nodes)) if nodes else NODES, rounds)
    with _progress(shown=not as_json) as on_progress:
        report = measure_optimize(settings, on_progress=on_progress)
    _give(report, print_optimize, save, as_json)
    if require_limits and report.exceeded():
        raise typer.Exit(1)


@contextmanager
def _progress(shown: bool) -> Iterator[Callable[[str, int, int], None]]:
    """One line that says what is being done and how far it is, on a terminal only."""
    console = stderr()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total}"))
    disabled = not (shown and console.is_terminal)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=disabled) as bars:
        task = bars.add_task("", total=None)
        yield lambda activity, done, of: bars.update(task, description=activity, completed=done, total=of)


def _give(report: R, show: Callable[[Console, R], None], save: Path | None, as_json: bool) -> None:
    """A report, as JSON or as tables, and in a file as well if that was asked for."""
    _save(save, report.as_dict())
    if as_json:
        print_json(report.as_dict())
    else:
        show(stdout(), report)


def _save(path: Path | None, data: dict[str, Any]) -> None:
    if path is None:
        return
    try:
        path.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from None
