"""`tfgraph export`: a checkpoint becomes an optimised ONNX model in a folder."""

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
    print_choice,
    print_quantisation,
)
from tfgraph.cli.sizes import ShapeOption, read_shapes
from tfgraph.cli.units import bytes_text

if TYPE_CHECKING:
    from tfgraph.exporter import Progress as Step
    from tfgraph.passes.report import Report
    from tfgraph.pretrained import Pretrained


def export_command(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A Hugging Face folder, a GGUF file, or Megatron-LM's folder.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; an older export in it is replaced.")],
    target: Annotated[str, typer.Option(help="What to optimise for; `tfgraph targets` lists them.")] = "cpu",
    task: Annotated[
        str | None, typer.Option(help="What the model is for, if not what the checkpoint says, such as masked-lm.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="What weights become: float32, float16 or bfloat16.")] = "float32",
    cache_length: Annotated[
        str | None,
        typer.Option(help="For text generation: positions of a cache written in place, `any` number, or `growing`."),
    ] = None,
    fuse: Annotated[bool, typer.Option("--fuse/--no-fuse", help="Fuse operators, or leave them written out.")] = True,
    unpad: Annotated[
        bool, typer.Option("--unpad", help="Compute nothing but attention for padding; results there become zeros.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Compare results after every pass. Slow.")] = False,
    precision: PrecisionOption = "fp32",
    budget: BudgetOption = None,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Texts to measure the error on, one a line; or an .npz of arrays."),
    ] = None,
    keep: KeepOption = None,
    shape: ShapeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Optimise a checkpoint, and write it as an ONNX model.

    OUT gets model.onnx (encoder.onnx and decoder.onnx for an encoder-decoder that writes texts), the tokenizer's files,
    and a manifest; `tfgraph run OUT` runs it. If the export is stopped, an older one in OUT stays as it was.
    """
    from tfgraph.exporter import export
    from tfgraph.manifest import read_manifest
    from tfgraph.pretrained import load

    start = time.perf_counter()
    pretrained = load(checkpoint, task=task, dtype=dtype, cache_length=_as_length(cache_length))
    loaded = time.perf_counter()
    with _progress(shown=not as_json) as on_progress:
        report = export(
            pretrained, out, target=target, fuse=fuse, unpad=unpad, verify=verify, precision=precision, budget=budget,
            calibration=existing(calibration), sites=kept_in_float(keep),
            shapes=read_shapes(shape), on_progress=on_progress,
        )  # fmt: skip
    seconds = {
        "load": loaded - start,
        "passes": report.seconds,
        "write": time.perf_counter() - loaded - report.seconds,
        "total": time.perf_counter() - start,
    }
    manifest = read_manifest(out)
    files = dict(manifest.files)
    if as_json:
        rounded = {name: round(value, 3) for name, value in seconds.items()}
        quantised = {"quantization": dict(manifest.quantization)} if manifest.quantization else {}
        quantised |= {"choice": dict(manifest.choice)} if manifest.choice else {}
        print_json({"out": str(out), "files": files, "seconds": rounded, "report": report.as_dict(), **quantised})
        return
    console = stdout()
    _print_report(console, pretrained, out, report)
    if manifest.choice:
        print_choice(console, manifest.choice)
    for name, record in manifest.quantization.items():
        print_quantisation(console, record, name if len(manifest.parts) > 1 else "")
    console.print(table("Files", ["File", "Size"], [[name, bytes_text(size)] for name, size in files.items()]))
    console.print(
        f"{seconds['total']:.1f} s: {seconds['load']:.1f} to load, {seconds['passes']:.1f} for the passes, "
        f"{seconds['write']:.1f} to trace and write"
    )
    console.print(Text(f"Try it: tfgraph {_example(pretrained, out)}"), soft_wrap=True)


@contextmanager
def _progress(shown: bool) -> Iterator[Callable[[Step], None] | None]:
    """Bars for the passes and for the bytes written, on a terminal only."""
    console = stderr()
    if not shown or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description:<9}"), BarColumn(), TextColumn("{task.fields[detail]}"))
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(step: Step) -> None:
            if step.activity not in tasks:
                for earlier in tasks.values():
                    bars.update(earlier, completed=bars.tasks[earlier].total, detail="done")
                tasks[step.activity] = bars.add_task(step.activity, total=step.total, detail="")
            written = f"{bytes_text(step.done)} of {bytes_text(step.total)}"
            detail = step.detail if step.activity == "optimise" else written
            bars.update(tasks[step.activity], completed=step.done, total=step.total, detail=detail)

        yield advance


def _print_report(console: Console, pretrained: Pretrained, out: Path, report: Report) -> None:
    what = f"{pretrained.path} ({pretrained.family.model_type}, {pretrained.task})"
    console.print(Text(f"Exported {what} to {out} for {report.target}."), soft_wrap=True)
    console.print(f"{report.nodes_before} nodes became {report.nodes_after}.\n")
    print_operators(console, report)
    if report.near_misses:
        console.print(Text(f"Not fused ({len(report.near_misses)})", style="bold"))
        for miss in report.near_misses:
            console.print(Text(f"- {miss}"), soft_wrap=True)
        console.print()


def _example(pretrained: Pretrained, out: Path) -> str:
    """A command that fits the task."""
    from tfgraph.models.family import TEXT_GENERATION

    if pretrained.task == TEXT_GENERATION:
        return f'generate {out} --prompt "Once upon a time"'
    return f"run {out} {_texts(pretrained.task)}"


def _texts(task: str) -> str:
    """Texts that fit the task, as options of `tfgraph run`."""
    match task:
        case "masked-lm":
            return '--text "The capital of France is [MASK]."'
        case "question-answering":
            return '--pair "Who wrote it?" "It was written by Ada."'
        case "next-sentence":
            return '--pair "It was raining." "So we stayed inside."'
    return '--text "Hello, world."'


def _as_length(given: str | None) -> int | str | None:
    """The number that was written, or the name of a kind of cache."""
    return int(given) if given is not None and given.lstrip("-").isdigit() else given
