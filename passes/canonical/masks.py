"""Masks in front of a softmax: however many are added or chosen, they end up as one operand.

    (scores + bias) + mask                ->  scores + (bias + mask)
    Where(keep, scores, lowest) + mask    ->  scores + Where(keep, mask, lowest)
    scores * keep - (1 - keep) * 10000    ->  Where(keep, scores, -10000)

The second is exact for every query that may attend to something: what is masked has weight 0 in both.
"""

from __future__ import annotations

import math

from tfgraph.dsl.functions.attention import LOWEST
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Node, Value
from tfgraph.passes.rewrite import Rewriter, RuleSet, is_filled_with, scalar_of

MASKS = RuleSet()

_MASKED = -9999.0
"""A score at or below this is masked: the oldest checkpoints use -10,000."""

_LARGEST_SHIFT = 100.0
"""A larger number added to scores rounds them, up to making them all equal."""


@MASKS.rule("Softmax")
def gather_masks(node: Node, rewriter: Rewriter) -> Value | None:
    """Make all masks of one softmax one operand."""
    total = node.required(0)
    outer = total.producer
    if outer is None or outer.key != "Add" or total.num_uses != 1:
        return None
    for inner, mask in ((outer.required(0), outer.required(1)), (outer.required(1), outer.required(0))):
        gathered = _gathered(inner, mask, rewriter)
        if gathered is not None:
            return rewriter.emit("Softmax", [gathered], node.attributes)
    return None


def _gathered(inner: Value, mask: Value, rewriter: Rewriter) -> Value | None:
    node = inner.producer
    if node is None or inner.num_uses != 1 or inner.type.known_shape is None or mask.type.known_shape is None:
        return None
    if node.key == "Add":
        for scores, bias in ((node.required(0), node.required(1)), (node.required(1), node.required(0))):
            if _is_scores(scores):
                return rewriter.emit("Add", [scores, rewriter.emit("Add", [bias, mask])])
    if node.key == "Where":
        keep, scores, masked = node.required(0), node.required(1), scalar_of(node.input(2))
        if masked is not None and masked <= _MASKED and _is_scores(scores):
            return rewriter.emit("Add", [scores, rewriter.emit("Where", [keep, mask, node.required(2)])])
    return None


def _is_scores(value: Value) -> bool:
    """Whether `value` is a product of two activations, perhaps scaled."""
    node = value.producer
    if node is not None and node.key == "Mul" and scalar_of(node.input(1)) is not None:
        node = node.required(0).producer
    return node is not None and node.key == "MatMul" and node.required(1).constant is None


@MASKS.rule("Softmax")
def mask_by_where(node: Node, rewriter: Rewriter) -> Value | None:
    """A mask that replaces scores replaces them by the lowest finite number, and is of what may be seen.

    `Where(hidden, -10000, scores)` is `Where(Not(hidden), scores, lowest)`; `Where(keep, scores + bias, lowest)` is
    `scores + Where(keep, bias, lowest)`. A causal mask stays what it is.
    """
    total = node.required(0)
    where = total.producer
    if where is None or where.key != "Where" or total.num_uses != 1 or total.dtype not in LOWEST:
        return None
    keep, inner, number = where.required(0), where.required(1), scalar_of(where.input(2))
    hides = scalar_of(inner)
    if hides is not None and number is None:
        inner, number = where.required(2), hides
    else:
        hides = None
    if number is None or number > _MASKED or inner.type.known_shape is None or inner.type != total.type:
        return None
    parts = _scores_and_bias(inner)
    comparison = keep.producer
    if parts is None or (comparison is not None and comparison.key == "LessOrEqual"):
        return None
    scores, bias = parts
    if bias is None and hides is None and math.isclose(number, LOWEST[total.dtype], rel_tol=1e-6):
        return None
    if hides is not None:
        keep = rewriter.emit("Not", [keep])
    lowest = rewriter.scalar(LOWEST[total.dtype], total)
    if bias is None:
        masked = rewriter.emit("Where", [keep, scores, lowest])
    else:
        masked = rewriter.emit("Add", [scores, rewriter.emit("Where", [keep, bias, lowest])])
    return rewriter.emit("Softmax", [masked], node.attributes)


def _scores_and_bias(value: Value) -> tuple[Value, Value | None] | None:
    """`value` as scores and what is added to them, if anything is; None where it is no scores."""
    if _is_scores(value):
        return value, None
    node = value.producer
    if node is None or node.key != "Add" or value.num_uses != 1:
        return None
    for scores, bias in ((node.required(0), node.required(1)), (node.required(1), node.required(0))):
        if _is_scores(scores) and scores.type.known_shape == value.type.known_shape and not _is_scores(bias):
            return scores, bias
    return None


@MASKS.rule("Softmax")
def drop_shift(node: Node, rewriter: Rewriter) -> Value | None:
    """A softmax does not change when one number is added to all scores."""
    total = node.required(0)
    shift = total.producer
    number = None if shift is None or shift.key != "Add" else scalar_of(shift.input(1))
    if shift is None or number is None or not abs(number) <= _LARGEST_SHIFT:
        return None
    scores = shift.required(0)
    same = scores.type.known_shape is not None and scores.type.known_shape == total.type.known_shape
    return rewriter.emit("Softmax", [scores], node.attributes) if same else None


@MASKS.rule("Sub")
def mask_by_choice(node: Node, rewriter: Rewriter) -> Value | None:
    """`x * m - (1 - m) * c`, with m 0 or 1, is `Where(m, x, -c)`; x may be scaled."""
    kept, dropped = node.required(0).producer, node.required(1).producer
    if kept is None or dropped is None or kept.key != "Mul" or dropped.key != "Mul":
        return None
    inverse, penalty = dropped.required(0).producer, scalar_of(dropped.input(1))
    if inverse is None or inverse.key != "Sub" or penalty is None or not is_filled_with(inverse.input(0), 1.0):
        return None
    if kept.output.type.known_shape is None or kept.output.type.known_shape != node.output.type.known_shape:
        return None
    scale, inner = scalar_of(kept.input(1)), kept.required(0).producer
    if scale is not None and inner is not None and inner.key == "Mul":
        kept = inner
    for x, m in ((kept.required(0), kept.required(1)), (kept.required(1), kept.required(0))):
        test = _boolean(m, rewriter) if m is inverse.required(1) else None
        if test is not None:
            scores = x if scale is None else rewriter.emit("Mul", [x, rewriter.scalar(scale, x)])
            return rewriter.emit("Where", [test, scores, rewriter.scalar(-penalty, x)])
    return None


def _boolean(value: Value, rewriter: Rewriter) -> Value | None:
    """The boolean tensor of which `value` is the 0 and 1, or None where it is none."""
    node = value.producer
    if node is None:
        return None
    if node.key == "Cast":
        return node.required(0) if node.required(0).dtype is DType.BOOL else None
    if node.key == "Reshape":
        inner = _boolean(node.required(0), rewriter)
        return None if inner is None else rewriter.emit("Reshape", [inner, node.required(1)], node.attributes)
    return None
