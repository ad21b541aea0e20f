"""Linear layers: every spelling becomes `MatMul` with a weight of shape [in, out], and an `Add` of the bias."""

from __future__ import annotations

from tfgraph.ir.dims import exact_div, product
from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.passes.canonical.views import matrix_transpose, static_target
from tfgraph.passes.rewrite import Rewriter, RuleSet, scalar_of

LINEAR = RuleSet()


@LINEAR.rule("Gemm")
def gemm_is_matmul(node: Node, rewriter: Rewriter) -> Value:
    """`Gemm(a, b, c)` is written `MatMul(a, b) * alpha + c * beta`, with its transposes outside."""
    a, b, c = node.required(0), node.required(1), node.input(2)
    if attribute(node, "transA"):
        a = rewriter.emit("Transpose", [a], {"perm": (1, 0)})
    if attribute(node, "transB"):
        b = rewriter.emit("Transpose", [b], {"perm": (1, 0)})
    result = rewriter.emit("MatMul", [a, b])
    alpha, beta = attribute(node, "alpha"), attribute(node, "beta")
    if alpha != 1.0:
        result = rewriter.emit("Mul", [result, rewriter.scalar(alpha, result)])
    if c is None or beta == 0.0:
        return result
    if beta != 1.0:
        c = rewriter.emit("Mul", [c, rewriter.scalar(beta, c)])
    return rewriter.emit("Add", [result, c])


@LINEAR.rule("MatMul")
def unflatten_matmul(node: Node, rewriter: Rewriter) -> Value | None:
    """`MatMul(Reshape(x, [-1, in]), w)` works on x with its leading axes; the reshape moves behind it.

    There it meets its inverse. Axes of x that the reshape folds into `in`, such as heads, are folded first.
    """
    flat, weight = node.required(0), node.required(1)
    if weight.type.known_shape is None or weight.rank != 2 or flat.producer is None or flat.producer.key != "Reshape":
        return None
    x = flat.producer.required(0)
    if x.type.known_shape is None or flat.rank != 2 or x.rank < 3:
        return None
    kept = next((axis for axis in range(1, x.rank) if product(x.shape[axis:]) == flat.shape[1]), None)
    width = weight.shape[1]
    if kept is None or kept < 2 or not isinstance(width, int):
        return None
    if kept != x.rank - 1:
        target = static_target(x.shape, (*x.shape[:kept], flat.shape[1]))
        if target is None:
            return None
        x = rewriter.emit("Reshape", [x, rewriter.ints(target)])
    result = rewriter.emit("MatMul", [x, weight])
    return rewriter.emit("Reshape", [result, rewriter.ints([-1, width])])


@LINEAR.rule("Add")
def unflatten_bias(node: Node, rewriter: Rewriter) -> Value | None:
    """`Reshape(y, [-1, out]) + bias` adds before the reshape."""
    flat, bias = node.required(0), node.required(1)
    if bias.constant is None or bias.rank > 1 or flat.producer is None or flat.producer.key != "Reshape":
        return None
    x = flat.producer.required(0)
    if flat.num_uses != 1 or x.type.known_shape is None or not x.shape or flat.rank == 0:
        return None
    if x.shape[-1] != flat.shape[-1] or flat.type.known_shape != node.output.type.known_shape:
        return None
    total = rewriter.emit("Add", [x, bias])
    return rewriter.emit("Reshape", [total, flat.producer.required(1)])


@LINEAR.rule("Reshape")
def unflatten_product(node: Node, rewriter: Rewriter) -> Value | None:
    """A product between a reshape that flattens the batch axes and one that restores them works on them as is.

    It may be scaled.
    """
    product_node, shape, scale = node.required(0).producer, node.output.type.known_shape, None
    if product_node is not None and product_node.key == "Mul" and product_node.output.num_uses == 1:
        scale, product_node = scalar_of(product_node.input(1)), product_node.required(0).producer
        if scale is None:
            return None
    while product_node is not None and product_node.key == "Reshape" and product_node.output.num_uses == 1:
        product_node = product_node.required(0).producer
    if product_node is None or product_node.key != "MatMul" or shape is None or len(shape) < 4:
        return None
    if product_node.output.rank != 3 or product_node.output.num_uses != 1:
        return None
    left, right = restored(product_node.required(0), rewriter), restored(product_node.required(1), rewriter)
    if left is None or right is None or left.shape[:-2] != right.shape[:-2]:
        return None
    if (*left.shape[:-2], *product_node.output.shape[1:]) != shape:
        return None
    result = rewriter.emit("MatMul", [left, right])
    return result if scale is None else rewriter.emit("Mul", [result, rewriter.scalar(scale, result)])


def restored(value: Value, rewriter: Rewriter) -> Value | None:
    """`value`, of rank 3, with the batch axes that a reshape had folded into its first; None where none had."""
    node = value.producer
    if node is None:
        return None
    x = node.required(0)
    if node.key == "Reshape":
        return _with_batch_axes(x, value, rewriter)
    if node.key == "Transpose" and node.attributes.get("perm") == (0, 2, 1):
        inner = restored(x, rewriter)
        swap = None if inner is None else matrix_transpose(inner.rank)
        return None if inner is None else rewriter.emit("Transpose", [inner], {"perm": swap or ()})
    if node.key == "Transpose" and node.attributes.get("perm") == (1, 0, 2):
        return _with_heads_first(x, rewriter)
    return None


def _with_heads_first(flat: Value, rewriter: Rewriter) -> Value | None:
    """`flat` [seq, batch * heads, size], reshaped from [seq, batch, heads * size], as [batch, heads, seq, size]."""
    view = flat.producer
    if view is None or view.key != "Reshape" or view.required(0).type.known_shape is None:
        return None
    x, size = view.required(0), flat.shape[2]
    heads = exact_div(x.shape[2], size) if x.rank == 3 else None
    if heads is None or x.shape[1] * heads != flat.shape[1]:  # the number of elements says the rest
        return None
    target = static_target(x.shape, (*x.shape[:2], heads, size))
    if target is None:
        return None
    apart = rewriter.emit("Reshape", [x, rewriter.ints(target)])
    return rewriter.emit("Transpose", [apart], {"perm": (1, 2, 0, 3)})


def _with_batch_axes(x: Value, flat: Value, rewriter: Rewriter) -> Value | None:
    """`flat` [batch, m, k], reshaped from x, as [batch axes of x…, m, k]; axes of size 1 are left out."""
    if x.type.known_shape is None or x.rank < 4:
        return None
    for count in range(1, x.rank):
        axes = tuple(dim for dim in x.shape[:count] if dim != 1)
        if len(axes) > 1 and product(axes) == flat.shape[0] and product(x.shape[count:]) == product(flat.shape[1:]):
            wanted = (*axes, *flat.shape[1:])
            if x.shape == wanted:
                return x
            target = static_target(x.shape, wanted)
            return None if target is None else rewriter.emit("Reshape", [x, rewriter.ints(target)])
    return None
