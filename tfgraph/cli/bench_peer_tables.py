"""What the benchmarks against peers print: a table of candidates, who won among whom, and who is missing and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from tfgraph.cli.bench_tables import print_machine
from tfgraph.cli.console import table
from tfgraph.cli.units import bytes_text, count_text

if TYPE_CHECKING:
    from tfgraph.bench.contest import Contest
    from tfgraph.bench.decode import DecodeReport
    from tfgraph.bench.encoder import EncoderReport
    from tfgraph.bench.limits import Limits
    from tfgraph.bench.texts import TextsReport


def print_shape(console: Console, report: EncoderReport) -> None:
    """The table of the shape that was measured last; above the first one, what was measured and where."""
    if len(report.results) == 1:
        config = report.settings.config
        _say(
            console,
            f"BERT, {config.num_hidden_layers} layers of {config.hidden_size}, {report.threads} threads, "
            f"{report.settings.rounds} interleaved runs each, random weights.",
        )
        _print_conditions(console, report.machine, report.load, report.limits)
    result = report.results[-1]
    rows = []
    for name, each in result.candidates.items():
        real = report.accuracy.get(name)
        rows.append(
            [
                name,
                f"{1e3 * each.timings.median:.1f}",
                f"{1e3 * each.timings.lower_quartile:.1f} to {1e3 * each.timings.upper_quartile:.1f}",
                f"{1e3 * each.timings.best:.1f}",
                f"{1e3 * each.timings.cpu_median:.1f}",
                _error_text(each.error("none", "right")),
                _error_text(each.error()),
                f"{each.cosines.worst:.5f}",
                "" if real is None else f"{real.worst:.5f}",
            ]
        )
    columns = ["", "Median ms", "Quartiles", "Least", "Processor ms", "Error", "Any padding", "Cosine", "Real text"]
    console.print(table(str(result.shape), columns, rows))
    _print_contests(console, result.contests)


def print_encoder_notes(console: Console, report: EncoderReport) -> None:
    """What was left out and why, and what the errors are."""
    from tfgraph.bench.encoder import TOLERANCE_OF_RESULT

    _print_skipped(console, report.skipped)
    _say(
        console,
        f"Errors are against {report.reference}, relative to its largest value; the first is with padding on the "
        f"right or none, and ! marks those above {TOLERANCE_OF_RESULT:g}. Cosines are the worst of any vector.",
    )
    if report.accuracy:
        _say(console, "Real text: the worst cosine of MiniLM's sentence embeddings, made the same way, to float32.")


def print_texts(console: Console, report: TextsReport) -> None:
    """The table of candidates by speed."""
    words = sorted(report.words)
    _say(
        console,
        f"{len(words)} paragraphs of {words[0]} to {words[-1]} words, median {words[len(words) // 2]}; "
        f"{report.threads} threads, {report.settings.rounds} interleaved runs each.",
    )
    _print_conditions(console, report.machine, report.load, report.limits)
    rows = [
        [
            name,
            f"{report.per_second(name):.1f}",
            f"{each.timings.median:.2f}",
            f"{each.timings.lower_quartile:.2f} to {each.timings.upper_quartile:.2f}",
            f"{each.cosines.worst:.5f}",
            f"{each.cosines.mean:.5f}",
        ]
        for name, each in sorted(report.results.items(), key=lambda item: item[1].timings.median)
    ]
    columns = ["", "A second", "Median s", "Quartiles", "Worst cosine", "Mean cosine"]
    console.print(table("Paragraphs embedded", columns, rows))
    _print_contests(console, report.contests)
    _print_skipped(console, report.skipped)
    _say(console, f"Cosines are to {report.reference}, over all paragraphs.")


def print_decoder(console: Console, report: DecodeReport) -> None:
    """The table of the model that was measured last; above the first one, where."""
    settings, model = report.settings, report.models[-1]
    if len(report.models) == 1:
        _say(
            console,
            f"Prompt of {settings.prompt} tokens, {settings.new} new ones, greedy, one text at a time; "
            f"{report.threads} threads, {settings.rounds} interleaved runs each.",
        )
        _print_conditions(console, report.machine, report.load, report.limits)
    rows = []
    for name, each in model.results.items():
        scores = each.scores
        rows.append(
            [
                name,
                f"{model.tokens_per_second(name):.1f}",
                f"{1e3 * each.prefill.median:.0f}",
                "" if each.start_up is None else f"{each.start_up:.2f}",
                "" if each.memory is None else bytes_text(each.memory),
                "" if scores is None else f"{scores.perplexity:.3f}",
                "" if scores is None or scores.top1 is None else f"{100 * scores.top1:.1f}%",
            ]
        )
    columns = ["", "Tokens a second", "First token ms", "Start-up s", "Peak memory", "Perplexity", "Top-1"]
    console.print(table(f"{model.model}, {count_text(model.parameters)} parameters a token", columns, rows))
    limits = ", ".join(f"{width} {value:.0f}" for width, value in model.most_tokens.items())
    _say(console, f"Tokens a second that the memory allows: {limits}.")
    _say(console, "Decoding:")
    _print_contests(console, model.speed)
    _say(console, "To the first token:")
    _print_contests(console, model.prefill)
    _print_skipped(console, model.skipped)


def _print_conditions(console: Console, machine: Mapping[str, Any], load: float | None, limits: Limits | None) -> None:
    print_machine(console, machine, load)
    if limits is not None:
        reached = [
            f"{name} {value / 1e9:.0f} G operations/s"
            for name, value in (("fp32", limits.fp32), ("int8", limits.int8), ("bf16", limits.bf16))
            if value is not None
        ]
        _say(
            console,
            f"Limits of the machine: {', '.join(reached)}; memory {limits.bandwidth / 1e9:.1f} GB/s, read only.",
        )
    console.print()


def _print_contests(console: Console, contests: Sequence[Contest]) -> None:
    for contest in contests:
        ratio = contest.ratio
        _say(
            console,
            f"{contest.condition}: {contest.ours} takes {ratio.value:.3f} of the time of the best peer, {ratio.best} "
            f"(95% interval {ratio.low:.3f} to {ratio.high:.3f}; processor time {ratio.cpu:.3f}).",
        )
    console.print()


def _print_skipped(console: Console, skipped: Mapping[str, str]) -> None:
    for name, reason in skipped.items():
        console.print(Text(f"skipped: {name}: {reason}", style="yellow"), soft_wrap=True)


def _say(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)


def _error_text(error: float) -> str:
    from tfgraph.bench.encoder import TOLERANCE_OF_RESULT

    return f"{error:.1e}{'!' if error > TOLERANCE_OF_RESULT else ''}"
