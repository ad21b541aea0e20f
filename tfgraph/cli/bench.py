"""`tfgraph bench`: how fast the results are, and how long it takes to make them. Measuring is in `tfgraph.bench`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from tfgraph.cli.console import JsonOption, print_json, stderr, stdout, table
from tfgraph.cli.units import bytes_text, count_text
from tfgraph.errors import ExportError, InputError

if TYPE_CHECKING:
    from tfgraph.bench.encoder import EncoderReport, ShapeResult
    from tfgraph.bench.scale import ScaleReport

BUSY = 0.5  # processes that wanted a core, of others than the benchmark, before it started

bench_app = typer.Typer(no_args_is_help=True, help="Measure speed against what users would run instead, and scale.")

SaveOption = Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Write the JSON into a file as well.")]


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
    from tfgraph.models.configs import published_config

    settings = Settings(
        shapes=[BatchShape.parse(text) for text in shape] if shape else SHAPES,
        config=replace(published_config(MODEL), num_hidden_layers=layers),
        rounds=runs,
        threads=threads,
        seed=seed,
        with_torch=with_torch,
    )
    with _progress(shown=not as_json) as on_progress:
        report = measure_encoder(settings, on_progress=on_progress)
    _save(save, report.as_dict())
    if as_json:
        print_json(report.as_dict())
    else:
        _print_encoder(stdout(), report)
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
    require_limits: Annotated[
        bool, typer.Option("--require-limits", help="Exit with 1 if a limit is exceeded.")
    ] = False,
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
    _save(save, report.as_dict())
    if as_json:
        print_json(report.as_dict())
    else:
        _print_scale(stdout(), report)
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


def _save(path: Path | None, data: dict[str, Any]) -> None:
    if path is None:
        return
    try:
        path.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from None


def _print_encoder(console: Console, report: EncoderReport) -> None:
    from tfgraph.bench.encoder import TOLERANCE_OF_RESULT

    config = report.settings.config
    console.print(
        Text(
            f"BERT, {config.num_hidden_layers} layers of {config.hidden_size}, fp32, {report.threads} threads, "
            f"{report.settings.rounds} interleaved runs each, random weights."
        ),
        soft_wrap=True,
    )
    _print_machine(console, report.machine, report.results[0].load)
    console.print()
    for result in report.results:
        _print_shape(console, result)
    for name, reason in report.skipped.items():
        console.print(Text(f"skipped: {name}: {reason}", style="yellow"), soft_wrap=True)
    console.print(
        Text(
            f"Errors are against {report.reference}, relative to its largest value; the first is with padding on the "
            f"right or none, and ! marks those above {TOLERANCE_OF_RESULT:g}."
        ),
        soft_wrap=True,
    )


def _print_shape(console: Console, result: ShapeResult) -> None:
    rows = [
        [
            name,
            f"{1e3 * each.timings.median:.1f}",
            f"{1e3 * each.timings.lower_quartile:.1f} to {1e3 * each.timings.upper_quartile:.1f}",
            f"{1e3 * each.timings.best:.1f}",
            f"{1e3 * each.timings.cpu_median:.1f}",
            _error_text(each.error("none", "right")),
            _error_text(each.error()),
        ]
        for name, each in result.candidates.items()
    ]
    columns = ["", "Median ms", "Quartiles", "Least", "Processor ms", "Error", "Error, any padding"]
    console.print(table(str(result.shape), columns, rows))
    if result.ratio is not None:
        ratio = result.ratio
        console.print(
            Text(
                f"tfgraph takes {ratio.value:.3f} of the time of the best peer, {ratio.best} (95% interval "
                f"{ratio.low:.3f} to {ratio.high:.3f}; processor time {ratio.cpu:.3f}).\n"
            ),
            soft_wrap=True,
        )


def _print_scale(console: Console, report: ScaleReport) -> None:
    from tfgraph.bench.scale import DECODER_BYTES, DECODER_SECONDS, EXPORT_BYTES, EXPORT_SECONDS

    _print_machine(console, report.machine, report.load)
    repeats = report.settings.repeats
    console.print(Text(f"Seconds are medians of {repeats} runs, each in a process of its own.\n"), soft_wrap=True)
    export = report.export
    rows = [[phase, f"{export.phase(phase):.2f}", ""] for phase in export.phases]
    rows += [
        ["in all", f"{export.median('seconds'):.2f}", ""],
        ["copying the weights", f"{export.median('copy_seconds'):.2f}", ""],
        ["beyond copying, median", f"{_median(export.beyond_copying):.2f}", f"{EXPORT_SECONDS:g}"],
        ["beyond copying, least", f"{min(export.beyond_copying):.2f}", ""],
        ["processor time", f"{export.median('cpu_seconds'):.2f}", ""],
        ["memory", _memory_text(export.memory), bytes_text(EXPORT_BYTES)],
    ]
    title = f"From a checkpoint of {bytes_text(int(export.median('bytes')))} to an optimised file"
    console.print(table(title, ["", "Seconds", "Limit"], rows))
    rows = []
    fewer: tuple[int, float] | None = None
    for layers, each in report.decoders.items():
        least = each.least("seconds")
        more = "" if fewer is None else f"{1e3 * (least - fewer[1]) / (layers - fewer[0]):.1f}"
        fewer = layers, least
        rows.append(
            [
                str(layers),
                count_text(each.median("parameters")),
                *(f"{each.phase(phase):.2f}" for phase in each.phases if phase != "declare"),
                f"{each.median('seconds'):.2f}",
                f"{least:.2f}",
                f"{each.median('cpu_seconds'):.2f}",
                more,
                _memory_text(each.memory),
            ]
        )
    columns = ["Layers", "Parameters", "Trace", "Passes", "Lower", "In all", "Least", "CPU", "ms a layer", "Memory"]
    console.print(table("A decoder of GPT-3's width, without weights", columns, rows, left=0))
    console.print(
        Text(
            f"ms a layer: of the layers beyond the row above. Limits at 96 layers: {DECODER_SECONDS:g} s and "
            f"{bytes_text(DECODER_BYTES)}."
        ),
        soft_wrap=True,
    )
    for line in report.exceeded():
        console.print(Text(f"exceeded: {line}", style="bold red"), soft_wrap=True)


def _print_machine(console: Console, machine: Any, load: float | None) -> None:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    console.print(Text(f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; {versions}."), soft_wrap=True)
    if load is not None and load > BUSY:
        console.print(
            Text(
                f"The machine was busy (load {load:g}): trust ratios and processor time, not seconds.", style="yellow"
            ),
            soft_wrap=True,
        )


def _error_text(error: float) -> str:
    from tfgraph.bench.encoder import TOLERANCE_OF_RESULT

    return f"{error:.1e}" + ("" if error <= TOLERANCE_OF_RESULT else " !")


def _median(numbers: list[float]) -> float:
    import statistics

    return statistics.median(numbers)


def _memory_text(number: int | None) -> str:
    return "not known here" if number is None else bytes_text(number)
