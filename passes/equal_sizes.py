"""Sizes that a graph's own products prove equal.

Exporters give each input symbols of its own: the past keys have length `p`, the past values length `q`. A matrix
product sums over an axis that both operands must have in one size, and so tells that `p` is `q`.
"""

from __future__ import annotations

from tfgraph.ir.dims import Dim, Expr, Symbol, broadcast_equal, substitute, symbols_of
from tfgraph.ir.graph import Graph


def equal_sizes(graph: Graph) -> dict[str, Dim]:
    """For each symbol that the graph proves equal to something else, what it stands for."""
    known: dict[str, Dim] = {}
    for node in graph:
        if node.key != "MatMul":
            continue
        left, right = node.required(0).type.known_shape, node.required(1).type.known_shape
        if left is None or right is None or not left or len(right) < 2:
            continue
        first, second = substitute(left[-1], known), substitute(right[-2], known)
        if first == second or broadcast_equal(first, second) is not None:
            continue
        solved = _solve(first, second)
        if solved is not None:
            name, dim = solved
            known = {other: substitute(size, {name: dim}) for other, size in known.items()}
            known[name] = dim
    return known


def _solve(first: Dim, second: Dim) -> tuple[str, Dim] | None:
    """A symbol and what it must be for `first` and `second` to be equal."""
    difference = second - first
    if not isinstance(difference, Expr):
        return None
    for monomial, coefficient in difference.terms:
        if len(monomial) != 1 or abs(coefficient) != 1 or not isinstance(monomial[0], Symbol):
            continue
        name = monomial[0].name
        if list(symbols_of(difference)).count(name) == 1:
            rest = difference - coefficient * Expr(((monomial, 1),))
            return name, -rest if coefficient == 1 else rest
    return None
