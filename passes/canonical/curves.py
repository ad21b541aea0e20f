"""GELU and SiLU in other arrangements: halves, signs and polynomials of one curve end up where definitions have them.

x * (0.5 + 0.5 * erf(y))            ->  x * (erf(y) + 1) * 0.5
x * erf(y) * c + x * c              ->  x * (erf(y) + 1) * c
1 - erf(-y)                         ->  erf(y) + 1
tanh(a x + b x^3)                   ->  tanh((x + x^3 * (b / a)) * a)
x * sigmoid(2 a (x + 0.044715 x^3)) ->  x * (tanh(a (x + 0.044715 x^3)) + 1) * 0.5
x / (1 + exp(-y))                   ->  x * sigmoid(y)
"""

from __future__ import annotations

import math

from tfgraph.ir.graph import Node, Value
from tfgraph.passes.canonical.arithmetic import keeps_shape, scaled
from tfgraph.passes.canonical.precision import are_close
from tfgraph.passes.rewrite import Rewriter, RuleSet, scalar_of

CURVES = RuleSet()

_ODD = frozenset({"Tanh", "Erf"})
_MOST_STEPS = 6
_SLOPE, _CUBE = math.sqrt(2 / math.pi), 0.044715  # of the GELU by tanh


def _is_curve(value: Value | None) -> bool:
    return value is not None and value.producer is not None and value.producer.key in _ODD


def _product(rewriter: Rewriter, value: Value, number: float) -> Value:
    return value if number == 1.0 else rewriter.emit("Mul", [value, rewriter.scalar(number, value)])


@CURVES.rule("Add")
def half_outside_curve(node: Node, rewriter: Rewriter) -> Value | None:
    """`curve * c + c` is `(curve + 1) * c`."""
    number, found = scalar_of(node.input(1)), scaled(node.required(0))
    if found is None or number is None or number == 0.0 or not _is_curve(found[0]):
        return None
    if not math.isclose(found[1], number, rel_tol=1e-6):
        return None
    total = rewriter.emit("Add", [found[0], rewriter.scalar(1.0, found[0])])
    return rewriter.emit("Mul", [total, rewriter.scalar(number, total)])


@CURVES.rule("Add")
def gather_curve(node: Node, rewriter: Rewriter) -> Value | None:
    """`(x * curve) * c + x * c` is `x * (curve + 1) * c`."""
    for product, rest in ((node.required(0), node.required(1)), (node.required(1), node.required(0))):
        inner, factor = scaled(product) or (product, 1.0)
        x, other = scaled(rest) or (rest, 1.0)
        turned = inner.producer
        if (
            turned is None
            or turned.key != "Mul"
            or inner.num_uses != 1
            or not math.isclose(factor, other, rel_tol=1e-6)
        ):
            continue
        for curve, same in ((turned.required(0), turned.required(1)), (turned.required(1), turned.required(0))):
            if same is x and _is_curve(curve) and curve.type == x.type:
                total = rewriter.emit("Add", [curve, rewriter.scalar(1.0, curve)])
                return _product(rewriter, rewriter.emit("Mul", [x, total]), factor)
    return None


@CURVES.rule("Sub")
def one_minus_curve(node: Node, rewriter: Rewriter) -> Value | None:
    """`1 - erf(-y)` is `erf(y) + 1`, and the same with tanh."""
    curve = node.required(1)
    if scalar_of(node.input(0)) != 1.0 or curve.producer is None or not _is_curve(curve):
        return None
    inner = _negated(curve.producer.required(0), rewriter)
    if inner is None or not keeps_shape(inner, node.output):
        return None
    turned = rewriter.emit(curve.producer.key, [inner])
    return rewriter.emit("Add", [turned, rewriter.scalar(1.0, turned)])


def _negated(value: Value, rewriter: Rewriter) -> Value | None:
    """`-value`, where it is written as the negative of something, or as a multiple by a negative number."""
    node = value.producer
    if node is not None and node.key == "Neg":
        return node.required(0)
    found = scaled(value)
    return _product(rewriter, found[0], -found[1]) if found is not None and found[1] < 0 else None


@CURVES.rule("Tanh")
def cubic_in_order(node: Node, rewriter: Rewriter) -> Value | None:
    """`tanh(a x + b x^3)`, however the polynomial is written, is `tanh((x + x^3 * (b / a)) * a)`."""
    inner = node.required(0)
    found = _cubic_of_gelu(inner, 1.0)
    if found is None or not keeps_shape(found, inner) or _is_in_order(inner, found):
        return None
    return rewriter.emit("Tanh", [_ordered(found, rewriter)])


@CURVES.rule("Mul")
def sigmoid_is_tanh(node: Node, rewriter: Rewriter) -> Value | None:
    """`x * sigmoid(2 p(x))`, with p the polynomial of the GELU by tanh, is `x * (tanh(p(x)) + 1) * 0.5`."""
    for x, factor in ((node.required(0), node.required(1)), (node.required(1), node.required(0))):
        sigmoid = factor.producer
        if sigmoid is None or sigmoid.key != "Sigmoid" or factor.num_uses != 1:
            continue
        if _cubic_of_gelu(sigmoid.required(0), 2.0) is x and keeps_shape(x, node.output):
            tanh = rewriter.emit("Tanh", [_ordered(x, rewriter)])
            total = rewriter.emit("Add", [tanh, rewriter.scalar(1.0, tanh)])
            return _product(rewriter, rewriter.emit("Mul", [x, total]), 0.5)
    return None


def _ordered(x: Value, rewriter: Rewriter) -> Value:
    """`(x + x^3 * 0.044715) * sqrt(2 / pi)`, as the definition has it."""
    cube = rewriter.emit("Mul", [rewriter.emit("Mul", [x, x]), x])
    return _product(rewriter, rewriter.emit("Add", [x, _product(rewriter, cube, _CUBE)]), _SLOPE)


def _is_in_order(value: Value, x: Value) -> bool:
    """Whether `value` is a scaled sum of x and its scaled cube."""
    outer = scaled(value)
    total = None if outer is None else outer[0].producer
    if total is None or total.key != "Add" or x not in total.inputs:
        return False
    others = [operand for operand in total.inputs if operand is not x]
    cube = scaled(others[0]) if others else None
    return cube is not None and cube[0].producer is not None and x in cube[0].producer.inputs


def _cubic_of_gelu(value: Value, factor: float) -> Value | None:
    """The x of which `value` is the polynomial inside the GELU by tanh, times `factor`."""
    for x in _factors(value, _MOST_STEPS):
        powers = _powers(value, x, _MOST_STEPS)
        if powers is not None and set(powers) == {1, 3}:
            slope, cube = powers[1] / factor, powers[3] / powers[1] if powers[1] else 0.0
            return x if are_close(slope, _SLOPE, value) and are_close(cube, _CUBE, value) else None
    return None


def _factors(value: Value, steps: int) -> list[Value]:
    """The values that are multiplied by others within a sum: what a polynomial may be one of."""
    node = value.producer
    if node is None or steps == 0 or node.key not in ("Add", "Mul"):
        return []
    found: list[Value] = []
    for operand in node.inputs:
        if operand is not None and operand.constant is None:
            inner = _factors(operand, steps - 1)
            found += [operand, *inner] if node.key == "Mul" else inner
    return list(dict.fromkeys(found))


def _powers(value: Value, x: Value, steps: int) -> dict[int, float] | None:
    """The coefficients of `value` as a polynomial of x, by power; None where it is none, or of more than degree 3."""
    if value is x:
        return {1: 1.0}
    number = scalar_of(value)
    if number is not None:
        return {0: number}
    node = value.producer
    if node is None or steps == 0 or node.key not in ("Add", "Mul"):
        return None
    left, right = (_powers(node.required(index), x, steps - 1) for index in (0, 1))
    if left is None or right is None:
        return None
    total: dict[int, float] = {}
    if node.key == "Add":
        for powers in (left, right):
            for power, coefficient in powers.items():
                total[power] = total.get(power, 0.0) + coefficient
        return total
    for power, coefficient in left.items():
        for other, beside in right.items():
            if power + other > 3:
                return None
            total[power + other] = total.get(power + other, 0.0) + coefficient * beside
    return total


@CURVES.rule("Div")
def quotient_is_sigmoid(node: Node, rewriter: Rewriter) -> Value | None:
    """`x / (1 + exp(-y))` is `x * sigmoid(y)`."""
    x, total = node.required(0), node.required(1).producer
    if total is None or total.key != "Add" or scalar_of(total.input(1)) != 1.0 or not node.output.dtype.is_float:
        return None
    power = total.required(0).producer
    inner = None if power is None or power.key != "Exp" else _negated(power.required(0), rewriter)
    if inner is None or not keeps_shape(inner, total.output):
        return None
    sigmoid = rewriter.emit("Sigmoid", [inner])
    return sigmoid if scalar_of(x) == 1.0 else rewriter.emit("Mul", [x, sigmoid])
