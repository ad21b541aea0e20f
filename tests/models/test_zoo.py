"""Parity of every family and head with transformers, and the operators that each family's model is fused into.

`make parity` runs this over all of them. With TFGRAPH_WRITE_TABLES=1 it also writes the tables in docs/parity.md.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.models.parity import TOLERANCE
from tests.models.transcribed import TRANSCRIBED
from tests.models.zoo import COLUMNS, SETTINGS, Row, errors_of, fused_operators, rows
from tfgraph.models.registry import FAMILIES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "parity.md"


def test_every_family_is_covered() -> None:
    assert set(SETTINGS) | set(TRANSCRIBED) == set(FAMILIES)
    assert {row.model_type for row in rows()} == set(FAMILIES)


def table_in(page: str, title: str) -> dict[str, list[str]]:
    """The rows of the table after a heading, by their first cell."""
    section = page.partition(f"## {title}\n")[2].partition("\n## ")[0]
    cells = [
        [cell.strip(" `") for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"
    ]
    return {row[0]: row[1:] for row in cells[2:]}


def test_the_documentation_has_every_row_and_no_error_above_the_tolerance() -> None:
    table = table_in(PAGE.read_text(encoding="utf-8"), "Errors")
    assert list(table) == [row.name for row in rows()]
    figures = [cell for row in table.values() for cell in row[1:] if cell != "–"]
    assert figures
    assert all(float(figure) <= TOLERANCE for figure in figures)


@pytest.mark.parametrize("model_type", SETTINGS)
def test_fused_operators_are_those_of_the_documentation(model_type: str, tmp_path: Path) -> None:
    table = table_in(PAGE.read_text(encoding="utf-8"), "Fused operators")
    assert fused_operators(model_type, tmp_path) == table[model_type][0]


@pytest.mark.slow
def test_parity_of_all(tmp_path: Path) -> None:
    errors = {row: errors_of(row, tmp_path / row.name) for row in rows()}
    if os.environ.get("TFGRAPH_WRITE_TABLES", "0") != "0":
        write_tables(errors, tmp_path)
    wrong = {
        row.name: cells for row, cells in errors.items() if not all(error <= TOLERANCE for error in cells.values())
    }
    assert not wrong


def write_tables(errors: dict[Row, dict[str, float]], folder: Path) -> None:
    """Put the tables into the page, in place of the older ones."""
    lines = [f"| Model | Task | {' | '.join(COLUMNS)} |", "| --- " * (len(COLUMNS) + 2) + "|"]
    for row, cells in errors.items():
        figures = (f"{cells[column]:.1e}" if column in cells else "–" for column in COLUMNS)
        lines.append(f"| `{row.name}` | {row.task} | {' | '.join(figures)} |")
    fused = ["| Model type | Operators |", "| --- | --- |"]
    fused += [f"| `{name}` | {fused_operators(name, folder / 'fused' / name)} |" for name in SETTINGS]
    page = PAGE.read_text(encoding="utf-8")
    for title, table in {"Errors": lines, "Fused operators": fused}.items():
        before, heading, section = page.partition(f"## {title}\n")
        text = re.sub(r"(^\|.*\n)+", "\n".join(table).replace("\\", r"\\") + "\n", section, count=1, flags=re.MULTILINE)
        page = before + heading + text
    PAGE.write_text(page, encoding="utf-8")
