"""Dimensions: integers, named symbols, and arithmetic over them.

A `Dim` is an `int` or an `Expr`, a polynomial with integer coefficients in normal form, so that two dimensions that are
equal as polynomials are equal as Python objects: `past + seq == seq + past`, `4 * (seq + 1) - 4 == 4 * seq`. What is
not polynomial (a division with remainder, a maximum) is an opaque `Call` atom inside the polynomial. Every symbol
stands for an integer of at least 1, the size of an axis. The text form is in `dim_text.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TypeAlias, Union

Dim: TypeAlias = Union[int, "Expr"]
Shape: TypeAlias = tuple[Dim, ...]
Monomial: TypeAlias = tuple["Atom", ...]


class Symbol:
    """A named size, such as `batch`. Equal by name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Symbol) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def sort_key(self) -> tuple[object, ...]:
        return (0, self.name)


class Call:
    """`floordiv`, `mod`, `max` or `min` of two dimensions that no polynomial expresses."""

    __slots__ = ("_hash", "arguments", "function")

    def __init__(self, function: str, arguments: tuple[Dim, Dim]) -> None:
        self.function = function
        self.arguments = arguments
        self._hash = hash((function, arguments))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Call) and self.function == other.function and self.arguments == other.arguments

    def __hash__(self) -> int:
        return self._hash

    def sort_key(self) -> tuple[object, ...]:
        return (1, self.function, *(_dim_sort_key(argument) for argument in self.arguments))


Atom: TypeAlias = Symbol | Call


class Expr:
    """A polynomial over atoms: never a plain integer (arithmetic returns an `int` then). Immutable, hashable."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self._hash = hash(terms)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Expr) and self._hash == other._hash and self.terms == other.terms)

    def __hash__(self) -> int:
        return self._hash

    def __add__(self, other: Dim) -> Dim:
        return _add(self, other) if isinstance(other, int | Expr) else NotImplemented

    __radd__ = __add__

    def __mul__(self, other: Dim) -> Dim:
        return _multiply(self, other) if isinstance(other, int | Expr) else NotImplemented

    __rmul__ = __mul__

    def __neg__(self) -> Dim:
        return _multiply(self, -1)

    def __sub__(self, other: Dim) -> Dim:
        return _add(self, _multiply(other, -1)) if isinstance(other, int | Expr) else NotImplemented

    def __rsub__(self, other: Dim) -> Dim:
        return _add(other, -self) if isinstance(other, int | Expr) else NotImplemented

    def __floordiv__(self, other: Dim) -> Dim:
        return floordiv(self, other) if isinstance(other, int | Expr) else NotImplemented

    def __rfloordiv__(self, other: Dim) -> Dim:
        return floordiv(other, self) if isinstance(other, int | Expr) else NotImplemented

    def __mod__(self, other: Dim) -> Dim:
        return mod(self, other) if isinstance(other, int | Expr) else NotImplemented

    def __bool__(self) -> bool:
        raise TypeError(f"whether the dimension {self} is zero is not known before the model runs")

    def __str__(self) -> str:
        from tfgraph.ir.dim_text import format_dim

        return format_dim(self)

    def __repr__(self) -> str:
        return str(self)


@lru_cache(maxsize=4096)
def symbol(name: str) -> Expr:
    """The dimension named `name`."""
    return Expr((((Symbol(name),), 1),))


def _dim_sort_key(dim: Dim) -> tuple[object, ...]:
    if isinstance(dim, int):
        return (0, dim)
    return (1, len(dim.terms), *((_monomial_key(monomial), coefficient) for monomial, coefficient in dim.terms))


def _monomial_key(monomial: Monomial) -> tuple[object, ...]:
    return (-len(monomial), *(atom.sort_key() for atom in monomial))


def _terms(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(dim, int):
        return (((), dim),) if dim else ()
    return dim.terms


def _from_terms(terms: Mapping[Monomial, int]) -> Dim:
    kept = {monomial: coefficient for monomial, coefficient in terms.items() if coefficient}
    if not kept:
        return 0
    if len(kept) == 1 and () in kept:
        return kept[()]
    return Expr(tuple(sorted(kept.items(), key=lambda item: _monomial_key(item[0]))))


@lru_cache(maxsize=65536)
def _add(left: Dim, right: Dim) -> Dim:
    total = dict(_terms(left))
    for monomial, coefficient in _terms(right):
        total[monomial] = total.get(monomial, 0) + coefficient
    return _from_terms(total)


@lru_cache(maxsize=65536)
def _multiply(left: Dim, right: Dim) -> Dim:
    total: dict[Monomial, int] = {}
    for left_monomial, left_coefficient in _terms(left):
        for right_monomial, right_coefficient in _terms(right):
            monomial = tuple(sorted(left_monomial + right_monomial, key=lambda atom: atom.sort_key()))
            total[monomial] = total.get(monomial, 0) + left_coefficient * right_coefficient
    return _from_terms(total)


def _divide_monomial(dividend: Monomial, divisor: Monomial) -> Monomial | None:
    rest = list(dividend)
    for atom in divisor:
        if atom not in rest:
            return None
        rest.remove(atom)
    return tuple(rest)


@lru_cache(maxsize=65536)
def exact_div(dividend: Dim, divisor: Dim) -> Dim | None:
    """`dividend / divisor` where the polynomial division leaves no remainder, else None."""
    if isinstance(divisor, int) and divisor == 0:
        return None
    if dividend == divisor:
        return 1
    if isinstance(dividend, int):
        divides = isinstance(divisor, int) and dividend % divisor == 0
        return dividend // divisor if divides and isinstance(divisor, int) else (0 if dividend == 0 else None)
    (lead, lead_coefficient), *_ = _terms(divisor)
    quotient: Dim = 0
    rest: Dim = dividend
    for _ in range(2 * len(dividend.terms) + 2):
        if isinstance(rest, int) and rest == 0:
            return quotient
        monomial, coefficient = _terms(rest)[0]
        divided = _divide_monomial(monomial, lead)
        if divided is None or coefficient % lead_coefficient:
            return None
        step = _from_terms({divided: coefficient // lead_coefficient})
        quotient = _add(quotient, step)
        rest = _add(rest, _multiply(_multiply(step, divisor), -1))
    return None


def floordiv(dividend: Dim, divisor: Dim) -> Dim:
    """`dividend // divisor`; an opaque atom where the division is not exact and not known."""
    if isinstance(dividend, int) and isinstance(divisor, int) and divisor:
        return dividend // divisor
    exact = exact_div(dividend, divisor)
    if exact is not None:
        return exact
    inner = _single_call(dividend)
    if inner is not None and inner.function == "floordiv" and isinstance(divisor, int) and divisor > 0:
        return floordiv(inner.arguments[0], inner.arguments[1] * divisor)
    whole, rest = _part_multiple(dividend, divisor)
    return whole + floordiv(rest, divisor) if rest != dividend else _call("floordiv", dividend, divisor)


def mod(dividend: Dim, divisor: Dim) -> Dim:
    """`dividend % divisor`; an opaque atom where it is not known."""
    if isinstance(dividend, int) and isinstance(divisor, int) and divisor:
        return dividend % divisor
    if exact_div(dividend, divisor) is not None:
        return 0
    _, rest = _part_multiple(dividend, divisor)
    return mod(rest, divisor) if rest != dividend else _call("mod", dividend, divisor)


def _part_multiple(dividend: Dim, divisor: Dim) -> tuple[Dim, Dim]:
    """`(q, r)` with `dividend == q * divisor + r`, where q takes every term that the fixed divisor divides."""
    whole: dict[Monomial, int] = {}
    rest: dict[Monomial, int] = {}
    if not isinstance(divisor, int) or divisor <= 1:
        return 0, dividend
    for monomial, coefficient in _terms(dividend):
        quotient, remainder = divmod(coefficient, divisor)
        if quotient:
            whole[monomial] = quotient
        if remainder:
            rest[monomial] = remainder
    return _from_terms(whole), _from_terms(rest)


def maximum(left: Dim, right: Dim) -> Dim:
    """The larger of two dimensions; an opaque atom where it is not known."""
    return _extremum("max", left, right, 1)


def minimum(left: Dim, right: Dim) -> Dim:
    """The smaller of two dimensions; an opaque atom where it is not known."""
    return _extremum("min", left, right, -1)


def _extremum(function: str, left: Dim, right: Dim, sign: int) -> Dim:
    difference = _multiply(_add(left, _multiply(right, -1)), sign)
    if is_at_least(difference, 0):
        return left
    if is_at_least(_multiply(difference, -1), 0):
        return right
    for whole, part in ((left, right), (right, left)):  # max(max(t, u), u) is max(t, u)
        if _extremum_of(function, part) <= _extremum_of(function, whole):
            return whole
    first, second = sorted((left, right), key=_dim_sort_key)
    return _call(function, first, second)


def _extremum_of(function: str, dim: Dim) -> frozenset[Dim]:
    """The sizes of which `dim` is the largest (`max`) or the smallest (`min`), however nested; itself, if no such."""
    call = _single_call(dim)
    if call is None or call.function != function:
        return frozenset((dim,))
    return frozenset().union(*(_extremum_of(function, argument) for argument in call.arguments))


def _single_call(dim: Dim) -> Call | None:
    """The call that `dim` is; None where it is anything else."""
    if isinstance(dim, int) or len(dim.terms) != 1:
        return None
    monomial, coefficient = dim.terms[0]
    atom = monomial[0] if len(monomial) == 1 and coefficient == 1 else None
    return atom if isinstance(atom, Call) else None


def _call(function: str, left: Dim, right: Dim) -> Dim:
    return Expr((((Call(function, (left, right)),), 1),))


def is_at_least(dim: Dim, bound: int) -> bool:
    """Whether `dim >= bound` for every assignment of integers of at least 1 to the symbols, as far as can be told."""
    lowest = _lowest(dim)
    return lowest is not None and lowest >= bound


@lru_cache(maxsize=65536)
def _lowest(dim: Dim) -> int | None:
    """A number that `dim` never falls below, None where none is known."""
    if isinstance(dim, int):
        return dim
    total = 0
    for monomial, coefficient in dim.terms:
        bounds = [1 if isinstance(atom, Symbol) else _lowest_of_call(atom) for atom in monomial]
        known = [bound for bound in bounds if bound is not None and (bound >= 0 or len(bounds) == 1)]
        if len(known) != len(bounds) or (coefficient < 0 and bounds):
            return None
        total += coefficient * math.prod(known)
    return total


def _lowest_of_call(call: Call) -> int | None:
    left, right = (_lowest(argument) for argument in call.arguments)
    if call.function == "max":
        return left if right is None else right if left is None else max(left, right)
    if left is None or right is None:
        return 0 if call.function == "mod" and right is not None and right >= 1 else None
    if call.function == "min":
        return min(left, right)
    if right < 1 or (call.function == "floordiv" and left < 0):
        return None
    return 0


def broadcast_equal(left: Dim, right: Dim) -> Dim | None:
    """The simpler of two sizes that are equal wherever the graph runs, though not as expressions; None for others.

    `max(t, u)` is what shape inference says of an axis where t and u broadcast. Where the same axis meets an axis of
    size t in a place that does not broadcast, such as a matrix product, it can only be t. `min(64, t)`, the length of a
    table cut off at t, can only be t where it meets an axis of size t, whether they broadcast or not.
    """
    for whole, part in ((left, right), (right, left)):
        if whole != part and _extremum_of("max", part) <= _extremum_of("max", whole):
            return part
        others = _extremum_of("min", whole) - {part}
        if whole != part and part in _extremum_of("min", whole) and all(isinstance(n, int) and n > 1 for n in others):
            return part
    return None


def symbols_of(dim: Dim) -> Iterator[str]:
    """The names of the symbols in `dim`, in order of appearance, repetitions included."""
    for monomial, _ in _terms(dim):
        for atom in monomial:
            if isinstance(atom, Symbol):
                yield atom.name
            else:
                for argument in atom.arguments:
                    yield from symbols_of(argument)


_FUNCTIONS: dict[str, Callable[[Dim, Dim], Dim]] = {"floordiv": floordiv, "mod": mod, "max": maximum, "min": minimum}


def call(function: str, left: Dim, right: Dim) -> Dim:
    """`floordiv`, `mod`, `max` or `min` by name."""
    return _FUNCTIONS[function](left, right)


def substitute(dim: Dim, sizes: Mapping[str, Dim]) -> Dim:
    """`dim` with each symbol that `sizes` names replaced."""
    if isinstance(dim, int):
        return dim
    total: Dim = 0
    for monomial, coefficient in dim.terms:
        product: Dim = coefficient
        for atom in monomial:
            if isinstance(atom, Symbol):
                factor = sizes.get(atom.name)
                factor = symbol(atom.name) if factor is None else factor
            else:
                left, right = (substitute(argument, sizes) for argument in atom.arguments)
                factor = call(atom.function, left, right)
            product = product * factor
        total = total + product
    return total


def product(dims: Iterable[Dim]) -> Dim:
    """The product of all dimensions: the number of elements of a shape."""
    total: Dim = 1
    for dim in dims:
        total = total * dim
    return total
