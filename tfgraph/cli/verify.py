"""`tfgraph verify`: do two ONNX files compute the same?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tfgraph.cli.console import JsonOption, print_json, stdout, table
from tfgraph.cli.sizes import SizeOption, read_sizes


def verify_command(
    first: Annotated[Path, typer.Argument(metavar="A.onnx", help="The reference.")],
    second: Annotated[Path, typer.Argument(metavar="B.onnx", help="What is compared with it.")],
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

    Both run with ONNX Runtime's own optimiser off. Errors are relative to the largest magnitude of the output in
    A.onnx, or to 1 if that is larger.
    """
    from tfgraph.verification import compare

    sizes = read_sizes(size)
    comparison = compare(first, second, sizes=sizes, cases=cases, seed=seed, tolerance=tolerance)
    if as_json:
        print_json(comparison.as_dict())
    else:
        console = stdout()
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
        console.print(table("Largest differences", columns, rows, left=3))
        ran = "; ".join(
            ", ".join(f"{name}={number}" for name, number in case.items()) or "once" for case in comparison.sizes
        )
        verdict = "give the same results" if comparison.equal else "do NOT give the same results"
        console.print(Text(f"{first} and {second} {verdict}. Inputs: {ran}."), soft_wrap=True)
    if not comparison.equal:
        raise typer.Exit(1)
