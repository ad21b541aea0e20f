"""Masks in front of a softmax: however many are added or chosen, they end up as one operand.

    (scores + bias) + mask                ->  scores + (bias + mask)
    Where(keep, scores, lowest) + mask    ->  scores + Where(keep, mask, lowest)
    (scores + mask) * c                   ->  scores * c + mask * c
    scores - mask                         ->  scores + mask * -1

The second is exact for every query that may attend to something: what is masked has weight 0 in both.
"""

from __future__ import annotations

import math

from tfgraph.dsl.functions.attention import LOWEST
from tfgraph.ir.dims import broadcast_equal
from tfgraph.ir.graph import Node, Value
from tfgraph.passes.canonical.scores import leads_to_softmax
from tfgraph.passes.rewrite import Rewriter, RuleSet, scalar_of

MASKS = RuleSet()

MASKED = -9999.0
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
        if masked is not None and masked <= MASKED and _is_scores(scores):
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
    if number is None or number > MASKED or inner.type.known_shape is None or not _is_same(inner, total, node):
        return None
    is_lowest = hides is None and math.isclose(number, LOWEST[total.dtype], rel_tol=1e-6)
    if hides is None and _is_causal(keep):
        if is_lowest:
            return None
        masked = rewriter.emit("Where", [keep, inner, rewriter.scalar(LOWEST[total.dtype], total)])
        return rewriter.emit("Softmax", [masked], node.attributes)
    parts = _scores_and_bias(inner, node)
    if parts is None or (is_lowest and parts[1] is None):
        return None
    scores, bias = parts
    if hides is not None:
        keep = rewriter.emit("Not", [keep])
    lowest = rewriter.scalar(LOWEST[total.dtype], total)
    if bias is None:
        masked = rewriter.emit("Where", [keep, scores, lowest])
    else:
        masked = rewriter.emit("Add", [scores, rewriter.emit("Where", [keep, bias, lowest])])
    return rewriter.emit("Softmax", [masked], node.attributes)


def _is_causal(keep: Value) -> bool:
    """Whether `keep` compares positions as the definition of causal attention does: [1, keys] <= [queries, 1]."""
    node = keep.producer
    if node is None or node.key != "LessOrEqual" or keep.type.known_shape is None or keep.rank != 2:
        return False
    view = node.required(0).producer
    columns = view.required(0).producer if view is not None and view.key in ("Reshape", "Unsqueeze") else None
    return columns is not None and columns.key == "Range"


def _scores_and_bias(value: Value, softmax: Node) -> tuple[Value, Value | None] | None:
    """`value` as scores and what is added to them, if anything is; None where it is no scores."""
    if _is_scores(value):
        return value, None
    node = value.producer
    if node is None or node.key != "Add" or value.num_uses != 1:
        return None
    for scores, bias in ((node.required(0), node.required(1)), (node.required(1), node.required(0))):
        if _is_scores(scores) and _is_same(scores, value, softmax) and not _is_scores(bias):
            return scores, bias
    return None


def _is_same(scores: Value, total: Value, softmax: Node) -> bool:
    """Whether `total`, scores and what broadcasts with them, has the shape of `scores`.

    Where it is not known that a mask has as many columns as there are keys, the product with the values says so.
    """
    if scores.type.known_shape is None or total.type.known_shape is None or scores.rank != total.rank:
        return False
    if scores.shape == total.shape:
        return True
    keys = {
        user.required(1).shape[-2]
        for user in softmax.output.users
        if user.key == "MatMul" and user.input(0) is softmax.output and user.required(1).type.known_shape is not None
    }
    *leading, columns = scores.shape
    agree = columns in keys and broadcast_equal(columns, total.shape[-1]) is not None
    return agree and tuple(leading) == total.shape[:-1]


@MASKS.rule("Mul")
def scale_inside_mask(node: Node, rewriter: Rewriter) -> Value | None:
    """`(scores + mask) * c` is `scores * c + mask * c`, and `Where(keep, scores, lowest) * c` chooses scaled scores."""
    factor, masked = scalar_of(node.input(1)), node.required(0).producer
    if factor is None or masked is None or masked.output.num_uses != 1 or not leads_to_softmax(node.output):
        return None
    if masked.output.type.known_shape is None or masked.output.type.known_shape != node.output.type.known_shape:
        return None
    scale = node.required(1)
    if masked.key == "Where":
        keep, scores, lowest = masked.required(0), masked.required(1), scalar_of(masked.input(2))
        if lowest is None or not (lowest <= MASKED and lowest * factor <= MASKED) or not _is_scores(scores):
            return None
        return rewriter.emit("Where", [keep, rewriter.emit("Mul", [scores, scale]), masked.required(2)])
    if masked.key == "Add":
        for scores, mask in ((masked.required(0), masked.required(1)), (masked.required(1), masked.required(0))):
            if _is_scores(scores) and mask.type.known_shape is not None and not _is_scores(mask):
                scaled = rewriter.emit("Mul", [scores, scale])
                return rewriter.emit("Add", [scaled, rewriter.emit("Mul", [mask, scale])])
    return None


@MASKS.rule("Sub")
def add_negated_mask(node: Node, rewriter: Rewriter) -> Value | None:
    """`scores - mask` is `scores + mask * -1`, on the way to a softmax."""
    scores, mask = node.required(0), node.required(1)
    if not _is_scores(scores) or _is_scores(mask) or mask.constant is not None or not leads_to_softmax(node.output):
        return None
    if mask.producer is not None and mask.producer.key == "ReduceMax":  # the largest score: see `drop_largest`
        return None
    return rewriter.emit("Add", [scores, rewriter.emit("Mul", [mask, rewriter.scalar(-1.0, mask)])])


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
