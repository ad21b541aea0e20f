"""Bar charts of what was measured, as one SVG file that needs nothing else: no fonts, scripts or style sheets.

tfgraph's bars are coloured, those of the peers grey. What goes into a chart is said by the reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from tfgraph.errors import ExportError, InputError

_WIDTH: Final = 860
_LABELS: Final = 240  # left of the bars
_NOTES: Final = 200  # right of them
_BAR: Final = 18
_STEP: Final = 24
_HEAD: Final = 40
_OURS, _THEIRS, _TEXT = "#1769aa", "#b6bcc4", "#1c2126"
_FONT: Final = "font-family='system-ui, sans-serif' font-size='13'"


@dataclass(frozen=True)
class Bar:
    """One candidate: how long its bar is, and what stands beside it."""

    label: str
    value: float
    note: str
    is_ours: bool


@dataclass(frozen=True)
class Panel:
    """Bars of one measure; `title` says what, in which unit, and whether more or less is better."""

    title: str
    bars: Sequence[Bar]
    less_is_better: bool


def svg_of(heading: str, panels: Sequence[Panel]) -> str:
    """An SVG drawing of the panels, one below the other, the best bar of each first.

    Raises:
        InputError: there is nothing to draw.
    """
    panels = [panel for panel in panels if panel.bars]
    if not panels:
        raise InputError("there is nothing to draw: nothing was measured")
    height = _HEAD + sum(_HEAD + _STEP * len(panel.bars) for panel in panels) + _STEP // 2
    parts = [
        _opening(heading, height),
        f"<rect width='{_WIDTH}' height='{height}' fill='white'/>",
        _text(12, 26, heading, "font-weight='600'"),
    ]
    top = _HEAD
    for panel in panels:
        parts += _panel(panel, top)
        top += _HEAD + _STEP * len(panel.bars)
    return "\n".join([*parts, "</svg>", ""])


def write_chart(path: Path, heading: str, panels: Sequence[Panel]) -> None:
    """Write the drawing into a file.

    Raises:
        InputError: the file's name does not end in `.svg`, or there is nothing to draw.
        ExportError: it cannot be written.
    """
    check_chart_name(path)
    try:
        path.write_text(svg_of(heading, panels), encoding="utf-8")
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from None


def check_chart_name(path: Path) -> None:
    """Refuse a name that does not say SVG, before anything is measured.

    Raises:
        InputError: it does not end in `.svg`.
    """
    if path.suffix.lower() != ".svg":
        raise InputError(f"charts are drawn as SVG, and {path.name!r} is no such name: expected one that ends in .svg")


def _panel(panel: Panel, top: int) -> list[str]:
    bars = sorted(panel.bars, key=lambda bar: bar.value, reverse=not panel.less_is_better)
    longest = max(bar.value for bar in bars) or 1.0
    room = _WIDTH - _LABELS - _NOTES
    parts = [_text(12, top + 24, panel.title, "fill-opacity='0.75'")]
    for index, bar in enumerate(bars):
        y = top + _HEAD + index * _STEP
        width = max(1.0, room * bar.value / longest)
        weight = "font-weight='600'" if bar.is_ours else ""
        parts += [
            _text(_LABELS - 8, y + 14, bar.label, f"text-anchor='end' {weight}"),
            _rectangle(y, width, _OURS if bar.is_ours else _THEIRS),
            _text(_LABELS + int(width) + 6, y + 14, bar.note, weight),
        ]
    return parts


def _opening(heading: str, height: int) -> str:
    size = f"width='{_WIDTH}' height='{height}' viewBox='0 0 {_WIDTH} {height}'"
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img' aria-label='{_quoted(heading)}'>"


def _rectangle(y: int, width: float, colour: str) -> str:
    return f"<rect x='{_LABELS}' y='{y}' width='{width:.1f}' height='{_BAR}' rx='2' fill='{colour}'/>"


def _text(x: int, y: int, text: str, attributes: str = "") -> str:
    return f"<text x='{x}' y='{y}' fill='{_TEXT}' {_FONT} {attributes}>{escape(text)}</text>"


def _quoted(text: str) -> str:
    return escape(text, {"'": "&apos;"})
