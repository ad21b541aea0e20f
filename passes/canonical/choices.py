"""Choices: zeros and ones used as numbers become the booleans that they stand for, and a choice between numbers.

    scores * keep - (1 - keep) * 10000      ->  Where(keep, scores, -10000)
    scores * keep + (1 - keep) * -10000     ->  Where(keep, scores, -10000)
    Cast(Where(keep, 0, -inf), bool)        ->  Not(keep)

What becomes of masks in front of a softmax is in `masks.py`.
"""

from __future__ import annotations

import numpy as np

from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Node, Value
from tfgraph.passes.rewrite import Rewriter, RuleSet, is_filled_with, scalar_of

CHOICES = RuleSet()

_MOST_STEPS = 8

_VIEWS = frozenset({"Reshape", "Slice", "Gather", "Expand", "Transpose"})


@CHOICES.rule("Sub", "Add")
def mask_by_choice(node: Node, rewriter: Rewriter) -> Value | None:
    """`x * m - (1 - m) * c` and `x * m + (1 - m) * -c`, with m 0 or 1, are `Where(m, x, -c)`; x may be scaled."""
    operands = node.required(0), node.required(1)
    for first, second in (operands, operands[::-1]) if node.key == "Add" else (operands,):
        kept, dropped = first.producer, second.producer
        if kept is None or dropped is None or kept.key != "Mul" or dropped.key != "Mul":
            continue
        inverse, penalty = dropped.required(0).producer, scalar_of(dropped.input(1))
        if inverse is None or inverse.key != "Sub" or penalty is None or not is_filled_with(inverse.input(0), 1.0):
            continue
        if kept.output.type.known_shape is None or kept.output.type.known_shape != node.output.type.known_shape:
            continue
        chosen = _chosen(kept, inverse.required(1), -penalty if node.key == "Sub" else penalty, rewriter)
        if chosen is not None:
            return chosen
    return None


def _chosen(kept: Node, m: Value, number: float, rewriter: Rewriter) -> Value | None:
    """`Where(m, x, number)` for the product `kept`, `x * m` or `x * m * c`; None where it is another."""
    scale, inner = scalar_of(kept.input(1)), kept.required(0).producer
    if scale is not None and inner is not None and inner.key == "Mul":
        kept = inner
    for x, factor in ((kept.required(0), kept.required(1)), (kept.required(1), kept.required(0))):
        test = _boolean(m, rewriter) if factor is m else None
        if test is not None:
            scores = x if scale is None else rewriter.emit("Mul", [x, rewriter.scalar(scale, x)])
            return rewriter.emit("Where", [test, scores, rewriter.scalar(number, x)])
    return None


def _boolean(value: Value, rewriter: Rewriter, steps: int = _MOST_STEPS) -> Value | None:
    """The boolean tensor of which `value` is the 0 and 1, or None where it is none."""
    node = value.producer
    if node is None:
        return rewriter.emit("Cast", [value], {"to": DType.BOOL.value}) if _is_binary(value) else None
    if node.key == "Cast":
        return node.required(0) if node.required(0).dtype is DType.BOOL else None
    if node.key in _VIEWS and steps:
        inner = _boolean(node.required(0), rewriter, steps - 1)
        return None if inner is None else rewriter.emit(node.key, [inner, *node.inputs[1:]], node.attributes)
    return None


def _is_binary(value: Value) -> bool:
    """Whether a constant holds nothing but 0 and 1."""
    if value.constant is None or not value.constant.has_data or value.constant.size == 0:
        return False
    numbers = value.constant.numpy()
    return bool(np.all((numbers == 0) | (numbers == 1)))


@CHOICES.rule("Cast")
def choice_is_test(node: Node, rewriter: Rewriter) -> Value | None:
    """`Cast(Where(c, a, b), bool)` is c or its negation, where one of the numbers a and b is 0 and the other is not."""
    choice = node.required(0).producer
    if node.output.dtype is not DType.BOOL or choice is None or choice.key != "Where":
        return None
    test, chosen, other = choice.required(0), scalar_of(choice.input(1)), scalar_of(choice.input(2))
    if chosen is None or other is None or (chosen == 0.0) == (other == 0.0):
        return None
    if test.type.known_shape is None or test.type.known_shape != node.output.type.known_shape:
        return None
    return test if other == 0.0 else rewriter.emit("Not", [test])


@CHOICES.rule("Not")
def drop_double_negation(node: Node, _rewriter: Rewriter) -> Value | None:
    """`Not(Not(x))` is x."""
    inner = node.required(0).producer
    return inner.required(0) if inner is not None and inner.key == "Not" else None
