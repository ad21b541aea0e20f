"""What is drawn of each report: the panels of its chart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tfgraph.bench.chart import Bar, Panel
from tfgraph.bench.peers.table import OURS

if TYPE_CHECKING:
    from tfgraph.bench.decode import DecodeReport
    from tfgraph.bench.encoder import EncoderReport
    from tfgraph.bench.texts import TextsReport


def encoder_panels(report: EncoderReport) -> list[Panel]:
    """The median of each candidate, a panel for each shape."""
    return [
        _panel(
            f"{result.shape}: milliseconds, less is better",
            {
                title: (1e3 * each.timings.median, _with_cosine(f"{1e3 * each.timings.median:.1f}", title, report))
                for title, each in result.candidates.items()
            },
            less_is_better=True,
        )
        for result in report.results
    ]


def texts_panels(report: TextsReport) -> list[Panel]:
    """Paragraphs a second."""
    values = {
        title: (report.per_second(title), f"{report.per_second(title):.0f}, worst cosine {each.cosines.worst:.4f}")
        for title, each in report.results.items()
    }
    return [_panel(f"{len(report.words)} paragraphs: a second, more is better", values, less_is_better=False)]


def decode_panels(report: DecodeReport) -> list[Panel]:
    """For each model, tokens a second and the time to the first token."""
    panels = []
    for model in report.models:
        speeds = {title: model.tokens_per_second(title) for title in model.results}
        firsts = {title: 1e3 * each.prefill.median for title, each in model.results.items()}
        panels += [
            _panel(f"{model.model}: tokens a second, more is better",
                   {title: (value, f"{value:.1f}") for title, value in speeds.items()}, less_is_better=False),
            _panel(f"{model.model}: milliseconds to the first token, less is better",
                   {title: (value, f"{value:.0f}") for title, value in firsts.items()}, less_is_better=True),
        ]  # fmt: skip
    return panels


def _panel(title: str, values: Mapping[str, tuple[float, str]], *, less_is_better: bool) -> Panel:
    bars = [Bar(name, value, note, name.startswith(f"{OURS} ")) for name, (value, note) in values.items()]
    return Panel(title, bars, less_is_better)


def _with_cosine(text: str, title: str, report: EncoderReport) -> str:
    found = report.accuracy.get(title)
    return text if found is None else f"{text}, worst cosine {found.worst:.4f}"
