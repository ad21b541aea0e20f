"""The HTML report: self-contained, escaped, searchable, written whole."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

import tfgraph as tg
from tfgraph.errors import ExportError
from tfgraph.html_report import render_html, write_html
from tfgraph.passes.report import NearMiss, PassResult, Stage

NASTY = "<script>alert('x')</script>&\"]]>"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def report(tmp_path):
    from tfgraph.nn import EncoderBlock

    block = EncoderBlock(16, 2, 24)
    block.init_weights()
    graph = tg.trace(block, x=tg.spec("float32", ["batch", "seq", 16]))
    tg.compile(graph, fuse=False).save(tmp_path / "in.onnx")
    made = tg.optimize_onnx(tmp_path / "in.onnx", tmp_path / "out.onnx")
    missed = PassResult(near_misses=[NearMiss("Attention", f"Softmax '{NASTY}'", f"because {NASTY}", 3, 9)])
    made.stages.append(Stage("late", missed, 0.0))
    return made


def tags_of(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(text)
    assert parser.open == []
    return parser.seen


def test_the_page_loads_nothing_and_is_well_formed(report):
    text = render_html(report, "in.onnx")
    for tag, attributes in tags_of(text):
        assert tag not in ("link", "img", "iframe", "object")
        assert not {"src", "href", "onclick"} & set(attributes)
    assert not re.search(r"https?:|url\(|@import|fetch\(", text)
    assert "default-src 'none'" in text


def test_names_of_a_model_are_escaped(report):
    text = render_html(report, NASTY)
    assert NASTY not in text and "alert('x')" not in text
    assert [tag for tag, _ in tags_of(text)].count("script") == 1


def test_it_holds_both_graphs_the_numbers_and_the_reasons(report):
    text = render_html(report)
    assert f"Before: {report.nodes_before:,} nodes" in text and f"After: {report.nodes_after:,} nodes" in text
    assert text.count("<li><b>") == report.nodes_before + report.nodes_after
    assert f"<td>{report.before.nbytes:,}</td><td>{report.after.nbytes:,}</td>" in text
    for operator, count in report.fused.items():
        assert f"<tr><th>{operator}</th><td>{count}</td></tr>" in text
    assert "3 of 9" in text and "because &lt;script&gt;" in text
    assert 'class="good">Verified: the same results' in text
    assert text == render_html(report)


def test_it_is_written_whole_or_not_at_all(report, tmp_path):
    write_html(report, tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text() == render_html(report)
    with pytest.raises(ExportError, match=r"cannot write the report .*nowhere"):
        write_html(report, tmp_path / "nowhere" / "r.html")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ExportError, match="cannot write the report"):
        write_html(report, tmp_path / "folder")
    assert {path.suffix for path in tmp_path.iterdir()} == {".onnx", ".html", ""}
