"""Real paragraphs of mixed length, from what is installed wherever this runs: the docstrings of Python packages.

The same environment gives the same paragraphs, in the same order.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tfgraph.errors import InputError

LEAST_WORDS: Final = 5
MOST_WORDS: Final = 250
MEDIAN_WORDS: Final = 16
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z'-]*[.,;:)]?")
_MARKUP: Final = re.compile(r">>>|^\s*[-=~^*#|+]{3,}|:param|^\s*@|\\begin", re.MULTILINE)
_PROSE: Final = 0.75  # the part of words that look like words
_LARGEST_FILE: Final = 1 << 19


def collect_paragraphs(count: int, roots: Iterable[Path] | None = None) -> list[str]:
    """Paragraphs of 5 to 250 words, each once, one half of which have 16 words at most.

    Packages are read in the order of their names, one file of each in turn, so that no package fills the list.

    Args:
        count: how many.
        roots: folders of packages; those of the standard library and of what is installed, if not given.

    Raises:
        InputError: there are fewer.
    """
    paths = sysconfig.get_paths()
    folders = [Path(paths[key]) for key in ("purelib", "platlib", "stdlib")] if roots is None else list(roots)
    wanted = {True: count - count // 2, False: count // 2}  # short ones, long ones
    found: dict[bool, dict[str, None]] = {True: {}, False: {}}
    for path in _in_turns(dict.fromkeys(folders)):
        for paragraph in _paragraphs_of(path):
            found[len(paragraph.split()) <= MEDIAN_WORDS].setdefault(paragraph)
        if all(len(found[is_short]) >= 2 * wanted[is_short] for is_short in wanted):
            break
    chosen = [text for is_short, most in wanted.items() for text in sorted(found[is_short], key=_drawn)[:most]]
    if len(chosen) < count:
        raise InputError(
            f"only {len(chosen)} paragraphs were found in the packages installed here: expected {count}; ask for fewer"
        )
    return sorted(chosen, key=_drawn)


def _drawn(text: str) -> bytes:
    """A place in an order that has nothing to do with where the text was found."""
    return hashlib.sha256(text.encode()).digest()


def _in_turns(folders: Iterable[Path]) -> Iterator[Path]:
    """The Python files below the folders: the first of each package, then the second of each, and so on."""
    packages = [
        iter(sorted(package.rglob("*.py")) if package.is_dir() else [package])
        for folder in folders
        if folder.is_dir()
        for package in sorted(folder.iterdir())
        if package.suffix == ".py" or (package.is_dir() and (package / "__init__.py").is_file())
    ]
    while packages:
        remaining = []
        for files in packages:
            path = next(files, None)
            if path is not None:
                yield path
                remaining.append(files)
        packages = remaining


def _paragraphs_of(path: Path) -> Iterator[str]:
    """The paragraphs in a file's docstrings that are prose."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in the file's strings
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return  # what Python cannot read has no docstrings
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for part in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
            words = part.split()
            if LEAST_WORDS <= len(words) <= MOST_WORDS and not _MARKUP.search(part) and _is_prose(words):
                yield " ".join(words)


def _is_prose(words: list[str]) -> bool:
    plain = sum(_WORD.fullmatch(word) is not None for word in words)
    return plain >= _PROSE * len(words)
