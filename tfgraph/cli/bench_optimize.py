"""What `tfgraph bench optimize` prints; measuring is in `tfgraph.bench.optimize`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from tfgraph.cli.bench_tables import print_machine
from tfgraph.cli.console import table

if TYPE_CHECKING:
    from tfgraph.bench.optimize import OptimizeReport


def print_optimize(console: Console, report: OptimizeReport) -> None:
    """The tables of the export and of the graphs, and the limits that were exceeded."""
    from tfgraph.bench.optimize import EXPORT_RATIO, EXPORT_SECONDS, GRAPH_SECONDS, median

    print_machine(console, report.machine, report.load)
    rounds = report.settings.rounds
    for name, reason in report.skipped.items():
        console.print(Text(f"skipped: {name}: {reason}", style="yellow"), soft_wrap=True)
    if report.export:
        layers = report.settings.config.num_hidden_layers
        rows = [
            [name, f"{median(each):.2f}", f"{min(sample.seconds for sample in each):.2f}"]
            for name, each in report.export.items()
        ]
        title = f"torch's export of BERT, {layers} layers, not verified, {rounds} interleaved runs each"
        console.print(table(title, ["", "Median s", "Least s"], rows))
        ratio = "" if report.ratio is None else f"{report.ratio:.2f} of ONNX Runtime's optimiser (limit {EXPORT_RATIO})"
        console.print(Text(f"Limit {EXPORT_SECONDS:g} s. {ratio}"), soft_wrap=True)
    rows = [
        [
            f"{nodes:,}",
            f"{median(each):.2f}",
            f"{min(sample.seconds for sample in each):.2f}",
            f"{min(sample.cpu_seconds for sample in each):.2f}",
            f"{1e6 * min(sample.seconds for sample in each) / nodes:.0f}",
        ]
        for nodes, each in sorted(report.graphs.items())
    ]
    if rows:
        columns = ["Nodes", "Median s", "Least s", "Least CPU s", "us a node"]
        console.print(table(f"Encoders of so many nodes, {rounds} runs each", columns, rows, left=0))
        console.print(Text(f"Limit at 50,000 nodes: {GRAPH_SECONDS:g} s."), soft_wrap=True)
    for line in report.exceeded():
        console.print(Text(f"exceeded: {line}", style="bold red"), soft_wrap=True)
