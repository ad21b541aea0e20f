"""What is known of values at the places of padding: that a mask hides them from attention, that a product is 0 there.

Numbers are followed from the mask of tokens through the few operators that masks are made with. How garbage at padded
places spreads through the rest of a graph is in `spread.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tfgraph.ir.dims import Dim, Expr, Shape, Symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.passes.rewrite import scalar_of

HIDES: Final = -9999.0
"""A number that, added to a score, leaves a weight of 0 after softmax: models add -10000 or the lowest number."""


@dataclass(frozen=True)
class AtPadding:
    """The bounds of a value's elements at padding; `axis` counts its tokens, and axis 0 the texts."""

    axis: int
    low: float
    high: float

    @property
    def number(self) -> float | None:
        """The one number that all of them are, if they are."""
        return self.low if self.low == self.high else None


class Padding:
    """The tokens of a padded batch, by its mask, an input [B, S] that is 0 at padding.

    Attributes:
        mask: the mask.
        batch, length: its sizes, B and S.
    """

    def __init__(self, mask: Value) -> None:
        self.mask = mask
        self.batch, self.length = mask.shape
        self._known: dict[Value, AtPadding | None] = {}

    def at(self, value: Value | None) -> AtPadding | None:
        """What is known of `value` at padding, or None where nothing is."""
        if value is None:
            return None
        for inner in _unknown_first(value, self._known):
            self._known[inner] = self._derive(inner)
        return self._known[value]

    def is_hidden(self, mask: Value | None) -> bool:
        """Whether `mask`, an attention's, lets no query see the keys at padding."""
        known = self.at(mask)
        if mask is None or known is None or known.axis != mask.rank - 1:
            return False
        return known.number == 0 if mask.dtype is DType.BOOL else known.high <= HIDES

    def _derive(self, value: Value) -> AtPadding | None:
        """As `at`, from what is known of the operands."""
        if value is self.mask:
            return AtPadding(1, 0.0, 0.0)
        node = value.producer
        if node is None or value.type.known_shape is None:
            return None
        if node.key in ("Reshape", "Unsqueeze", "Squeeze", "Expand", "Identity"):
            known = self._known.get(node.required(0))
            return None if known is None else self._seen_as(known, node.required(0), value)
        if node.key == "GatherND":
            known = self._known.get(node.required(0))
            return self._seen_as(known, node.required(0), value) if known and self._is_grid(node) else None
        if node.key == "Cast":
            known = self._known.get(node.required(0))
            return _as_truth(known) if known is not None and value.dtype is DType.BOOL else known
        operands = [self._operand(operand, value.rank) for operand in node.inputs]
        axes = {operand.axis for operand in operands if operand is not None and operand.axis >= 0}
        for axis in sorted(axes, reverse=True):  # of queries and keys, what is known by the key
            bounds = _bounds(node, [o if o is not None and o.axis in (-1, axis) else None for o in operands])
            if bounds is not None:
                return AtPadding(axis, *bounds)
        return None

    def _is_grid(self, node: Node) -> bool:
        """Whether a GatherND only adds axes of size 1: it picks (b, s) for each b of the texts and s of the places."""
        pairs = node.required(1).producer
        if pairs is None or pairs.key != "Concat" or len(pairs.inputs) != 2 or node.attributes.get("batch_dims"):
            return False
        counted = [_counts_up_to(pairs.required(index)) for index in (0, 1)]
        return node.required(0).rank == 2 and counted == [self.batch, self.length]

    def _operand(self, operand: Value | None, rank: int) -> AtPadding | None:
        """What is known of an operand of an elementwise operator: a number has the axis -1."""
        number = scalar_of(operand)
        if number is not None:
            return AtPadding(-1, number, number)
        if operand is None or operand.type.known_shape is None or operand.rank != rank:
            return None
        return self._known.get(operand)

    def _seen_as(self, known: AtPadding, old: Value, new: Value) -> AtPadding | None:
        """`known` of `old` under the shape of `new`, which differs in axes of size 1 or is expanded over them."""
        before, after = old.type.known_shape, new.type.known_shape
        if before is None or after is None or not after or after[0] != self.batch or before[0] != self.batch:
            return None
        if len(before) == len(after):
            kept = all(a in (b, 1) for a, b in zip(before, after, strict=True))
            return known if kept and after[known.axis] == self.length else None
        if _without_ones(before) != _without_ones(after):
            return None
        return AtPadding(len(after) - 1 - tuple(reversed(after)).index(self.length), known.low, known.high)


def masks_of(graph: Graph) -> Iterator[Value]:
    """The inputs that may be masks of tokens: those of two axes whose sizes are open, the likeliest first."""
    found = [
        value
        for value in graph.inputs.values()
        if value.type.known_shape is not None
        and value.rank == 2
        and all(is_open(dim) for dim in value.shape)
        and value.shape[0] != value.shape[1]
        and (value.dtype.is_integer or value.dtype.is_float or value.dtype is DType.BOOL)
    ]
    yield from sorted(found, key=lambda value: "mask" not in value.name)


def is_open(dim: Dim) -> bool:
    """Whether a size is a symbol by itself."""
    return isinstance(dim, Expr) and len(dim.terms) == 1 and dim.terms[0][1] == 1 and _is_symbol(dim.terms[0][0])


def _is_symbol(monomial: tuple[object, ...]) -> bool:
    return len(monomial) == 1 and isinstance(monomial[0], Symbol)


def _unknown_first(value: Value, known: dict[Value, AtPadding | None]) -> Iterator[Value]:
    """Whatever `value` is made of and is not in `known`, operands before results."""
    waiting = [value]
    while waiting:
        last = waiting[-1]
        if last in known:
            waiting.pop()
            continue
        operands = last.producer.inputs if last.producer is not None and last.producer.key in _FOLLOWED else ()
        missing = [operand for operand in operands if operand is not None and operand not in known]
        if missing:
            waiting += missing
        else:
            yield waiting.pop()


def _counts_up_to(value: Value) -> Dim | None:
    """The size n of a `Range(0, n, 1)` of which `value` is a view, its other axes of size 1 or expanded."""
    node = value.producer
    while node is not None and node.key in ("Reshape", "Unsqueeze", "Expand", "Cast", "Identity"):
        node = node.required(0).producer
    if node is None or node.key != "Range" or (scalar_of(node.required(0)), scalar_of(node.required(2))) != (0, 1):
        return None
    return node.output.shape[0]


def _without_ones(shape: Shape) -> Shape:
    return tuple(dim for dim in shape if dim != 1)


def _as_truth(known: AtPadding) -> AtPadding | None:
    if known.number == 0:
        return AtPadding(known.axis, 0.0, 0.0)
    return AtPadding(known.axis, 1.0, 1.0) if known.low > 0 or known.high < 0 else None


_Bounds = tuple[float, float]


def _bounds(node: Node, operands: list[AtPadding | None]) -> _Bounds | None:
    """The bounds of an elementwise operator's results, or None where there are none."""
    rule = _RULES.get(node.key)
    if rule is None:
        return None
    bounds = rule([None if operand is None else (operand.low, operand.high) for operand in operands])
    return None if bounds is None or any(math.isnan(bound) for bound in bounds) else bounds


def _add(operands: list[_Bounds | None]) -> _Bounds | None:
    """A sum; a bias that is not known is taken to be small beside a number that hides."""
    known = [operand for operand in operands if operand is not None]
    low, high = sum(operand[0] for operand in known), sum(operand[1] for operand in known)
    if len(known) == len(operands):
        return low, high
    return (-math.inf, high) if high <= HIDES else None


def _subtract(operands: list[_Bounds | None]) -> _Bounds | None:
    left, right = operands
    return None if left is None or right is None else (left[0] - right[1], left[1] - right[0])


def _multiply(operands: list[_Bounds | None]) -> _Bounds | None:
    left, right = operands
    if (0.0, 0.0) in (left, right):
        return 0.0, 0.0
    if left is None or right is None:
        return None
    products = [a * b for a in left for b in right]
    return min(products), max(products)


def _choose(operands: list[_Bounds | None]) -> _Bounds | None:
    test, chosen, other = operands
    if test not in ((0.0, 0.0), (1.0, 1.0)):
        return None
    return chosen if test == (1.0, 1.0) else other


def _negate(operands: list[_Bounds | None]) -> _Bounds | None:
    (only,) = operands
    return None if only not in ((0.0, 0.0), (1.0, 1.0)) else (1.0 - only[0], 1.0 - only[0])


def _conjoin(operands: list[_Bounds | None]) -> _Bounds | None:
    if (0.0, 0.0) in operands:
        return 0.0, 0.0
    return (1.0, 1.0) if all(operand == (1.0, 1.0) for operand in operands) else None


def _disjoin(operands: list[_Bounds | None]) -> _Bounds | None:
    if (1.0, 1.0) in operands:
        return 1.0, 1.0
    return (0.0, 0.0) if all(operand == (0.0, 0.0) for operand in operands) else None


def _compare(holds: Callable[[float, float], bool]) -> Callable[[list[_Bounds | None]], _Bounds | None]:
    def compare(operands: list[_Bounds | None]) -> _Bounds | None:
        left, right = operands
        if left is None or right is None or left[0] != left[1] or right[0] != right[1]:
            return None
        truth = float(holds(left[0], right[0]))
        return truth, truth

    return compare


_RULES: Final[dict[str, Callable[[list[_Bounds | None]], _Bounds | None]]] = {
    "Add": _add,
    "Sum": _add,
    "Sub": _subtract,
    "Mul": _multiply,
    "Where": _choose,
    "Not": _negate,
    "And": _conjoin,
    "Or": _disjoin,
    "Equal": _compare(lambda a, b: a == b),
    "Greater": _compare(lambda a, b: a > b),
    "GreaterOrEqual": _compare(lambda a, b: a >= b),
    "Less": _compare(lambda a, b: a < b),
    "LessOrEqual": _compare(lambda a, b: a <= b),
}
_FOLLOWED: Final = frozenset({*_RULES, "Reshape", "Unsqueeze", "Squeeze", "Expand", "Identity", "Cast", "GatherND"})
