"""What a match has bound: values and nodes, and the sizes, attributes and numbers that they leave no choice about.

Sizes are unified here; walking the two graphs is in `match.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tfgraph.dsl.trace import Placeholder
from tfgraph.ir.dims import Dim, Expr, Symbol, broadcast_equal, exact_div, substitute
from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import attribute


@dataclass
class Bindings:
    """What a (partial) match has bound so far."""

    nodes: dict[Node, Node] = field(default_factory=dict)  # pattern node -> graph node
    values: dict[Value, Value] = field(default_factory=dict)  # pattern value -> graph value
    sizes: dict[str, Dim] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)  # placeholder -> attribute of a nested operator
    leading: tuple[Dim, ...] | None = None
    float_dtype: object = None
    postponed: list[tuple[Dim, Dim]] = field(default_factory=list)
    equal: Mapping[str, Dim] = field(default_factory=dict)  # what the graph proves of its symbols

    def copy(self) -> Bindings:
        """An independent copy, for trying one of several ways."""
        return Bindings(
            dict(self.nodes),
            dict(self.values),
            dict(self.sizes),
            dict(self.attributes),
            self.leading,
            self.float_dtype,
            list(self.postponed),
            self.equal,
        )


def symbol_name(dim: Expr) -> str | None:
    """The name, if `dim` is one symbol and nothing else."""
    if len(dim.terms) == 1:
        (monomial, coefficient) = dim.terms[0]
        if coefficient == 1 and len(monomial) == 1 and isinstance(monomial[0], Symbol):
            return monomial[0].name
    return None


def unify_dim(expected: Dim, found: Dim, bindings: Bindings) -> bool:
    """Make the pattern's size `expected` stand for `found`; what cannot be decided yet is postponed."""
    if bindings.equal:
        found = substitute(found, bindings.equal)
    if isinstance(expected, int):
        return expected == found
    name = symbol_name(expected)
    if name is not None:
        bound = bindings.sizes.setdefault(name, found)
        if bound == found:
            return True
        agreed = broadcast_equal(bound, found)
        if agreed is not None:
            bindings.sizes[name] = agreed
        return agreed is not None
    unbound = _single_unbound(expected, bindings)
    if unbound is not None:
        factor, unknown = unbound
        quotient = exact_div(found, factor)
        if quotient is None:
            return False
        bindings.sizes[unknown] = quotient
        return True
    bindings.postponed.append((expected, found))
    return True


def settle(bindings: Bindings) -> None:
    """Bind what a postponed size determines, now that the symbols beside it are bound."""
    progress = True
    while progress:
        progress = False
        for expected, found in bindings.postponed:
            unbound = _single_unbound(expected, bindings) if isinstance(expected, Expr) else None
            quotient = exact_div(found, unbound[0]) if unbound is not None else None
            if unbound is not None and quotient is not None:
                bindings.sizes[unbound[1]] = quotient
                progress = True


def _single_unbound(expected: Expr, bindings: Bindings) -> tuple[Dim, str] | None:
    """`(factor, name)` where `expected` is `factor * name`, with only the symbol `name` not bound yet."""
    if len(expected.terms) != 1:
        return None
    monomial, coefficient = expected.terms[0]
    names = [atom.name for atom in monomial if isinstance(atom, Symbol)]
    free = [name for name in names if name not in bindings.sizes]
    if len(names) != len(monomial) or len(free) != 1:
        return None
    factor: Dim = coefficient
    for name in names:
        if name != free[0]:
            factor = factor * bindings.sizes[name]
    return factor, free[0]


def unify_attributes(expected: Node, found: Node, bindings: Bindings) -> bool:
    """Equal attributes; a placeholder or a symbol of the pattern is bound to what the graph has."""
    for name in {**expected.attributes, **found.attributes}:
        wanted, given = attribute(expected, name), attribute(found, name)
        if isinstance(wanted, Placeholder):
            if bindings.attributes.setdefault(wanted.name, given) != given:
                return False
        elif isinstance(wanted, Expr):
            if not isinstance(given, int) or not unify_dim(wanted, given, bindings):
                return False
        elif wanted != given:
            return False
    return True
