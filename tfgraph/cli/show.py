"""`tfgraph show`: what a model consists of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from tfgraph.cli.console import JsonOption, print_json, stdout, table
from tfgraph.cli.sizes import SizeOption, read_sizes
from tfgraph.cli.units import bytes_text, count_text, formula_text
from tfgraph.errors import ConfigError

if TYPE_CHECKING:
    from tfgraph.ir.graph import Graph
    from tfgraph.summary import Counts, Summary


def show_command(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="An ONNX file, a checkpoint folder, or the folder of an export.")
    ],
    size: SizeOption = None,
    layers: Annotated[bool, typer.Option("--layers", help="Show every module, not only whole layers.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show inputs, outputs, parameters, FLOPs, operators and layers of a model.

    A multiply-add counts as two FLOPs. Sizes that are not given with --size are 1 for batches, and 128 for lengths. A
    model that runs as several graphs is shown graph by graph.
    """
    from tfgraph.random_inputs import sizes_by_part
    from tfgraph.summary import summarise

    sizes = read_sizes(size)
    graphs, facts = _read(model)
    own_sizes = sizes_by_part(graphs, sizes)
    summaries = {name: summarise(graph, own_sizes[name]) for name, graph in graphs.items()}
    if as_json:
        shown = {name: {**each.as_dict(), **_all_modules(each, layers)} for name, each in summaries.items()}
        print_json({"model": facts, **(next(iter(shown.values())) if len(shown) == 1 else {"parts": shown})})
        return
    for name, summary in summaries.items():
        _print_summary(stdout(), facts if len(summaries) == 1 else {**facts, "part": name}, summary, layers)


def _print_summary(console: Console, facts: dict[str, Any], summary: Summary, layers: bool) -> None:
    _print_overview(console, facts, summary)
    operators = [[key, str(count)] for key, count in summary.operators.items()]
    console.print(table("Operators", ["Operator", "Count"], operators))
    title, rows = (
        ("Modules", _tree_rows(summary)) if layers else ("Layers", [_row(c.path, c) for c in summary.layers()])
    )
    console.print(table(title, [title[:-1], "Nodes", "Parameters", "Size", "FLOPs"], rows))


def _read(path: Path) -> tuple[dict[str, Graph], dict[str, Any]]:
    """The graphs of whatever lies at `path`, by name, and what is known about it."""
    from tfgraph.backends.onnx.read import from_onnx
    from tfgraph.checkpoints.folder import CONFIG_FILE
    from tfgraph.manifest import MANIFEST_FILE, MODEL_FILE, read_manifest
    from tfgraph.models.family import WHOLE_MODEL
    from tfgraph.pretrained import load

    if os.path.isfile(path) and path.suffix.lower() != ".gguf":
        return {WHOLE_MODEL: from_onnx(path)}, {"path": str(path), "kind": "ONNX file"}
    if not os.path.exists(path):
        raise ConfigError(
            f"{path} does not exist: expected an ONNX file, a checkpoint folder, or the folder of an export"
        )
    if (path / MANIFEST_FILE).is_file():
        manifest = read_manifest(path)
        facts = {"path": str(path), "kind": "export", "target": manifest.target, **manifest.model}
        return {name: from_onnx(path / part.file) for name, part in manifest.parts.items()}, facts
    if not (path / CONFIG_FILE).is_file() and (path / MODEL_FILE).is_file():
        return {WHOLE_MODEL: from_onnx(path / MODEL_FILE)}, {"path": str(path / MODEL_FILE), "kind": "ONNX file"}
    pretrained = load(path)
    graphs = {name: part.trace() for name, part in pretrained.parts.items()}
    return graphs, {"path": str(path), "kind": "checkpoint", **pretrained.metadata}


def _print_overview(console: Console, facts: dict[str, Any], summary: Summary) -> None:
    shown = ("target", "model_type", "task", "max_length", "part")
    known = [f"{name} {facts[name]}" for name in shown if name in facts]
    console.print(Text(f"{facts['path']}: {', '.join([facts['kind'], *known])}", style="bold"), soft_wrap=True)
    lines = [["Input", str(spec)] for spec in summary.inputs.values()]
    lines += [["Output", str(spec)] for spec in summary.outputs.values()]
    lines.append(["Parameters", f"{summary.total.parameters:,}, {bytes_text(summary.total.nbytes)}"])
    lines.append(["Nodes", f"{summary.total.nodes:,}"])
    at = ", ".join(f"{name}={size}" for name, size in summary.sizes.items())
    lines.append(["FLOPs", f"{count_text(summary.total.flops)}{f' at {at}' if at else ''}"])
    formula = formula_text(summary.formula)
    if formula is not None:
        lines.append(["", formula])
    if summary.uncounted:
        listed = ", ".join(f"{count} x {key}" for key, count in summary.uncounted.items())
        lines.append(["", f"without those of {listed}, which are not known"])
    for label, text in lines:
        console.print(Text(f"{label:<12}{text}"), soft_wrap=True)
    console.print()


def _row(label: str, counts: Counts) -> list[str]:
    return [
        label or "(in no module)",
        f"{counts.nodes:,}",
        f"{counts.parameters:,}",
        bytes_text(counts.nbytes),
        count_text(counts.flops),
    ]


def _tree_rows(summary: Summary) -> list[list[str]]:
    """A row for each module, with all that is in it; its name is indented by how deep it lies."""
    return [_row("  " * each.path.count(".") + each.path.rpartition(".")[2], each) for each in summary.tree()]


def _all_modules(summary: Summary, wanted: bool) -> dict[str, Any]:
    return {"modules": [counts.as_dict() for counts in summary.tree()]} if wanted else {}
