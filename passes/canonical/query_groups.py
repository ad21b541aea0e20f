"""Grouped queries in an axis of their own: q [B, K, G, S, D] with keys and values [B, K, 1, T, D] get four axes.

    softmax(q k^T) v  ->  heads [B, K * G, S, D], with keys and values repeated for the queries of a group

Applied late: windows and other axes in this place are no groups where a mask tells them apart.
"""

from __future__ import annotations

from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.passes.canonical.views import matrix_transpose
from tfgraph.passes.rewrite import Rewriter, RuleSet, scalar_of

QUERY_GROUPS = RuleSet()

_MOST_STEPS = 8


@QUERY_GROUPS.rule("MatMul")
def fold_query_groups(node: Node, rewriter: Rewriter) -> Value | None:
    """Weights [B, K, G, S, T] times values [B, K, 1, T, D] are [B, K * G, S, T] times repeated values."""
    weights, values = node.required(0), node.required(1)
    softmax = weights.producer
    if softmax is None or softmax.key != "Softmax" or weights.num_uses != 1 or attribute(softmax, "axis") != -1:
        return None
    shape = weights.type.known_shape
    if shape is None or len(shape) != 5:
        return None
    kv_heads, groups = shape[1], shape[2]
    if not isinstance(kv_heads, int) or not isinstance(groups, int):
        return None
    scores = _folded_scores(softmax.required(0), (kv_heads, groups), rewriter, _MOST_STEPS)
    repeated = None if scores is None else _repeated(values, (kv_heads, groups), rewriter)
    size = node.output.shape[-1]
    if scores is None or repeated is None or not isinstance(size, int) or shape[0] != scores.shape[0]:
        return None
    product = rewriter.emit("MatMul", [rewriter.emit("Softmax", [scores], softmax.attributes), repeated])
    return rewriter.emit("Reshape", [product, rewriter.ints([0, kv_heads, groups, -1, size])])


def _folded_scores(value: Value, heads: tuple[int, int], rewriter: Rewriter, steps: int) -> Value | None:
    """Scores [B, K, G, S, T], scaled and masked, as [B, K * G, S, T]; None for anything else."""
    node = value.producer
    if node is None or steps == 0 or value.num_uses != 1 or value.type.known_shape is None or value.rank != 5:
        return None
    if node.key == "MatMul":
        queries, keys = node.required(0), _repeated(node.required(1), heads, rewriter)
        if keys is None or queries.type.known_shape is None or queries.rank != 5 or queries.shape[1:3] != heads:
            return None
        size = queries.shape[-1]
        if queries.constant is not None or not isinstance(size, int):
            return None
        folded = rewriter.emit("Reshape", [queries, rewriter.ints([0, heads[0] * heads[1], -1, size])])
        return rewriter.emit("MatMul", [folded, keys])
    if node.key == "Mul" and scalar_of(node.input(1)) is not None:
        scores = _folded_scores(node.required(0), heads, rewriter, steps - 1)
        return None if scores is None else rewriter.emit("Mul", [scores, node.required(1)])
    if node.key == "Where" and scalar_of(node.input(2)) is not None:
        keep = _mask(node.required(0), rewriter)
        scores = _folded_scores(node.required(1), heads, rewriter, steps - 1)
        found = keep is not None and scores is not None
        return rewriter.emit("Where", [keep, scores, node.required(2)]) if found else None
    if node.key == "Add":
        for inner, bias in ((node.required(0), node.required(1)), (node.required(1), node.required(0))):
            mask, scores = _mask(bias, rewriter), _folded_scores(inner, heads, rewriter, steps - 1)
            if mask is not None and scores is not None:
                return rewriter.emit("Add", [scores, mask])
    return None


def _mask(mask: Value, rewriter: Rewriter) -> Value | None:
    """A mask that all heads share, without the axis of groups."""
    shape = mask.type.known_shape
    if shape is None or len(shape) <= 2:
        return mask if shape is not None else None
    if len(shape) != 5 or shape[1:3] != (1, 1):
        return None
    return rewriter.emit("Squeeze", [mask, rewriter.ints([2])])


def _repeated(x: Value, heads: tuple[int, int], rewriter: Rewriter) -> Value | None:
    """[B, K, 1, R, C] -> [B, K * G, R, C], each head G times in a row; in front of the transpose of keys."""
    kv_heads, groups = heads
    shape, node = x.type.known_shape, x.producer
    if shape is None or len(shape) != 5 or shape[1:3] != (kv_heads, 1) or x.constant is not None:
        return None
    if node is not None and node.key == "Transpose" and node.attributes.get("perm") == matrix_transpose(5):
        turned = _repeated(node.required(0), heads, rewriter)
        return None if turned is None else rewriter.emit("Transpose", [turned], {"perm": matrix_transpose(4)})
    if not isinstance(shape[4], int):
        return None
    spread = rewriter.emit("Expand", [x, rewriter.ints([1, 1, groups, 1, 1])])
    return rewriter.emit("Reshape", [spread, rewriter.ints([0, kv_heads * groups, -1, shape[4]])])
