"""Numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.cli.units import bytes_text, count_text, formula_text
from tfgraph.ir.dim_text import parse_dim

UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1.00 k"),
        (9_994, "9.99 k"),
        (9_996, "10.0 k"),
        (99_949, "99.9 k"),
        (999_400, "999 k"),
        (999_600, "1.00 M"),
        (21_341_595, "21.3 M"),
        (2_889_798_531, "2.89 G"),
        (3.5e12, "3.50 T"),
        (6.2e17, "620 P"),
    ],
)
def test_counts(number, text):
    assert count_text(number) == text


@given(st.integers(0, 10**17))
def test_a_count_is_within_half_of_its_last_digit(number):
    digits, _, unit = count_text(number).partition(" ")
    assert abs(float(digits) * UNITS[unit] - number) <= 0.0051 * max(number, 1)
    assert len(digits.replace(".", "")) <= 3


@pytest.mark.parametrize(("number", "text"), [(0, "0 B"), (612, "612 B"), (1000, "1.00 kB"), (90_288_501, "90.3 MB")])
def test_bytes(number, text):
    assert bytes_text(number) == text


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("9648*batch*seq*seq + 21341595*batch*seq + 12", "21.3 M batch seq + 9.65 k batch seq^2 + 12"),
        ("28*n", "28 n"),
        ("7", None),
        ("a + b + c + d + e + f + g", None),
        ("2*max(a, b)", None),
    ],
)
def test_formulas(formula, text):
    assert formula_text(parse_dim(formula)) == text
