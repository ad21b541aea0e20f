"""True and false: And, Or, Xor, Not, the comparisons, Where, IsNaN, IsInf."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfgraph.ir.constant import Array
from tfgraph.ir.dims import Dim
from tfgraph.ir.ops.arithmetic import widened
from tfgraph.ir.ops.contents import Content, each, pick
from tfgraph.ir.ops.rules import at_least, broadcast, same
from tfgraph.ir.optable import Operands
from tfgraph.ir.primitive import BOOL, FLOAT8S, FLOATS, MOVABLE, NUMBERS, primitive


def _equal(left: Dim, right: Dim) -> Dim | None:
    difference = left - right
    if isinstance(difference, int):
        return int(difference == 0)
    return 0 if at_least(difference, 1) or at_least(-difference, 1) else None


def _less(left: Dim, right: Dim) -> Dim | None:
    return 1 if at_least(right - left, 1) else 0 if at_least(left - right, 0) else None


def _not(element: Dim) -> Dim:
    return 1 - element


def _negated(decided: Dim | None) -> Dim | None:
    return None if decided is None else _not(decided)


def _xor(left: Dim, right: Dim) -> Dim:
    return int(left != right)


def _where_content(given: Operands) -> Content | None:
    """The branch that a known condition takes; where it is not known, what both branches hold, if that is the same."""
    condition, yes, no = (given.content(index) for index in range(3))
    if yes is None or no is None:
        return None
    sizes = [1 if condition is None else len(condition), len(yes), len(no)]
    if condition is None and len(given.shape(0)) and given.shape(0)[0] != 1:
        known = given.shape(0)[0]
        if not isinstance(known, int):
            return None
        sizes[0] = known
    length = 0 if 0 in sizes else max(sizes)
    result: list[Dim] = []
    for index in range(length):
        first, second = pick(yes, index), pick(no, index)
        if condition is None and first != second:
            return None
        result.append(first if condition is None or pick(condition, index) == 1 else second)
    return tuple(result)


def _where(condition: Array, yes: Array, no: Array) -> Any:
    return np.where(condition, yes, no)


def _isinf(array: Array, *, detect_negative: int, detect_positive: int) -> Any:
    infinite = np.isinf(widened(array))
    negative = np.signbit(widened(array))
    return infinite & ((negative & bool(detect_negative)) | (~negative & bool(detect_positive)))


def _isnan(array: Array) -> Any:
    return np.isnan(widened(array))


primitive(
    "And", "A:B B:B -> C:B", shape=broadcast, reference=np.logical_and, since=7,
    content=each(lambda left, right: left * right), commutative=True, elementwise=True, B=BOOL,
)  # fmt: skip
primitive(
    "Or", "A:B B:B -> C:B", shape=broadcast, reference=np.logical_or, since=7,
    content=each(lambda left, right: left + right - left * right), commutative=True, elementwise=True, B=BOOL,
)  # fmt: skip
primitive(
    "Xor", "A:B B:B -> C:B", shape=broadcast, reference=np.logical_xor, since=7,
    content=each(_xor), commutative=True, elementwise=True, B=BOOL,
)  # fmt: skip
primitive(
    "Not", "X:B -> Y:B", shape=same, reference=np.logical_not, since=1, content=each(_not), elementwise=True, B=BOOL
)  # fmt: skip
primitive(
    "Equal", "A:T B:T -> C:bool", shape=broadcast, reference=np.equal, since=11,
    content=each(_equal), commutative=True, elementwise=True, T=MOVABLE,
)  # fmt: skip
primitive(
    "Less", "A:T B:T -> C:bool", shape=broadcast, reference=np.less, since=9,
    content=each(_less), elementwise=True, T=NUMBERS,
)  # fmt: skip
primitive(
    "Greater", "A:T B:T -> C:bool", shape=broadcast, reference=np.greater, since=9,
    content=each(lambda left, right: _less(right, left)), elementwise=True, T=NUMBERS,
)  # fmt: skip
primitive(
    "LessOrEqual", "A:T B:T -> C:bool", shape=broadcast, reference=np.less_equal, since=12,
    content=each(lambda left, right: _negated(_less(right, left))), elementwise=True, T=NUMBERS,
)  # fmt: skip
primitive(
    "GreaterOrEqual", "A:T B:T -> C:bool", shape=broadcast, reference=np.greater_equal, since=12,
    content=each(lambda left, right: _negated(_less(left, right))), elementwise=True, T=NUMBERS,
)  # fmt: skip
primitive(
    "Where", "condition:B X:T Y:T -> output:T", shape=broadcast, reference=_where, since=9,
    content=_where_content, elementwise=True, B=BOOL, T=MOVABLE,
)  # fmt: skip
primitive("IsNaN", "X:T -> Y:bool", shape=same, reference=_isnan, since=9, elementwise=True, T=FLOATS | FLOAT8S)
primitive(
    "IsInf", "X:T -> Y:bool", shape=same, reference=_isinf, since=10, elementwise=True,
    attributes={"detect_negative": 1, "detect_positive": 1}, T=FLOATS | FLOAT8S,
)  # fmt: skip
