"""Charts: well-formed SVG that needs nothing else, whatever the names are; order, colours, and wrong file names."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.bench.chart import Bar, Panel, svg_of, write_chart
from tfgraph.errors import ExportError, InputError

BARS = [Bar("tfgraph int8", 2.0, "2.0", True), Bar("a <b> & 'c'", 4.0, "4.0", False)]
SVG = "{http://www.w3.org/2000/svg}"


def rectangles(text: str) -> list[ElementTree.Element]:
    """The bars of a drawing, without its background."""
    return ElementTree.fromstring(text).findall(f"{SVG}rect")[1:]


@pytest.mark.parametrize(("less", "first"), [(True, "#1769aa"), (False, "#b6bcc4")])
def test_the_best_bar_is_first_and_ours_are_coloured(less, first):
    drawn = rectangles(svg_of("heading", [Panel("title", BARS, less)]))
    assert drawn[0].get("fill") == first
    assert {float(bar.get("width")) for bar in drawn} == {420.0, 210.0}


def test_every_name_and_note_is_in_the_drawing():
    root = ElementTree.fromstring(svg_of("a 'heading' & more", [Panel("one", BARS, True), Panel("two", BARS, False)]))
    texts = [each.text for each in root.findall(f"{SVG}text")]
    assert texts.count("a <b> & 'c'") == 2
    assert {"a 'heading' & more", "one", "two", "2.0", "4.0"} <= set(texts)
    assert float(root.get("height")) > max(float(each.get("y")) for each in root.findall(f"{SVG}rect")[1:])


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"])), st.floats(0, 1e12)),
        min_size=1,
        max_size=6,
    )
)
def test_any_names_and_values_give_well_formed_svg(rows):
    drawn = rectangles(svg_of("x", [Panel("t", [Bar(name, value, name, False) for name, value in rows], True)]))
    assert len(drawn) == len(rows)
    assert all(1.0 <= float(bar.get("width")) <= 420.0 for bar in drawn)


def test_wrong_names_empty_charts_and_absent_folders_are_errors(tmp_path):
    with pytest.raises(InputError, match=r"'out\.png' is no such name: expected one that ends in \.svg"):
        write_chart(tmp_path / "out.png", "x", [Panel("t", BARS, True)])
    with pytest.raises(InputError, match="nothing was measured"):
        write_chart(tmp_path / "out.svg", "x", [Panel("t", [], True)])
    with pytest.raises(ExportError, match="cannot write"):
        write_chart(tmp_path / "absent" / "out.svg", "x", [Panel("t", BARS, True)])
    write_chart(tmp_path / "out.SVG", "x", [Panel("t", BARS, True)])
    assert ElementTree.parse(tmp_path / "out.SVG").getroot().tag == f"{SVG}svg"
