"""What the documentation points at is there: links between pages, files of the repository, names of tfgraph."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

import tfgraph as tg

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)(?:#[^)]*)?\)")
FILE = re.compile(r"`((?:tfgraph|passes|backends|tests|docs|examples|\.ci)/[\w./*-]*)`")
NAME = re.compile(r"`(?:tg|tfgraph)\.([A-Za-z_][\w.]*)[`(]")
DIRECTIVE = re.compile(r"^::: (tfgraph[\w.]*)$", re.M)
PLACEHOLDERS = re.compile(r"NAME|THEME")


def test_links_lead_to_files(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_files_that_are_named_exist(page: Path) -> None:
    for name in FILE.findall(page.read_text(encoding="utf-8")):
        if not PLACEHOLDERS.search(name):
            assert list(ROOT.glob(name.rstrip("/"))), f"{page.name} names {name}, which is not there"


def resolve(dotted: str) -> Any:
    """The object called `tfgraph.<dotted>`."""
    found: Any = tg
    path = "tfgraph"
    for part in dotted.split("."):
        path = f"{path}.{part}"
        try:
            found = getattr(found, part)
        except AttributeError:
            found = importlib.import_module(path)
    return found


def test_names_of_tfgraph_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = [*NAME.findall(text), *(name.removeprefix("tfgraph.") for name in DIRECTIVE.findall(text))]
    for name in names:
        if not (ROOT / f"tfgraph.{name}").exists() and name != "json":  # the manifest, tfgraph.json
            assert resolve(name) is not None


def test_a_missing_name_is_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        resolve("passes.nowhere")


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert f" {page.relative_to(ROOT / 'docs').as_posix()}\n" in navigation


def test_every_public_name_has_a_place_in_the_reference() -> None:
    reference = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    for name in set(tg.__all__) - {"__version__", "functional", "functions", "models", "nn"}:
        assert re.search(rf"^::: tfgraph\.[\w.]*\b{name}$", reference, re.M), f"tfgraph.{name} has no entry"
