"""`tfgraph bench encoder`, `texts` and `decode`: tfgraph's profiles against what is installed of their peers.

What they print as tables is in `bench_peer_tables.py`; measuring is in `tfgraph.bench`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfgraph.cli.bench_output import (
    ChartOption,
    OnlyOption,
    RoundsOption,
    SaveOption,
    SeedOption,
    ThreadsOption,
    give,
    progress_line,
    save_json,
)
from tfgraph.cli.bench_peer_tables import print_decoder, print_encoder_notes, print_shape, print_texts
from tfgraph.cli.console import JsonOption, print_json, stdout
from tfgraph.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tfgraph.bench.accuracy import Cosines
    from tfgraph.bench.chart import Panel
    from tfgraph.bench.decode import DecodeReport
    from tfgraph.bench.encoder import EncoderReport
    from tfgraph.bench.field import Progress

_ACCURACY_TEXTS = 200


def encoder_command(
    shape: Annotated[
        list[str] | None, typer.Option(metavar="BxS", help="Texts and tokens, such as 8x128; may be repeated.")
    ] = None,
    layers: Annotated[int, typer.Option(min=1, help="Layers of the model; BERT-base has 12.")] = 12,
    runs: RoundsOption = 15,
    threads: ThreadsOption = None,
    only: OnlyOption = None,
    real_text: Annotated[
        bool, typer.Option(help="Compare embeddings of real texts too, if MiniLM's package is installed.")
    ] = True,
    seed: SeedOption = 0,
    require_ratio: Annotated[
        float | None,
        typer.Option(
            metavar="R", min=0.0, help="Exit with 1 if tfgraph in fp32 takes more than R times the best fp32 peer's."
        ),
    ] = None,
    chart: ChartOption = None,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Time BERT-base with random weights: tfgraph's profiles against all peers that are installed.

    Each candidate has a process of its own, which stands still until it is its turn; the order of turns is random.
    Errors are relative to torch, on inputs with padding. --only "tfgraph fp32" --only torch picks candidates.
    """
    from dataclasses import replace

    from tfgraph.bench.encoder import MODEL, SHAPES, Settings, measure_encoder
    from tfgraph.bench.panels import encoder_panels
    from tfgraph.bench.shapes import BatchShape
    from tfgraph.models import published

    settings = Settings(
        shapes=[BatchShape.parse(text) for text in shape] if shape else SHAPES,
        config=replace(published.configs[MODEL], num_hidden_layers=layers),
        rounds=runs,
        threads=threads,
        seed=seed,
        only=only,
    )
    _check_chart(chart)
    console = stdout()

    def print_latest(report: EncoderReport) -> None:
        if not as_json:
            print_shape(console, report)

    with progress_line(shown=not as_json) as on_progress:
        accuracy = _cosines_of_real_text(threads, only, on_progress) if real_text else {}
        report = measure_encoder(settings, accuracy=accuracy, on_progress=on_progress, on_result=print_latest)
    save_json(save, report.as_dict())
    _draw(chart, "BERT-base, random weights", encoder_panels(report))
    if as_json:
        print_json(report.as_dict())
    else:
        print_encoder_notes(console, report)
    if require_ratio is not None and not report.is_at_most(require_ratio):
        if all(not result.contests for result in report.results):
            raise InputError(f"there is no peer to compare with: {next(iter(report.skipped.values()), '')}")
        raise typer.Exit(1)


def texts_command(
    model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A BERT of sentence-transformers; MiniLM if left out.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Paragraphs, from the docstrings of installed packages.")] = 2000,
    runs: RoundsOption = 3,
    threads: ThreadsOption = None,
    only: OnlyOption = None,
    seed: SeedOption = 0,
    chart: ChartOption = None,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Embed real paragraphs with a real model: how many a second, and how near to float32.

    tfgraph gets all paragraphs at once, peers get them sorted by length in batches of 32.
    """
    from tfgraph.bench.panels import texts_panels
    from tfgraph.bench.texts import Settings, measure_texts

    settings = Settings(model, count, runs, threads, seed, only)
    _check_chart(chart)
    with progress_line(shown=not as_json) as on_progress:
        report = measure_texts(settings, on_progress=on_progress)
    _draw(chart, f"{count} real paragraphs embedded", texts_panels(report))
    give(report, print_texts, save, as_json)


def decode_command(
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="gpt2 (random weights), smollm2, or a checkpoint; may be repeated."),
    ] = None,
    prompt: Annotated[int, typer.Option(min=1, help="Tokens of the prompt.")] = 128,
    new: Annotated[int, typer.Option(min=2, help="Tokens that are generated.")] = 64,
    runs: RoundsOption = 5,
    threads: ThreadsOption = None,
    only: OnlyOption = None,
    seed: SeedOption = 0,
    chart: ChartOption = None,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Time greedy decoding: tokens a second, time to the first, start-up, memory; with real weights, perplexity too."""
    from tfgraph.bench.decode import GPT2, SMOLLM2, Settings, measure_decode
    from tfgraph.bench.panels import decode_panels

    settings = Settings(
        models=model or (GPT2, SMOLLM2), prompt=prompt, new=new, rounds=runs, threads=threads, seed=seed, only=only
    )
    _check_chart(chart)
    console = stdout()

    def print_latest(report: DecodeReport) -> None:
        if not as_json:
            print_decoder(console, report)

    with progress_line(shown=not as_json) as on_progress:
        report = measure_decode(settings, on_progress=on_progress, on_result=print_latest)
    save_json(save, report.as_dict())
    _draw(chart, f"Greedy decoding, prompt {prompt}, {new} new tokens", decode_panels(report))
    if as_json:
        print_json(report.as_dict())


def _cosines_of_real_text(threads: int | None, only: Sequence[str] | None, progress: Progress) -> Mapping[str, Cosines]:
    """What the same candidates, made of MiniLM, give for real paragraphs; nothing where it is not installed."""
    from tfgraph.bench.texts import Settings, find_model, measure_texts

    settings = Settings(count=_ACCURACY_TEXTS, rounds=1, threads=threads, only=only)
    try:
        find_model(None)
    except InputError:
        return {}
    try:
        return measure_texts(settings, with_limits=False, on_progress=progress).accuracy
    except InputError:  # nobody to compare with among the candidates that were asked for
        return {}


def _check_chart(path: Path | None) -> None:
    from tfgraph.bench.chart import check_chart_name

    if path is not None:
        check_chart_name(path)


def _draw(path: Path | None, heading: str, panels: Sequence[Panel]) -> None:
    from tfgraph.bench.chart import write_chart

    if path is not None:
        write_chart(path, heading, panels)
