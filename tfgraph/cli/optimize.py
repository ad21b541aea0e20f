"""`tfgraph optimize`: an ONNX file that any exporter wrote becomes a faster one that computes the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from tfgraph.cli.console import JsonOption, print_json, print_operators, stderr, stdout, table
from tfgraph.cli.quantisation import (
    BudgetOption,
    KeepOption,
    PrecisionOption,
    existing,
    kept_in_float,
    print_quantisation,
)
from tfgraph.cli.units import bytes_text, count_text

if TYPE_CHECKING:
    from tfgraph.optimizer import OptimizationReport


def optimize_command(
    source: Annotated[Path, typer.Argument(metavar="IN.onnx", help="The file to optimise.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="The file to write; may be the same.")],
    target: Annotated[str, typer.Option(help="What to optimise for; `tfgraph targets` lists them.")] = "cpu",
    explain: Annotated[bool, typer.Option("--explain", help="Say what was not fused, and why.")] = False,
    report_path: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Write a page about it that works offline.")
    ] = None,
    verify: Annotated[
        bool | None,
        typer.Option("--verify/--no-verify", help="Compare results before writing; by default for files under 500 MB."),
    ] = None,
    precision: PrecisionOption = "fp32",
    budget: BudgetOption = None,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Inputs to measure the error on: an array for each, its rows the runs."),
    ] = None,
    keep: KeepOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fuse the operators of an ONNX file.

    Inputs, outputs, their names and dynamic axes stay as they are. If the results differ, nothing is written, and the
    exit code is 1.
    """
    from tfgraph.html_report import write_html
    from tfgraph.optimizer import optimize_onnx

    start = time.perf_counter()
    with _progress(shown=not as_json) as on_progress:
        report = optimize_onnx(
            source, out, target, verify=verify, precision=precision, budget=budget, calibration=existing(calibration),
            sites=kept_in_float(keep), on_progress=on_progress,
        )  # fmt: skip
    if report_path is not None:
        write_html(report, report_path, title=source.name)
    seconds = time.perf_counter() - start
    if as_json:
        print_json({"out": str(out), "seconds": round(seconds, 3), "report": report.as_dict()})
        return
    console = stdout()
    console.print(Text(f"Optimised {source} for {report.target}: {out}, in {seconds:.1f} s."), soft_wrap=True)
    _print_report(console, report, explain)
    if report.quantization:
        print_quantisation(console, report.quantization)
    if report_path is not None:
        console.print(Text(f"The graph before and after: {report_path}"), soft_wrap=True)
    if report.proof.verdict == "not verified":
        stderr().print(
            Text.assemble(("warning: ", "bold yellow"), f"{out} was written and is {report.proof}"), soft_wrap=True
        )


@contextmanager
def _progress(shown: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar for each activity, on a terminal only."""
    console = stderr()
    if not shown or not console.is_terminal:
        yield None
        return
    with Progress(TextColumn("{task.description:<9}"), BarColumn(), console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(activity: str, done: int, total: int) -> None:
            if activity not in tasks:
                tasks[activity] = bars.add_task(activity, total=total)
            bars.update(tasks[activity], completed=done, total=total)

        yield advance


def _print_report(console: Console, report: OptimizationReport, explain: bool) -> None:
    before, after = report.before, report.after
    rows = [
        ["Nodes", f"{before.nodes:,}", f"{after.nodes:,}"],
        ["FLOPs", count_text(before.flops), count_text(after.flops)],
        ["Bytes moved", bytes_text(before.nbytes), bytes_text(after.nbytes)],
    ]
    at = ", ".join(f"{name}={size}" for name, size in report.sizes.items())
    console.print(table(f"Estimated{f' at {at}' if at else ''}", ["", "Before", "After"], rows))
    unknown = sorted({*before.uncounted, *after.uncounted})
    if unknown:
        console.print(Text(f"Without what is not known of {', '.join(unknown)}.\n"), soft_wrap=True)
    print_operators(console, report)
    misses = report.near_misses
    if explain:
        console.print(Text(f"Not fused ({len(misses)})", style="bold"))
        for miss in misses:
            console.print(Text(f"- {miss}"), soft_wrap=True)
        if not misses:
            console.print("Nothing that looks like an operator to fuse was left over.")
        console.print()
    elif misses:
        console.print(f"{len(misses)} near misses were not fused; --explain says why.")
    if report.proof.verdict != "not verified":
        proof = str(report.proof)
        console.print(Text(f"{proof[:1].upper()}{proof[1:]}."), soft_wrap=True)
