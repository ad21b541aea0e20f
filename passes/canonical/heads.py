"""Heads: an axis of their own, and keys and values that several query heads share repeated in one way.

MatMul(q [B, H, S, D], k [B, 1, D, T])  ->  MatMul(q, Reshape(Expand([B, 1, 1, D, T] to [B, 1, H, D, T])))
Reshape(MatMul [B * H, S, T] + bias)    ->  Reshape(MatMul) + Reshape(bias)
"""

from __future__ import annotations

from tfgraph.ir.dims import Shape, broadcast_equal
from tfgraph.ir.graph import Node, Value
from tfgraph.passes.canonical.linear import restored
from tfgraph.passes.canonical.scores import leads_to_softmax
from tfgraph.passes.canonical.sizes import axis_of_input, size_vector
from tfgraph.passes.canonical.views import matrix_transpose, static_target
from tfgraph.passes.rewrite import Rewriter, RuleSet, scalar_of

HEADS = RuleSet()

_MOST_STEPS = 8


@HEADS.rule("MatMul")
def write_out_single_head(node: Node, rewriter: Rewriter) -> Value | None:
    """The one head of keys or values that a product in attention broadcasts over all queries is repeated."""
    left, right = node.required(0), node.required(1)
    if left.type.known_shape is None or right.type.known_shape is None or left.rank != 4 or right.rank != 4:
        return None
    heads = left.shape[1]
    if right.shape[1] != 1 or not isinstance(heads, int) or heads == 1 or right.constant is not None:
        return None
    if right.shape[0] != left.shape[0]:
        return None
    if not (_is_softmax(left) or leads_to_softmax(node.output)):
        return None
    turned = right.producer
    if turned is not None and turned.key == "Transpose" and turned.attributes.get("perm") == matrix_transpose(4):
        repeated = _repeated(turned.required(0), heads, rewriter)
        keys = None if repeated is None else rewriter.emit("Transpose", [repeated], {"perm": matrix_transpose(4)})
    else:
        keys = _repeated(right, heads, rewriter)
    return None if keys is None else rewriter.emit("MatMul", [left, keys])


@HEADS.rule("Reshape")
def unflatten_masked_scores(node: Node, rewriter: Rewriter) -> Value | None:
    """Scores whose batch and heads are folded into one axis are masked after these are restored."""
    total, shape = node.required(0), node.output.type.known_shape
    if total.producer is None or total.num_uses != 1 or shape is None:
        return None
    if len(shape) != 4 or total.rank != 3 or shape[2:] != total.shape[1:]:
        return None
    if total.producer.key == "Where":
        keep, scores, lowest = (total.producer.required(index) for index in range(3))
        if scalar_of(lowest) is None or not _is_flat(scores, total):
            return None
        chosen = _with_heads(keep, shape[:2], node, rewriter) if scores.shape == total.shape else None
        apart = rewriter.emit("Reshape", [scores, node.required(1)], node.attributes)
        return None if chosen is None else rewriter.emit("Where", [chosen, apart, lowest])
    if total.producer.key != "Add":
        return None
    operands = total.producer.required(0), total.producer.required(1)
    for scores, bias in (operands, operands[::-1]):
        restored_bias = _with_heads(bias, shape[:2], node, rewriter) if _is_flat(scores, total) else None
        target = None if restored_bias is None else _target(scores, node, rewriter)
        if restored_bias is not None and target is not None:
            product = rewriter.emit("Reshape", [scores, target], node.attributes)
            return rewriter.emit("Add", [product, restored_bias])
    return None


def _target(scores: Value, view: Node, rewriter: Rewriter) -> Value | None:
    """The target of `view` for `scores`, which may have fewer columns than what it reshapes: a bias may broadcast."""
    if scores.shape == view.required(0).shape:
        return view.required(1)
    sizes = []
    for dim in view.output.shape[:3]:
        if isinstance(dim, int):
            sizes.append(rewriter.ints([dim]))
            continue
        found = axis_of_input(rewriter.graph, dim)
        if found is None:
            return None
        sizes.append(size_vector(rewriter, *found))
    return rewriter.emit("Concat", [*sizes, rewriter.ints([-1])], {"axis": 0})


def _is_flat(scores: Value, total: Value, steps: int = _MOST_STEPS) -> bool:
    """Whether `scores` is a product of rank 3 as large as `total`, perhaps scaled and biased."""
    node = scores.producer
    if node is None or steps == 0 or scores.num_uses != 1 or scores.type.known_shape is None or scores.rank != 3:
        return False
    *leading, columns = scores.shape
    if tuple(leading) != total.shape[:2] or not (
        columns == total.shape[2] or broadcast_equal(columns, total.shape[2]) is not None
    ):
        return False
    if node.key == "Mul" and scalar_of(node.input(1)) is not None:
        return _is_flat(node.required(0), total, steps - 1)
    if node.key == "Add":
        return any(_is_flat(node.required(index), total, steps - 1) for index in (0, 1))
    return node.key == "MatMul" and node.required(0).constant is None and node.required(1).constant is None


@HEADS.rule("MatMul")
def separate_heads(node: Node, rewriter: Rewriter) -> Value | None:
    """Weights [B * H, S, T] times values that a view has folded from [B, H, T, D] are so for each head by itself."""
    weights, values = node.required(0), node.required(1)
    if weights.producer is None or weights.producer.key != "Softmax" or weights.num_uses != 1:
        return None
    if any(value.type.known_shape is None or value.rank != 3 for value in (weights, values)):
        return None
    apart = restored(values, rewriter)
    if apart is None or apart.rank != 4 or apart.shape[0] * apart.shape[1] != weights.shape[0]:
        return None
    wanted = (*apart.shape[:2], *weights.shape[1:])
    given = static_target(weights.shape, wanted)
    if given is None:
        sizes = [size_vector(rewriter, apart, 0), size_vector(rewriter, apart, 1), size_vector(rewriter, values, 1)]
        target = rewriter.emit("Concat", [*sizes[:2], rewriter.ints([-1]), sizes[2]], {"axis": 0})
    else:
        target = rewriter.ints(given)
    flat = static_target((*wanted[:3], apart.shape[3]), node.output.shape)
    result = rewriter.emit("MatMul", [rewriter.emit("Reshape", [weights, target]), apart])
    if result.shape[:3] != wanted[:3]:
        return None
    if flat is not None:
        return rewriter.emit("Reshape", [result, rewriter.ints(flat)])
    shape = [rewriter.ints([-1]), *(size_vector(rewriter, result, axis) for axis in (2, 3))]
    return rewriter.emit("Reshape", [result, rewriter.emit("Concat", shape, {"axis": 0})])


@HEADS.rule("MatMul")
def turn_keys(node: Node, rewriter: Rewriter) -> Value | None:
    """Keys kept as [B, H, D, T] come out of a transpose, like all others: it and its inverse stand in front of them."""
    queries, keys = node.required(0), node.required(1)
    if any(
        value.type.known_shape is None or value.rank != 4 or value.constant is not None
        for value in node.inputs
        if value is not None
    ):
        return None
    if keys.producer is None or keys.producer.key == "Transpose" or not leads_to_softmax(node.output):
        return None
    swap = {"perm": matrix_transpose(4)}
    turned = rewriter.emit("Transpose", [rewriter.emit("Transpose", [keys], swap)], swap)
    return rewriter.emit("MatMul", [queries, turned])


@HEADS.rule("MatMul")
def weights_before_values(node: Node, rewriter: Rewriter) -> Value | None:
    """Values kept as [B, H, D, T], `v p^T` for weights p, are `(p v^T)^T`."""
    values, turned = node.required(0), node.required(1)
    if turned.producer is None or turned.producer.key != "Transpose" or values.constant is not None:
        return None
    if turned.type.known_shape is None or values.type.known_shape is None or values.rank != turned.rank:
        return None
    swap = {"perm": matrix_transpose(turned.rank)}
    weights = turned.producer.required(0)
    if turned.rank < 3 or turned.producer.attributes.get("perm") != swap["perm"] or not _is_softmax(weights):
        return None
    product = rewriter.emit("MatMul", [weights, rewriter.emit("Transpose", [values], swap)])
    return rewriter.emit("Transpose", [product], swap)


def _with_heads(mask: Value, heads: Shape, view: Node, rewriter: Rewriter) -> Value | None:
    """[B * H, R, C] -> [B, H, R, C], read from in front of the reshape that folded it where there is one.

    `view` is the reshape that restores the scores. A mask of all heads alike stays so.
    """
    if mask.type.known_shape is None or mask.rank > 3:
        return None
    if mask.rank < 3:
        return mask
    if mask.type.known_shape == view.required(0).type.known_shape:
        return rewriter.emit("Reshape", [mask, view.required(1)], view.attributes)
    if mask.shape[0] == 1:
        return rewriter.emit("Unsqueeze", [mask, rewriter.ints([0])])
    if mask.shape[0] != heads[0] * heads[1]:
        return None
    wanted = (*heads, *mask.shape[1:])
    sources = [mask]
    if mask.producer is not None and mask.producer.key == "Reshape":
        sources.insert(0, mask.producer.required(0))
    for source in sources:
        target = None if source.type.known_shape is None else static_target(source.shape, wanted)
        if target is not None:
            return rewriter.emit("Reshape", [source, rewriter.ints(target)])
    if not isinstance(heads[1], int):
        return None
    sizes = [rewriter.ints([-1, heads[1]]), *(size_vector(rewriter, mask, axis) for axis in (1, 2))]
    return rewriter.emit("Reshape", [mask, rewriter.emit("Concat", sizes, {"axis": 0})])


def _repeated(x: Value, heads: int, rewriter: Rewriter) -> Value | None:
    """[B, 1, T, D] -> [B, heads, T, D]."""
    batch, _, seq, size = x.shape
    view = x.producer
    folded = view is not None and view.key in ("Reshape", "Unsqueeze")
    if view is not None and folded and view.required(0).type.known_shape == (batch, seq, size):
        apart = static_target((batch, seq, size), (batch, seq, 1, size))
        if apart is None:
            return None
        x = rewriter.emit("Reshape", [view.required(0), rewriter.ints(apart)])
        x = rewriter.emit("Transpose", [x], {"perm": (0, 2, 1, 3)})
    if not isinstance(size, int):
        return None
    x = rewriter.emit("Reshape", [x, rewriter.ints([0, 1, 1, -1, size])])
    x = rewriter.emit("Expand", [x, rewriter.ints([1, 1, heads, 1, 1])])
    return rewriter.emit("Reshape", [x, rewriter.ints([0, heads, -1, size])])


def _is_softmax(value: Value) -> bool:
    node = value.producer
    while node is not None and node.key == "Cast":
        node = node.required(0).producer
    return node is not None and node.key == "Softmax"
