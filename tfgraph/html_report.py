"""The report of an optimisation as one HTML page that needs nothing else: no network, no other file.

The page's frame, style and script are in `html_page.py`. Everything that comes from a model is escaped.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from tfgraph.errors import ExportError
from tfgraph.html_page import page
from tfgraph.optimizer import OptimizationReport
from tfgraph.outline import Line, Outline

_OPEN_LIMIT = 40  # a graph of at most so many nodes is shown unfolded
_SEARCH = (
    '<h2>Structure</h2><p><input id="search" type="search" placeholder="operator, name or shape" '
    'aria-label="Search both graphs"> <span id="found"></span></p>'
)


def render_html(report: OptimizationReport, title: str = "model") -> str:
    """The page, as text. The same report gives the same text."""
    parts = [
        f"<h1>{escape(title)}, optimised for {escape(report.target)}</h1>",
        f'<p class="{_proof_class(report)}">{escape(_sentence(str(report.proof)))}.</p>',
        _numbers(report),
        _counts("Fused", report.fused, "Nothing was fused."),
        _counts("Found, and written out by definition", report.written_out, ""),
        _misses(report),
        _SEARCH,
        '<div class="columns">',
        _structure("Before", report.outline_before),
        _structure("After", report.outline_after),
        "</div>",
        _runs(report),
    ]
    return page(escape(title), "\n".join(part for part in parts if part))


def write_html(report: OptimizationReport, path: str | Path, title: str = "model") -> None:
    """Write the page to `path`, all or nothing.

    Raises:
        ExportError: the file cannot be written; an older one is left whole.
    """
    target = Path(path)
    text = render_html(report, title)
    try:
        handle, staged = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
            os.chmod(staged, 0o644)
            os.replace(staged, target)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(staged)
    except OSError as error:
        raise ExportError(
            f"cannot write the report {target}: {error.strerror or error}. Choose a file in a folder that exists"
        ) from None


def _sentence(text: str) -> str:
    """`text` with a capital at its start; the rest, which may hold names, as it is."""
    return text[:1].upper() + text[1:]


def _proof_class(report: OptimizationReport) -> str:
    return "good" if report.proof.verdict == "equal" else "warning"


def _numbers(report: OptimizationReport) -> str:
    before, after = report.before, report.after
    rows = [
        ("Nodes", before.nodes, after.nodes),
        ("FLOPs", before.flops, after.flops),
        ("Bytes moved", before.nbytes, after.nbytes),
    ]
    body = "".join(
        f"<tr><th>{label}</th><td>{first:,}</td><td>{second:,}</td><td>{_change(first, second)}</td></tr>"
        for label, first, second in rows
    )
    at = ", ".join(f"{name} = {size}" for name, size in report.sizes.items())
    note = f"Estimated{f' at {at}' if at else ''}. A multiply-add counts as two FLOPs."
    unknown = sorted({*before.uncounted, *after.uncounted})
    if unknown:
        note += f" Without what is not known of {', '.join(unknown)}."
    head = "<tr><th></th><th>Before</th><th>After</th><th>Change</th></tr>"
    return f"<table>{head}{body}</table><p>{escape(note)}</p>"


def _change(before: int, after: int) -> str:
    return f"{100 * (after - before) / before:+.1f} %" if before else ""


def _counts(title: str, counts: Mapping[str, int], nothing: str) -> str:
    if not counts:
        return f"<h2>{title}</h2><p>{nothing}</p>" if nothing else ""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rows = "".join(f"<tr><th>{escape(key)}</th><td>{count}</td></tr>" for key, count in ordered)
    return f"<h2>{title}</h2><table>{rows}</table>"


def _misses(report: OptimizationReport) -> str:
    misses = report.near_misses
    if not misses:
        return "<h2>Not fused</h2><p>Nothing that looks like an operator to fuse was left over.</p>"
    rows = "".join(
        f"<tr><td>{escape(miss.operator)}</td><td>{escape(miss.node)}</td><td>{escape(miss.reason)}</td>"
        f"<td>{miss.matched} of {miss.size}</td></tr>"
        for miss in misses
    )
    head = "<tr><th>Operator</th><th>Node</th><th>Reason</th><th>Nodes that fit</th></tr>"
    return f'<h2>Not fused</h2><table class="texts">{head}{rows}</table>'


def _structure(title: str, outline: Outline) -> str:
    count = sum(len(lines) for _, lines in outline.sections)
    unfolded = " open" if count <= _OPEN_LIMIT else ""
    sections = "".join(
        f"<details{unfolded}><summary>{escape(path or '(in no module)')} <small>{len(lines)}</small></summary>"
        f"<ol>{''.join(_items(lines))}</ol></details>"
        for path, lines in outline.sections
    )
    return f"<section><h3>{title}: {count:,} nodes</h3>{sections}</section>"


def _items(lines: Iterable[Line]) -> Iterable[str]:
    for line in lines:
        yield (
            f"<li><b>{escape(line.operator)}</b> <i>{escape(line.name)}</i> {escape(line.gives)}"
            f"<small>from {escape(line.reads or 'nothing')}</small></li>"
        )


def _runs(report: OptimizationReport) -> str:
    if not report.proof.cases:
        return ""
    runs = "".join(f"<li>{escape(case)}</li>" for case in report.proof.cases)
    errors = "".join(
        f"<tr><th>{escape(name)}</th><td>{error:.3g}</td></tr>" for name, error in report.proof.errors.items()
    )
    return (
        "<h2>Proof</h2><p>Both files ran on these inputs. The largest difference of each output, relative to its "
        f"largest value:</p><table>{errors}</table><details><summary>Inputs</summary><ol>{runs}</ol></details>"
    )
