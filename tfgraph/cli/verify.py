"""`tfgraph verify`: do two models compute the same?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from tfgraph.cli.console import JsonOption, print_json, stdout, table
from tfgraph.cli.sizes import SizeOption, read_sizes

if TYPE_CHECKING:
    from tfgraph.verification import Comparison


def verify_command(
    first: Annotated[Path, typer.Argument(metavar="A", help="The reference: an ONNX file or the folder of an export.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="What is compared with it, of the same kind.")],
    size: SizeOption = None,
    cases: Annotated[int, typer.Option(min=1, help="How many random inputs to run, each of other sizes.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random numbers.")] = 0,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0.0, help="Largest relative error to allow; 1e-5 for float32 unless given."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two ONNX files on random inputs. Exits with 1 if their outputs differ.

    Of two exports, each graph is compared with its counterpart. All run with ONNX Runtime's own optimiser off. Errors
    are relative to the largest magnitude of the output in A, or to 1 if that is larger.
    """
    from tfgraph.verification import compare_exports

    sizes = read_sizes(size)
    comparisons = compare_exports(first, second, sizes=sizes, cases=cases, seed=seed, tolerance=tolerance)
    equal = all(comparison.equal for comparison in comparisons.values())
    if as_json:
        shown = {part: comparison.as_dict() for part, comparison in comparisons.items()}
        print_json(next(iter(shown.values())) if len(shown) == 1 else {"equal": equal, "parts": shown})
    else:
        for part, comparison in comparisons.items():
            _print_comparison(stdout(), f"{first} and {second}", comparison, part if len(comparisons) > 1 else "")
    if not equal:
        raise typer.Exit(1)


def _print_comparison(console: Console, models: str, comparison: Comparison, part: str) -> None:
    """Print a table of outputs, and a sentence; `part` is which graph of the models this is, if there are several."""
    rows = [
        [
            each.output,
            str(each.dtype),
            "equal" if each.equal else "DIFFERENT",
            f"{each.absolute:.3g}",
            f"{each.relative:.3g}",
            f"{each.allowed:.3g}",
            each.note,
        ]
        for each in comparison.differences
    ]
    columns = ["Output", "Type", "Verdict", "Absolute error", "Relative error", "Allowed", ""]
    title = "Largest differences"
    console.print(table(f"{title}: {part}" if part else title, columns, rows, left=3))
    ran = "; ".join(
        ", ".join(f"{name}={number}" for name, number in case.items()) or "once" for case in comparison.sizes
    )
    verdict = "give the same results" if comparison.equal else "do NOT give the same results"
    which = f", {part}," if part else ""
    console.print(Text(f"{models}{which} {verdict}. Inputs: {ran}."), soft_wrap=True)
