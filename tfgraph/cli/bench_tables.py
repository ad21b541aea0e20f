"""What `tfgraph bench` prints of exports and writing: tables, and what one has to know to read them.

Those of the benchmarks against peers are in `bench_peer_tables.py`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text

from tfgraph.cli.console import table
from tfgraph.cli.units import bytes_text, count_text

if TYPE_CHECKING:
    from tfgraph.bench.scale import ScaleReport
    from tfgraph.bench.write import WriteReport

_BUSY: Final = 0.5  # processes that want a core before the benchmark begins


def print_scale(console: Console, report: ScaleReport) -> None:
    """The tables of the export and of the decoder, and the limits that were exceeded."""
    from tfgraph.bench.scale import DECODER_BYTES, DECODER_SECONDS, EXPORT_BYTES, EXPORT_SECONDS

    print_machine(console, report.machine, report.load)
    repeats = report.settings.repeats
    console.print(Text(f"Seconds are medians of {repeats} runs, each in a process of its own.\n"), soft_wrap=True)
    export = report.export
    rows = [[phase, f"{export.phase(phase):.2f}", ""] for phase in export.phases]
    rows += [
        ["in all", f"{export.median('seconds'):.2f}", ""],
        ["copying the weights", f"{export.median('copy_seconds'):.2f}", ""],
        ["beyond copying, median", f"{statistics.median(export.beyond_copying):.2f}", f"{EXPORT_SECONDS:g}"],
        ["beyond copying, least", f"{min(export.beyond_copying):.2f}", ""],
        ["processor time", f"{export.median('cpu_seconds'):.2f}", ""],
        ["memory", _memory_text(export.memory), bytes_text(EXPORT_BYTES)],
    ]
    title = f"Export of {bytes_text(int(export.median('bytes')))} of weights"
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


def print_write(console: Console, report: WriteReport) -> None:
    """The table of copies and exports, and the limits that were exceeded."""
    from tfgraph.bench.write import LEAST_SPEED, MOST_MEMORY

    print_machine(console, report.machine, report.load)
    settings = report.settings
    console.print(
        Text(
            f"LLaMA, {settings.config.num_hidden_layers} layers of {settings.config.hidden_size}, {settings.dtype}, "
            f"{bytes_text(report.nbytes)} of files; medians of {settings.rounds} rounds, in turns. The system keeps of "
            "the files in memory what fits there."
        ),
        soft_wrap=True,
    )
    rates = {
        "copy": report.copy_seconds,
        "copy, until it is on the disk": report.flushed_copy_seconds,
        "export, until it is on the disk": report.export_seconds,
    }
    rows = [[name, f"{seconds:.1f}", f"{report.nbytes / seconds / 1e9:.2f}"] for name, seconds in rates.items()]
    console.print(table("", ["", "Seconds", "GB/s"], rows))
    cpu = statistics.median(each["cpu_seconds"] for each in report.exports)
    console.print(
        Text(
            f"The export has {report.speed:.2f} of the speed of copying (limit {LEAST_SPEED:g}), takes {cpu:.1f} s of "
            f"processor time and at most {_memory_text(report.memory)} of memory (limit {bytes_text(MOST_MEMORY)})."
        ),
        soft_wrap=True,
    )
    for line in report.exceeded():
        console.print(Text(f"exceeded: {line}", style="bold red"), soft_wrap=True)


def print_machine(console: Console, machine: Mapping[str, Any], load: float | None) -> None:
    """What the numbers were measured on, and whether something else kept it busy."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    console.print(Text(f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; {versions}."), soft_wrap=True)
    if load is not None and load > _BUSY:
        console.print(
            Text(
                f"The machine was busy (load {load:g}): trust ratios and processor time, not seconds.", style="yellow"
            ),
            soft_wrap=True,
        )


def _memory_text(number: int | None) -> str:
    return "not known here" if number is None else bytes_text(number)
