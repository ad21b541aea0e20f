"""Arithmetic with constants: powers, quotients and differences become products and sums; scales move outward and meet.

x ** 2          ->  x * x                1 / sqrt forms   ->  Div(1, Sqrt(x))
x / c, x - c    ->  x * (1/c), x + (-c)  (x * c) * y      ->  (x * y) * c
"""

from __future__ import annotations

import math

import numpy as np

from tfgraph.ir.graph import Node, Value
from tfgraph.passes.rewrite import Rewriter, RuleSet, is_filled_with, scalar_of

ARITHMETIC = RuleSet()

_CURVES = frozenset({"Tanh", "Erf"})


def _is_float(node: Node) -> bool:
    return node.output.dtype.is_float


def can_hold(like: Value, number: float) -> bool:
    """Whether `number` stays itself, up to rounding, in the dtype of `like`: not infinite, not rounded to nothing."""
    with np.errstate(over="ignore"):
        held = float(np.asarray(number, like.dtype.numpy()))
    return math.isfinite(held) and math.isclose(held, number, rel_tol=2**-8)


def keeps_shape(x: Value, result: Value) -> bool:
    """Whether `x` is known to have the shape of `result` (a constant of higher rank may have changed it)."""
    shape = x.type.known_shape
    return shape is not None and shape == result.type.known_shape


def _keeps_shape(value: Value, node: Node) -> bool:
    return keeps_shape(value, node.output)


@ARITHMETIC.rule("Add", "Mul", "Max", "Min", "And", "Or", "Equal")
def constants_second(node: Node, rewriter: Rewriter) -> Value | None:
    """`c + x` is written `x + c`."""
    if len(node.inputs) != 2:
        return None
    left, right = node.required(0), node.required(1)
    if left.constant is None or right.constant is not None:
        return None
    return rewriter.emit(node.key, [right, left], node.attributes)


@ARITHMETIC.rule("Sum")
def sum_is_additions(node: Node, rewriter: Rewriter) -> Value | None:
    """`Sum(a, b, c)` is written `(a + b) + c`."""
    total, *others = (node.required(index) for index in range(len(node.inputs)))
    for other in others:
        total = rewriter.emit("Add", [total, other])
    return total if others else None


@ARITHMETIC.rule("Pow")
def expand_power(node: Node, rewriter: Rewriter) -> Value | None:
    """Powers with small constant exponents are written as products and roots."""
    x, exponent = node.required(0), scalar_of(node.input(1))
    if exponent is None or not _is_float(node) or not _keeps_shape(x, node):
        return None
    if exponent == 1.0:
        return x
    if exponent == 2.0:
        return rewriter.emit("Mul", [x, x])
    if exponent == 3.0:
        return rewriter.emit("Mul", [rewriter.emit("Mul", [x, x]), x])
    if exponent == 0.5:
        return rewriter.emit("Sqrt", [x])
    if exponent == -0.5:
        return rewriter.emit("Div", [rewriter.scalar(1.0, x), rewriter.emit("Sqrt", [x])])
    if exponent == -1.0:
        return rewriter.emit("Div", [rewriter.scalar(1.0, x), x])
    return None


@ARITHMETIC.rule("Reciprocal")
def reciprocal_is_quotient(node: Node, rewriter: Rewriter) -> Value:
    """`Reciprocal(x)` is written `1 / x`."""
    x = node.required(0)
    return rewriter.emit("Div", [rewriter.scalar(1.0, x), x])


@ARITHMETIC.rule("Mul")
def product_with_reciprocal(node: Node, rewriter: Rewriter) -> Value | None:
    """`x * (1 / y)` is written `x / y`."""
    for x, inverse in ((node.required(0), node.required(1)), (node.required(1), node.required(0))):
        quotient = inverse.producer
        if quotient is None or quotient.key != "Div" or not _is_float(node):
            continue
        y = quotient.required(1)
        if scalar_of(quotient.input(0)) == 1.0 and scalar_of(x) is None and _keeps_shape(y, quotient):
            return rewriter.emit("Div", [x, y])
    return None


@ARITHMETIC.rule("Div")
def divide_by_constant(node: Node, rewriter: Rewriter) -> Value | None:
    """`x / c` is written `x * (1 / c)`."""
    x, divisor = node.required(0), scalar_of(node.input(1))
    if divisor is None or divisor == 0.0 or not _is_float(node) or not can_hold(x, 1.0 / divisor):
        return None
    if x.constant is not None or not _keeps_shape(x, node) or is_soft_cap(node):
        return None
    return rewriter.emit("Mul", [x, rewriter.scalar(1.0 / divisor, x)])


def is_soft_cap(node: Node) -> bool:
    """Whether the quotient `node` is that of `tanh(x / c) * c`."""
    tanhs = [user for user in node.output.users if user.key == "Tanh"]
    products = [user for tanh in tanhs for user in tanh.output.users if user.key == "Mul"]
    return any(product.input(1) is node.input(1) for product in products)


@ARITHMETIC.rule("Sub")
def subtract_constant(node: Node, rewriter: Rewriter) -> Value | None:
    """`x - c` is written `x + (-c)`."""
    x, number = node.required(0), scalar_of(node.input(1))
    if number is None or x.constant is not None or not _is_float(node) or not _keeps_shape(x, node):
        return None
    return rewriter.emit("Add", [x, rewriter.scalar(-number, x)])


@ARITHMETIC.rule("Add", "Mul")
def drop_neutral(node: Node, _rewriter: Rewriter) -> Value | None:
    """`x + 0` and `x * 1` are x, for a number, or one a head: a vector of ones may be the weight of a norm."""
    x, other = node.required(0), node.required(1)
    neutral = 0.0 if node.key == "Add" else 1.0
    if not _keeps_shape(x, node):
        return None
    one_a_head = other.constant is not None and other.rank > 2 and other.shape[-1] == 1
    if one_a_head and is_filled_with(other, neutral):
        return x
    return x if scalar_of(other) == neutral else None


def scaled(value: Value | None) -> tuple[Value, float] | None:
    """`(x, c)` where the value is `x * c` and nothing else reads it."""
    if value is None or value.producer is None or value.producer.key != "Mul" or value.num_uses != 1:
        return None
    x, factor = value.producer.required(0), scalar_of(value.producer.input(1))
    return (x, factor) if factor is not None and keeps_shape(x, value) else None


@ARITHMETIC.rule("Mul")
def gather_scales(node: Node, rewriter: Rewriter) -> Value | None:
    """`(x * c) * d` is `x * (c * d)`; `(x * c) * y` is `(x * y) * c`: scales end up outermost, in one place.

    The half of a GELU stays with it where the GELU is multiplied by something else, as in gated feed-forward layers.
    """
    if not _is_float(node):
        return None
    left, right = node.required(0), node.required(1)
    inner, outer = scaled(left), scalar_of(right)
    if inner is not None and outer is not None:
        product = inner[1] * outer
        fits = can_hold(left, product) and _keeps_shape(left, node)
        return rewriter.emit("Mul", [inner[0], rewriter.scalar(product, left)]) if fits else None
    for mine, other in ((left, right), (right, left)):
        inner = scaled(mine)
        if inner is not None and other.constant is None and not _is_gated(inner[0]):
            x, factor = inner
            return rewriter.emit("Mul", [rewriter.emit("Mul", [x, other]), rewriter.scalar(factor, mine)])
    return None


def _is_gated(value: Value) -> bool:
    """Whether `value` is `x * (1 + tanh(…))` or `x * (1 + erf(…))`: twice a GELU."""
    node = value.producer
    if node is None or node.key != "Mul":
        return False
    sums = [factor.producer for factor in node.inputs if factor is not None and factor.producer is not None]
    return any(
        total.key == "Add"
        and 1.0 in map(scalar_of, total.inputs)
        and any(
            value is not None and value.producer is not None and value.producer.key in _CURVES for value in total.inputs
        )
        for total in sums
    )


@ARITHMETIC.rule("Mul")
def cubic_is_sum(node: Node, rewriter: Rewriter) -> Value | None:
    """`x * (1 + x * x * c)` is written `x + x * x * x * c`: the polynomial inside the GELU by tanh."""
    for x, factor in ((node.required(0), node.required(1)), (node.required(1), node.required(0))):
        total = factor.producer
        if total is None or total.key != "Add" or scalar_of(total.input(1)) != 1.0:
            continue
        found = scaled(total.required(0))
        square = None if found is None else found[0].producer
        if found is None or square is None or square.key != "Mul" or factor.num_uses != 1 or not _is_float(node):
            continue
        if square.required(0) is x and square.required(1) is x and _keeps_shape(x, node):
            cube = rewriter.emit("Mul", [found[0], x])
            return rewriter.emit("Add", [x, rewriter.emit("Mul", [cube, rewriter.scalar(found[1], x)])])
    return None


@ARITHMETIC.rule("Add")
def shift_before_scale(node: Node, rewriter: Rewriter) -> Value | None:
    """`x * k + (b - m * k)` is written `(x - m) * k + b`: a normalisation as TensorFlow spells it.

    Where b is 0, `-(m * k)` stands in its place.
    """
    for product, rest in ((node.required(0), node.required(1)), (node.required(1), node.required(0))):
        difference, scaled_x = rest.producer, product.producer
        if scaled_x is None or difference is None or scaled_x.key != "Mul" or difference.key not in ("Sub", "Neg"):
            continue
        offset = difference.required(0) if difference.key == "Sub" else None
        scaled_mean = difference.required(len(difference.inputs) - 1).producer
        if scaled_mean is None or scaled_mean.key != "Mul":
            continue
        for x, factor in (scaled_x.inputs, scaled_x.inputs[::-1]):
            for mean, same in (scaled_mean.inputs, scaled_mean.inputs[::-1]):
                if factor is same and x is not None and x is not mean:
                    normalised = rewriter.emit("Mul", [rewriter.emit("Sub", [x, mean]), factor])
                    return normalised if offset is None else rewriter.emit("Add", [normalised, offset])
    return None


@ARITHMETIC.rule("Mul")
def weight_last(node: Node, rewriter: Rewriter) -> Value | None:
    """`x * (y * w)` and `x * (w / y)`, with w a constant vector, are written `(x * y) * w` and `(x / y) * w`.

    So a normalisation normalises first, and applies its weight afterwards. One that has done so, `(a / b) * w`, stays.
    """
    for x, scaled_weight in ((node.required(0), node.required(1)), (node.required(1), node.required(0))):
        inner = scaled_weight.producer
        if inner is None or inner.key not in ("Mul", "Div") or x.constant is not None or not _is_float(node):
            continue
        y, weight = inner.required(0), inner.required(1)
        if inner.key == "Div":
            y, weight = weight, y
        if inner.key == "Mul" and _is_quotient(y):
            continue
        if weight.constant is not None and len(weight.constant.shape) == 1 and y.constant is None:
            return rewriter.emit("Mul", [rewriter.emit(inner.key, [x, y]), weight])
    return None


@ARITHMETIC.rule("Div")
def weight_after_root(node: Node, rewriter: Rewriter) -> Value | None:
    """`(x * w) / sqrt(y)`, with w a constant vector, is `(x / sqrt(y)) * w`."""
    product, root = node.required(0).producer, node.required(1)
    if product is None or product.key != "Mul" or root.producer is None or root.producer.key != "Sqrt":
        return None
    for x, weight in ((product.required(0), product.required(1)), (product.required(1), product.required(0))):
        if weight.constant is not None and len(weight.constant.shape) == 1 and x.constant is None:
            return rewriter.emit("Mul", [rewriter.emit("Div", [x, root]), weight])
    return None


def _is_quotient(value: Value) -> bool:
    """Whether `value` is a quotient of two tensors."""
    node = value.producer
    return node is not None and node.key == "Div" and scalar_of(node.input(0)) is None


@ARITHMETIC.rule("Sub")
def subtract_before_division(node: Node, rewriter: Rewriter) -> Value | None:
    """`x / d - y / d` is written `(x - y) / d`."""
    left, right = node.required(0).producer, node.required(1).producer
    if left is None or right is None or left.key != "Div" or right.key != "Div" or not _is_float(node):
        return None
    if left.required(1) is not right.required(1):
        return None
    return rewriter.emit("Div", [rewriter.emit("Sub", [left.required(0), right.required(0)]), left.required(1)])
