"""Paragraphs from docstrings: their lengths, their order, and what is left out."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from tfgraph.bench.paragraphs import LEAST_WORDS, MEDIAN_WORDS, MOST_WORDS, collect_paragraphs
from tfgraph.errors import InputError


def sentence(words: int, start: int = 0) -> str:
    """So many words, which differ with `start`."""
    names = ["alpha", "beta", "gamma", "delta", "omega", "sigma", "kappa"]
    return " ".join(names[(start * 3 + index * (start + 1)) % 7] for index in range(words))


@pytest.fixture
def root(tmp_path) -> Path:
    """Two packages, a module, and things that Python cannot read."""
    for package in ("one", "two"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
        functions = [
            f'def f{index}():\n    """{sentence(length, index)}.\n\n    {sentence(length + 7, index + 40)}"""\n'
            for index, length in enumerate((5, 9, 30, 40))
        ]
        (tmp_path / package / "code.py").write_text("\n".join(functions))
    (tmp_path / "alone.py").write_text(f'"""{sentence(20, 4)}"""\n')
    (tmp_path / "broken.py").write_text("def (\x00")
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "marked.py").write_text('"""Called as follows in all of the cases:\n>>> call(1, 2)\n"""\n')
    (tmp_path / "few.py").write_text('"""Too few words."""\n')
    (tmp_path / "many.py").write_text(f'"""{sentence(MOST_WORDS + 1)}"""\n')
    (tmp_path / "signs.py").write_text('"""a_b c(d) e=f 1 2 3 4 {x} g[0]"""\n')
    return tmp_path


def test_lengths_are_within_bounds_and_half_are_short(root):
    found = collect_paragraphs(8, [root])
    lengths = [len(text.split()) for text in found]
    assert len(set(found)) == 8
    assert min(lengths) >= LEAST_WORDS and max(lengths) <= MOST_WORDS
    assert sum(length <= MEDIAN_WORDS for length in lengths) == 4
    assert not any(">>>" in text or "c(d)" in text or "Too few" in text for text in found)


def test_the_same_folders_give_the_same_paragraphs_in_any_order(root):
    assert collect_paragraphs(8, [root]) == collect_paragraphs(8, [root, root / "absent"])


def test_too_few_paragraphs_are_an_error_that_says_how_many_there_are(root):
    with pytest.raises(InputError, match=r"^only \d+ paragraphs were found in the packages installed here: expected"):
        collect_paragraphs(1000, [root])


def test_what_is_installed_here_is_enough():
    found = collect_paragraphs(50)
    assert 12 <= statistics.median(len(text.split()) for text in found) <= 22
