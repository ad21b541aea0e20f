"""`tfgraph bench`: how fast the results are, and how long it takes to make them.

Here are the commands that time tfgraph itself; those against peers are in `bench_peers.py`. What they print as tables
is in `bench_tables.py`; measuring is in `tfgraph.bench`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfgraph.cli.bench_optimize import print_optimize
from tfgraph.cli.bench_output import RequireLimitsOption, SaveOption, give, progress_line
from tfgraph.cli.bench_peers import decode_command, encoder_command, texts_command
from tfgraph.cli.bench_tables import print_scale, print_write
from tfgraph.cli.console import JsonOption

bench_app = typer.Typer(no_args_is_help=True, help="Measure speed against what users would run instead, and scale.")
bench_app.command("encoder")(encoder_command)
bench_app.command("decode")(decode_command)
bench_app.command("texts")(texts_command)


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
    with progress_line(shown=not as_json) as on_progress:
        report = measure_scale(settings, on_progress=on_progress)
    give(report, print_scale, save, as_json)
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
    with progress_line(shown=not as_json) as on_progress:
        report = measure_write(settings, on_progress=on_progress)
    give(report, print_write, save, as_json)
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
    with progress_line(shown=not as_json) as on_progress:
        report = measure_optimize(settings, on_progress=on_progress)
    give(report, print_optimize, save, as_json)
    if require_limits and report.exceeded():
        raise typer.Exit(1)
