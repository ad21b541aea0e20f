"""Operands of a pattern's node and of a graph's node in pairs, and which orders of them are worth trying.

The operands of commutative operators can be exchanged. Trying both orders at each node of a stack of sums takes time
exponential in its height; so the structure is looked at ahead, each pair of values once, and an order that cannot fit
is not tried. What is bound on the way is not known here: that is the work of `match.py`.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from tfgraph.ir.dims import Expr
from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import get_spec
from tfgraph.passes.bindings import symbol_name
from tfgraph.passes.pattern import LEADING, Pattern
from tfgraph.passes.rewrite import scalar_of

VIEWS: Final = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Flatten"})
TYPE_SAYS_ALL: Final = VIEWS | {"Expand", "Cast"}
"""Operators whose further operands say nothing that the result's type does not."""

Way: TypeAlias = list[tuple[Value, Value]]
"""Pairs of a pattern's value and a graph's value."""

_MOST_PAIRS: Final = 4096  # looked at for one place; beyond them every order counts as possible


class OperandOrders:
    """The pairs of operands for one pattern, at one place of a graph after the other."""

    def __init__(self, pattern: Pattern) -> None:
        self._free = frozenset(pattern.inputs.values())
        self._numbers = frozenset(pattern.numbers.values())
        self._fits: dict[tuple[Value, Value], tuple[bool, int]] = {}
        root = pattern.root
        self._root = root
        shape = pattern.outputs[0].shape
        leading = bool(shape) and isinstance(shape[0], Expr) and symbol_name(shape[0]) == LEADING
        self._root_rank = None if leading else len(shape)
        self._root_operands = [
            value.producer.key
            for value in root.inputs[: 1 if root.key in TYPE_SAYS_ALL else None]
            if value is not None and value.producer is not None and value not in self._free and value.content is None
        ]

    def start(self) -> None:
        """Forget what was seen at the place before, since the graph may have changed."""
        self._fits.clear()

    def may_start_at(self, node: Node, witness: str) -> bool:
        """Whether a match can start at `node`, told from its rank and the operators of its operands.

        True as well where the operator `witness` is among them: why it does not fit is worth finding out.
        """
        known = node.output.type.known_shape
        if self._root_rank is not None and known is not None and len(known) != self._root_rank:
            return False
        if not self._root_operands or node.key == witness:
            return True
        wanted = self._root_operands
        for value in node.inputs:
            if value is not None and value.producer is not None:
                key = value.producer.key
                if key in wanted or key == witness or (key in VIEWS and not VIEWS.isdisjoint(wanted)):
                    return True
        return False

    def ways(self, expected: Node, found: Node) -> list[Way]:
        """The operands in pairs; in two ways where they may be exchanged. Both nodes have the same ones left out."""
        if expected.key in TYPE_SAYS_ALL:
            return [[(expected.required(0), found.required(0))]]
        pairs: Way = []
        for wanted, given in zip(expected.inputs, found.inputs, strict=True):
            if wanted is not None and given is not None:
                pairs.append((wanted, given))
        if get_spec(expected.key).commutative and len(pairs) == 2 and pairs[0][1] is not pairs[1][1]:
            (first, a), (second, b) = pairs
            if second.constant is None or b.constant is None:
                if first is second:
                    return [pairs]
                # As they stand first: where both orders fit, what is matched again must not be turned round each time.
                return [pairs, [(first, b), (second, a)]]
        pairs.reverse()
        return [pairs]

    def promising(self, ways: list[Way]) -> list[Way]:
        """Those of `ways` whose structure can fit; if there are none, the one of which most does."""
        if len(ways) == 1:
            return ways
        fits = [self._fit_all(way) for way in ways]
        possible = [way for way, (whole, _) in zip(ways, fits, strict=True) if whole]
        most = max(count for _, count in fits)
        return possible or [[way for way, (_, count) in zip(ways, fits, strict=True) if count == most][-1]]

    def _fit_all(self, way: Way) -> tuple[bool, int]:
        fits = [self._fit(wanted, given) for wanted, given in way]
        return all(whole for whole, _ in fits), sum(count for _, count in fits)

    def _fit(self, wanted: Value, given: Value) -> tuple[bool, int]:
        """Whether what computes `given` can be what computes `wanted`, and how many nodes fit."""
        pair = wanted, given
        if pair not in self._fits:
            if len(self._fits) >= _MOST_PAIRS:
                return True, 0
            self._fits[pair] = self._compare(wanted, given)
        return self._fits[pair]

    def _compare(self, wanted: Value, given: Value) -> tuple[bool, int]:
        if wanted in self._free:
            return True, 0
        if wanted in self._numbers:
            return scalar_of(given) is not None, 0
        if wanted.content is not None:
            return given.content is not None and len(given.content) == len(wanted.content), 0
        if wanted.constant is not None:
            return given.constant is not None and given.constant.size == wanted.constant.size, 0
        expected, found = wanted.producer, given.producer
        if expected is None or found is None or not same_operator(expected, found):
            return False, 0
        if expected.outputs.index(wanted) != found.outputs.index(given) or not same_operands(expected, found):
            return False, 1
        fits = [self._fit_all(way) for way in self.ways(expected, found)]
        return any(whole for whole, _ in fits), 1 + max(count for _, count in fits)


def same_operator(expected: Node, found: Node) -> bool:
    """Whether two nodes apply one operator; all operators that only change the shape count as one."""
    return found.key == expected.key or {found.key, expected.key} <= VIEWS


def same_operands(expected: Node, found: Node) -> bool:
    """Whether two nodes have equally many operands, and leave out the same ones, as far as a match looks at them."""
    if expected.key in TYPE_SAYS_ALL:
        return True
    return len(expected.inputs) == len(found.inputs) and all(
        (wanted is None) == (given is None) for wanted, given in zip(expected.inputs, found.inputs, strict=True)
    )
