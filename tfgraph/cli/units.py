"""Numbers as people read them: counts, bytes, formulas."""

from __future__ import annotations

from collections import Counter

from tfgraph.ir.dims import Dim, Expr, Symbol

_UNITS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def count_text(number: float) -> str:
    """A number with three digits and a unit: `0`, `950`, `21.3 M`, `2.84 G`."""
    for size, unit in _UNITS:
        if abs(number) >= size * 0.9995:
            scaled = number / size
            digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
            return f"{scaled:.{digits}f} {unit}"
    return f"{number:.0f}"


def bytes_text(number: int) -> str:
    """A size in bytes, in powers of 1000: `612 B`, `90.3 MB`."""
    return f"{count_text(number)}B" if number >= 1000 else f"{number} B"


def formula_text(formula: Dim, most_terms: int = 6) -> str | None:
    """A formula as `21.3 M batch seq + 9.65 k batch seq^2`; None where it is a number, or too long to help anyone."""
    if not isinstance(formula, Expr) or len(formula.terms) > most_terms:
        return None
    terms = []
    for monomial, coefficient in formula.terms:
        names = [atom.name for atom in monomial if isinstance(atom, Symbol)]
        if len(names) != len(monomial):
            return None
        powers = [name if power == 1 else f"{name}^{power}" for name, power in Counter(names).items()]
        terms.append((-coefficient, " ".join([count_text(coefficient), *powers])))
    return " + ".join(text for _, text in sorted(terms))
