"""Views: operators that only rearrange. Squeezes, flattenings and reshapes become one reshape; transposes merge.

A reshape's target is written with 0 where a symbolic size is copied and -1 where one is left over, so that shape
arithmetic in front of it dies.
"""

from __future__ import annotations

from tfgraph.ir.dims import Expr, Shape
from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.passes.canonical.scores import leads_to_softmax
from tfgraph.passes.rewrite import Rewriter, RuleSet, scalar_of

VIEWS = RuleSet()


def static_target(source: Shape, wanted: Shape) -> list[int] | None:
    """The constant target that makes a reshape from `source` give `wanted`, or None where there is none."""
    target: list[int | Expr] = [
        0 if isinstance(dim, Expr) and axis < len(source) and source[axis] == dim else dim
        for axis, dim in enumerate(wanted)
    ]
    if any(dim == 0 for dim in wanted):
        return None
    open_axes = [dim for dim in target if isinstance(dim, Expr)]
    if len(open_axes) > 1:
        return None
    return [-1 if isinstance(dim, Expr) else dim for dim in target]


def _reshape(rewriter: Rewriter, x: Value, shape: Shape) -> Value | None:
    target = static_target(x.shape, shape)
    return None if target is None else rewriter.emit("Reshape", [x, rewriter.ints(target)])


@VIEWS.rule("Squeeze", "Unsqueeze", "Flatten")
def view_is_reshape(node: Node, rewriter: Rewriter) -> Value | None:
    """`Squeeze`, `Unsqueeze` and `Flatten` are written as `Reshape`."""
    x, shape = node.required(0), node.output.type.known_shape
    if x.type.known_shape is None or shape is None or x.content is not None:
        return None
    return x if shape == x.shape else _reshape(rewriter, x, shape)


@VIEWS.rule("Reshape")
def simplify_reshape(node: Node, rewriter: Rewriter) -> Value | None:
    """A reshape to the same shape is nothing; a reshape of a reshape is one; a computed target becomes a constant."""
    x, shape = node.required(0), node.output.type.known_shape
    if x.type.known_shape is None or shape is None or x.content is not None:
        return None
    if shape == x.shape:
        return x
    inner = x.producer
    if inner is not None and inner.key == "Reshape":
        source = inner.required(0)
        if source.type.known_shape is not None:
            if source.shape == shape:
                return source
            merged = None if _is_interleaving(inner) else _reshape(rewriter, source, shape)
            if merged is not None:
                return merged
    target = static_target(x.shape, shape)
    given = node.required(1)
    if target is None or (given.constant is not None and given.content == tuple(target)):
        return None
    if not attribute(node, "allowzero") or given.constant is None:
        return rewriter.emit("Reshape", [x, rewriter.ints(target)])
    return None


def _is_interleaving(node: Node) -> bool:
    """Whether the reshape `node` folds two stacked values into one axis, as interleaved rotary embedding ends."""
    stacked, shape = node.required(0), node.output.type.known_shape
    if stacked.producer is None or stacked.producer.key != "Concat" or shape is None or stacked.rank < 2:
        return False
    *leading, size, count = stacked.shape
    return count == 2 and size != 1 and len(stacked.producer.inputs) == 2 and shape == (*leading, size * 2)


def _order(node: Node) -> tuple[int, ...]:
    given = attribute(node, "perm")
    return tuple(given) if given is not None else tuple(reversed(range(node.required(0).rank)))


@VIEWS.rule("Reshape")
def unflatten_transpose(node: Node, rewriter: Rewriter) -> Value | None:
    """A transpose between a reshape that flattens leading axes and one that restores them works on them as is."""
    turned = node.required(0).producer
    flattened = None if turned is None or turned.key != "Transpose" else turned.required(0).producer
    if turned is None or flattened is None or flattened.key != "Reshape":
        return None
    x, flat, shape = flattened.required(0), turned.required(0), node.output.type.known_shape
    if x.type.known_shape is None or shape is None or flat.rank == 0:
        return None
    leading = x.rank - flat.rank + 1
    order = _order(turned)
    if leading < 2 or order[0] != 0 or x.shape[leading:] != flat.shape[1:]:
        return None
    moved = tuple(x.shape[leading + axis - 1] for axis in order[1:])
    if shape != x.shape[:leading] + moved:
        return None
    return rewriter.emit("Transpose", [x], {"perm": (*range(leading), *(leading + axis - 1 for axis in order[1:]))})


@VIEWS.rule("Reshape")
def flatten_after_transpose(node: Node, rewriter: Rewriter) -> Value | None:
    """A transpose between a reshape that folds axes and another reshape works on the axes before they are folded."""
    turned = node.required(0).producer
    folded = None if turned is None or turned.key != "Transpose" else turned.required(0).producer
    if turned is None or folded is None or folded.key != "Reshape" or turned.output.num_uses != 1:
        return None
    x, flat, shape = folded.required(0), turned.required(0), node.output.type.known_shape
    if x.type.known_shape is None or shape is None:
        return None
    groups = _folded_groups(x.shape, flat.shape)
    if groups is None:
        return None
    order = tuple(axis for group in _order(turned) for axis in groups[group])
    moved = rewriter.emit("Transpose", [x], {"perm": order})
    if moved.shape == shape:
        return moved
    target = static_target(moved.shape, shape)
    return None if target is None else rewriter.emit("Reshape", [moved, rewriter.ints(target)])


def _folded_groups(source: Shape, folded: Shape) -> list[list[int]] | None:
    """The axes of `source` that each axis of `folded` is made of; None where it is no folding of neighbours."""
    groups: list[list[int]] = []
    axis = 0
    for size in folded:
        group, found = [axis], source[axis] if axis < len(source) else None
        while found is not None and found != size and group[-1] + 1 < len(source):
            group.append(group[-1] + 1)
            found = found * source[group[-1]]
        if found != size:
            return None
        groups.append(group)
        axis = group[-1] + 1
    return groups if axis == len(source) and len(groups) < len(source) else None


@VIEWS.rule("Softmax")
def softmax_before_folding(node: Node, rewriter: Rewriter) -> Value | None:
    """The softmax of scores whose batch and heads were folded into one axis works on them before they are folded."""
    flat = node.required(0)
    if flat.producer is None or flat.producer.key != "Reshape" or attribute(node, "axis") != -1:
        return None
    x = flat.producer.required(0)
    if x.type.known_shape is None or flat.type.known_shape is None or (x.rank, flat.rank) != (4, 3):
        return None
    if x.shape[2:] != flat.shape[1:]:
        return None
    return rewriter.emit("Reshape", [rewriter.emit("Softmax", [x], node.attributes), flat.producer.required(1)])


@VIEWS.rule("Reshape")
def softmax_after_unfolding(node: Node, rewriter: Rewriter) -> Value | None:
    """The softmax of scores over one axis for batch and heads, taken apart afterwards, works on them taken apart."""
    softmax, shape = node.required(0).producer, node.output.type.known_shape
    if softmax is None or softmax.key != "Softmax" or softmax.output.num_uses != 1 or shape is None:
        return None
    flat = softmax.required(0)
    if flat.type.known_shape is None or (flat.rank, len(shape)) != (3, 4) or shape[2:] != flat.shape[1:]:
        return None
    if attribute(softmax, "axis") != -1:
        return None
    apart = rewriter.emit("Reshape", [flat, node.required(1)], node.attributes)
    return rewriter.emit("Softmax", [apart], softmax.attributes)


def matrix_transpose(rank: int) -> tuple[int, ...]:
    """The permutation that exchanges the last two axes."""
    return (*range(rank - 2), rank - 1, rank - 2)


@VIEWS.rule("Transpose")
def merge_transposes(node: Node, rewriter: Rewriter) -> Value | None:
    """A transpose that moves nothing is nothing; a transpose of a transpose is one.

    The exchange of the last two axes in front of a matrix product stays by itself: see `part_matrix_transpose`. So do
    two in front of scores, which `turn_keys` puts there.
    """
    x = node.required(0)
    if x.type.known_shape is None:
        return None
    order = _order(node)
    if order == tuple(range(len(order))):
        return x
    inner = x.producer
    if inner is not None and inner.key == "Transpose":
        first = _order(inner)
        merged = tuple(first[axis] for axis in order)
        if merged == tuple(range(len(order))) and _are_keys(node.output):
            return None
        if len(order) == 2 or order != matrix_transpose(len(order)) or merged == tuple(range(len(order))):
            return rewriter.emit("Transpose", [inner.required(0)], {"perm": merged})
    return rewriter.emit("Transpose", [x], {"perm": order}) if "perm" not in node.attributes else None


@VIEWS.rule("Transpose")
def transpose_of_product(node: Node, rewriter: Rewriter) -> Value | None:
    """`(a b)^T` is `b^T a^T`, for a product of two activations of which one is transposed already. It may be scaled."""
    inner, scale = node.required(0).producer, None
    if inner is not None and inner.key == "Mul" and inner.output.num_uses == 1:
        scale, inner = scalar_of(inner.input(1)), inner.required(0).producer
        if scale is None:
            return None
    if inner is None or inner.key != "MatMul" or inner.output.num_uses != 1 or node.output.type.known_shape is None:
        return None
    left, right, swap = inner.required(0), inner.required(1), matrix_transpose(node.output.rank)
    if len(swap) < 3 or _order(node) != swap or left.type.known_shape is None or right.type.known_shape is None:
        return None
    if left.rank != right.rank or left.constant is not None or right.constant is not None:
        return None
    if not any(_is_swap(value) for value in (left, right)) or (left.producer and left.producer.key == "Softmax"):
        return None
    turned = [rewriter.emit("Transpose", [value], {"perm": swap}) for value in (right, left)]
    product = rewriter.emit("MatMul", turned)
    return product if scale is None else rewriter.emit("Mul", [product, rewriter.scalar(scale, product)])


def _is_swap(value: Value) -> bool:
    node = value.producer
    return node is not None and node.key == "Transpose" and _order(node) == matrix_transpose(value.rank)


def _are_keys(value: Value) -> bool:
    """Whether `value` is read by nothing but products that give scores, as their second operand."""
    return bool(value.users) and all(
        user.key == "MatMul" and user.input(1) is value and user.output.rank == 4 and leads_to_softmax(user.output)
        for user in value.users
    )


@VIEWS.rule("MatMul")
def part_matrix_transpose(node: Node, rewriter: Rewriter) -> Value | None:
    """In `MatMul(a, Transpose(x))` that sums over the last axis of x, the exchange of the last two axes comes last.

    So the transposed keys of attention look the same whether an exporter merged their transposes or not.
    """
    right = node.required(1)
    if right.producer is None or right.producer.key != "Transpose":
        return None
    if right.type.known_shape is None or right.rank < 3:
        return None
    order, swap = _order(right.producer), matrix_transpose(right.rank)
    if order == swap or order[-2] != right.rank - 1:
        return None
    heads = rewriter.emit("Transpose", [right.producer.required(0)], {"perm": tuple(order[axis] for axis in swap)})
    return rewriter.emit("MatMul", [node.required(0), rewriter.emit("Transpose", [heads], {"perm": swap})])
