"""The tables that the documentation takes from the code: each is on a page, and leaves nothing out."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

from tfgraph.generation import GenerationSettings
from tfgraph.ir.optable import all_specs
from tfgraph.models import configs
from tfgraph.models.registry import FAMILIES
from tfgraph.passes.canonical import CANONICAL, LATE
from tfgraph.passes.fusions import CONTRIB, FOLDED_ATTENTION, MULTI_HEAD_ATTENTION, PACKED_ATTENTION, STANDARD
from tfgraph.targets import target_names

ROOT = Path(__file__).resolve().parents[2]
FUSED = {fusion.key for fusion in (*STANDARD, *CONTRIB, FOLDED_ATTENTION, MULTI_HEAD_ATTENTION, PACKED_ATTENTION)}


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """`docs/tables.py`, which mkdocs loads as a file."""
    found = importlib.util.spec_from_file_location("docs_tables", ROOT / "docs" / "tables.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cells(tables: ModuleType) -> Callable[[str, int], list[str]]:
    """`cells(name, column)`: a column of a table, without its header and without code marks."""

    def column(name: str, index: int) -> list[str]:
        rows = tables.TABLES[name]().splitlines()[2:]
        return [row.strip("| ").split(" | ")[index].strip("`") for row in rows]

    return column


def test_each_table_is_on_a_page_and_each_page_names_known_ones(tables: ModuleType) -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))
    assert set(re.findall(r"^<!-- table: (.+) -->$", pages, re.M)) == set(tables.TABLES)


def test_a_page_gets_its_tables(tables: ModuleType) -> None:
    page = tables.on_page_markdown("before\n\n<!-- table: targets -->\n\nafter", page=None, config=None, files=None)
    assert page.startswith("before\n\n| Target | ")
    assert page.endswith("\n\nafter")
    assert "<!--" not in page


def test_every_canonical_rule_is_listed_once(cells: Callable[[str, int], list[str]]) -> None:
    listed = [rules for rule_set in (CANONICAL, LATE) for rules in rule_set.rules.values()]
    names = {rule.name for rules in listed for rule in rules}
    assert sorted(cells("canonical forms", 1)) == sorted(names)
    assert all(len(text) > 10 for text in cells("canonical forms", 2))


def test_every_composite_every_fusion_and_every_target_is_listed(cells: Callable[[str, int], list[str]]) -> None:
    assert cells("composites by target", 0) == [spec.key for spec in all_specs() if spec.body is not None]
    assert set(cells("fusions", 0)) == FUSED
    assert cells("targets", 0) == list(target_names())


def test_every_family_and_every_published_size_is_listed(cells: Callable[[str, int], list[str]]) -> None:
    assert cells("families", 0) == list(FAMILIES)
    assert cells("published sizes", 0) == list(configs)
    assert cells("published sizes", 7)[0] == "109,482,240"


def test_every_generation_setting_is_listed_with_its_meaning(cells: Callable[[str, int], list[str]]) -> None:
    assert cells("generation settings", 0) == [field.name for field in fields(GenerationSettings)]
    assert all(len(text) > 10 for text in cells("generation settings", 2))


def test_all_rows_of_a_table_are_as_long_as_its_header(tables: ModuleType) -> None:
    for name, make in tables.TABLES.items():
        lengths = {len(re.findall(r"(?<!\\)\|", row)) for row in make().splitlines()}
        assert len(lengths) == 1, name


def test_the_readme_names_every_fusion_and_every_target() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for key in FUSED:
        assert f"`{key}`" in readme, f"README.md does not say that {key} is fused"
    for name in target_names():
        assert f"| `{name}` |" in readme, f"README.md does not list the target {name}"
