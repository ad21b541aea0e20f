"""Rotary embedding written out over its parts, in the forms that the definition does not have.

The parts of x are halves or pairs, however they are taken apart; the angles may be of one sequence for all, and the
sequence may be in front of the heads:

    concat(a * c - b * s, a * s + b * c)           halves: GPT-NeoX, LLaMA
    flatten(stack(a * c - b * s, a * s + b * c))   pairs: complex numbers

`rotary.py` and `rotary_pairs.py` have the spellings that rotate x as a whole.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.passes.canonical.rotary import LAST, negated, part_of, turned_halves
from tfgraph.passes.canonical.rotary_layouts import joined, ranked, seq_axis
from tfgraph.passes.canonical.rotary_pairs import every_second, turned_pairs, unstacked
from tfgraph.passes.rewrite import Rewriter, RuleSet

ROTARY_PARTS = RuleSet()

_WIDEST = 1024


@ROTARY_PARTS.rule("Concat")
def rotate_halves(node: Node, rewriter: Rewriter) -> Value | None:
    """`concat(a * c - b * s, a * s + b * c)`, with a and b the halves of x, in the form of the definition."""
    if len(node.inputs) != 2 or attribute(node, "axis") != -1:
        return None
    found = _rotation(node.output, (node.required(0), node.required(1)), part_of, rewriter)
    return None if found is None else turned_halves(*found, rewriter)


@ROTARY_PARTS.rule("Reshape")
def rotate_pairs(node: Node, rewriter: Rewriter) -> Value | None:
    """The same over pairs, stacked and folded into one axis: a product of complex numbers."""
    stacked = node.required(0).producer
    if stacked is None or stacked.key != "Concat" or len(stacked.inputs) != 2 or attribute(stacked, "axis") != -1:
        return None
    first, second = (unstacked(stacked.required(index)) for index in (0, 1))
    if first is None or second is None:
        return None
    found = _rotation(node.output, (first, second), every_second, rewriter)
    return None if found is None else turned_pairs(*found, rewriter)


def _rotation(
    result: Value,
    complex_product: tuple[Value, Value],
    part: Callable[[Value], tuple[Value | None, int]],
    rewriter: Rewriter,
) -> tuple[Value, Value, Value, int] | None:
    """`(x, cos, sin, layout)`, where the product is that of both parts of x, as `part` takes them, and of angles.

    None as well where `result` has the form of the definition already. `layout` is `seq_axis`.
    """
    found = _turned(*complex_product)
    if found is None:
        return None
    a, b, cos, sin = found
    (x, first), (other, second) = part(a), part(b)
    if x is None or x is not other or (first, second) != (0, 1):
        return None
    x = joined(x, a, rewriter)
    if x.rank != 4 or result.type != x.type or not isinstance(a.shape[3], int):
        return None
    if _are_slices(a, b) and _fits(cos, x) and _fits(sin, x):
        return None
    cos, sin = ranked(cos, rewriter), ranked(sin, rewriter)
    layout = seq_axis(cos, x)
    if layout is None or layout != seq_axis(sin, x) or cos.shape[3] != a.shape[3] or sin.shape[3] != a.shape[3]:
        return None
    return x, cos, sin, layout


def _fits(angles: Value, x: Value) -> bool:
    """Whether the angles are [B, 1, S, R], as the definition has them."""
    shape = angles.type.known_shape
    return shape is not None and len(shape) == 4 and shape[:2] == (x.shape[0], 1)


def _are_slices(*values: Value) -> bool:
    return all(value.producer is not None and value.producer.key == "Slice" for value in values)


def _turned(real: Value, imaginary: Value) -> tuple[Value, Value, Value, Value] | None:
    """`(a, b, c, s)` of `real = a * c - b * s` and `imaginary = a * s + b * c`."""
    minus = _difference(real)
    plus = imaginary.producer
    if minus is None or plus is None or plus.key != "Add":
        return None
    products = [plus.required(index).producer for index in (0, 1)]
    if any(product is None or product.key != "Mul" for product in products):
        return None
    sums = [frozenset(product.inputs) for product in products if product is not None]
    (first, second), (third, fourth) = minus
    for a, c in ((first, second), (second, first)):
        for b, s in ((third, fourth), (fourth, third)):
            if {frozenset((a, s)), frozenset((b, c))} == set(sums):
                return a, b, c, s
    return None


def _difference(value: Value) -> tuple[tuple[Value, Value], tuple[Value, Value]] | None:
    """The factors of `value = p * q - r * t`, where one factor may be negated instead."""
    node = value.producer
    if node is None or node.key not in ("Sub", "Add"):
        return None
    left, right = node.required(0).producer, node.required(1).producer
    if left is None or right is None or left.key != "Mul" or right.key != "Mul":
        return None
    plain, turned = _factors(left), _factors(right)
    if node.key == "Sub":
        return plain, turned
    for kept, other in ((plain, turned), (turned, plain)):
        for index in (0, 1):
            inner = negated(other[index])
            if inner is not None:
                return kept, (inner, other[1 - index])
    return None


def _factors(product: Node) -> tuple[Value, Value]:
    return product.required(0), product.required(1)


@ROTARY_PARTS.rule("MatMul")
def rotation_is_concat(node: Node, rewriter: Rewriter) -> Value | None:
    """`x R`, with R the constant matrix that turns the halves (x1, x2) into (-x2, x1), is written so."""
    x, matrix = node.required(0), node.required(1)
    if matrix.constant is None or matrix.rank != 2 or x.type.known_shape is None or not matrix.constant.has_data:
        return None
    size, columns = matrix.constant.shape
    if size != columns or size % 2 or not 0 < size <= _WIDEST or x.constant is not None:
        return None
    half = size // 2
    rotation = np.zeros((size, size))
    rotation[half:, :half], rotation[:half, half:] = -np.eye(half), np.eye(half)
    if not np.array_equal(matrix.constant.numpy().astype(np.float64), rotation):
        return None
    first, second = (
        rewriter.emit("Slice", [x, *(rewriter.ints([number]) for number in (start, stop, x.rank - 1, 1))])
        for start, stop in ((0, half), (half, LAST))
    )
    return rewriter.emit("Concat", [rewriter.emit("Neg", [second]), first], {"axis": -1})


@ROTARY_PARTS.rule("Sub")
def add_rotated(node: Node, rewriter: Rewriter) -> Value | None:
    """`p - concat(x2, -x1) * s` is `p + concat(-x2, x1) * s`."""
    product = node.required(1).producer
    if product is None or product.key != "Mul":
        return None
    for turned, sin in (_factors(product), _factors(product)[::-1]):
        concat = turned.producer
        if concat is None or concat.key != "Concat" or len(concat.inputs) != 2:
            continue
        second, first = concat.required(0), negated(concat.required(1))
        if first is None or part_of(first)[1] != 0 or part_of(second)[1] != 1:
            continue
        if part_of(first)[0] is part_of(second)[0]:
            parts = [rewriter.emit("Neg", [second]), first]
            rotated = rewriter.emit("Concat", parts, concat.attributes)
            return rewriter.emit("Add", [node.required(0), rewriter.emit("Mul", [rotated, sin])])
    return None
