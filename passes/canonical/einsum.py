"""Einsum of two operands becomes transposes and a matrix product."""

from __future__ import annotations

from string import ascii_letters

from tfgraph.ir.dims import Dim, product
from tfgraph.ir.graph import Node, Value
from tfgraph.passes.canonical.views import static_target
from tfgraph.passes.rewrite import Rewriter, RuleSet

EINSUM = RuleSet()


@EINSUM.rule("Einsum")
def einsum_is_matmul(node: Node, rewriter: Rewriter) -> Value | None:
    """`Einsum("bqhd,bkhd->bhqk")` is a batched matrix product between transposes.

    Labels in both operands and the result are batch axes, those in both operands alone are summed over, and the rest
    are rows or columns. Left alone are repeated labels, and labels of one operand that are summed over.
    """
    terms = _parse(node)
    if terms is None:
        return None
    left, right, result = terms
    a, b = node.required(0), node.required(1)
    sizes: dict[str, Dim] = dict(zip(right, b.shape, strict=True)) | dict(zip(left, a.shape, strict=True))
    batch = [label for label in result if label in left and label in right]
    summed = [label for label in left if label in right and label not in result]
    rows = [label for label in result if label in left and label not in right]
    columns = [label for label in result if label in right and label not in left]
    if batch and rows and columns and result.index(columns[0]) < result.index(rows[0]):  # as (b a)^T
        left, right, a, b, rows, columns = right, left, b, a, columns, rows
    if set(left) != {*batch, *summed, *rows} or set(right) != {*batch, *summed, *columns} or not summed:
        return None
    if any(sizes[label] != dim for label, dim in zip(right, b.shape, strict=True)):  # it would be broadcast
        return None
    order = [*batch, *rows, *columns]
    if batch:
        first = _grouped(rewriter, a, left, batch, (rows, summed), sizes)
    else:  # a product with a matrix takes any number of rows
        first = _grouped(rewriter, a, left, rows, (summed,), sizes)
    second = _grouped(rewriter, b, right, batch, (summed, columns), sizes)
    if first is None or second is None:
        return None
    value = rewriter.emit("MatMul", [first, second])
    if (batch and len(rows) != 1) or len(columns) != 1:
        target = static_target(value.shape, tuple(sizes[label] for label in order))
        if target is None:
            return None
        value = rewriter.emit("Reshape", [value, rewriter.ints(target)])
    return rewriter.emit("Transpose", [value], {"perm": tuple(order.index(label) for label in result)})


def _parse(node: Node) -> tuple[str, str, str] | None:
    equation = node.attributes.get("equation")
    if not isinstance(equation, str) or "->" not in equation or len(node.inputs) != 2:
        return None
    if any(value is None or value.type.known_shape is None for value in node.inputs):
        return None
    operands, _, result = equation.replace(" ", "").partition("->")
    left, _, right = operands.partition(",")
    if "..." in equation:
        counts = {node.required(index).rank - len(term) + 3 for index, term in enumerate((left, right)) if "." in term}
        spare = [label for label in ascii_letters if label not in equation]
        if len(counts) != 1 or not 0 <= max(counts) <= len(spare):
            return None
        axes = "".join(spare[: counts.pop()])
        left, right, result = (term.replace("...", axes) for term in (left, right, result))
    if any(len(set(term)) != len(term) for term in (left, right, result)):
        return None
    return left, right, result


def _grouped(
    rewriter: Rewriter,
    value: Value,
    labels: str,
    leading: list[str],
    groups: tuple[list[str], ...],
    sizes: dict[str, Dim],
) -> Value | None:
    """`value` as [leading…, groups…], each group folded into one axis."""
    order = [*leading, *(label for group in groups for label in group)]
    moved = rewriter.emit("Transpose", [value], {"perm": tuple(labels.index(label) for label in order)})
    if all(len(group) == 1 for group in groups):
        return moved
    folded = (*(sizes[label] for label in leading), *(product(sizes[label] for label in group) for group in groups))
    target = static_target(moved.shape, folded)
    return None if target is None else rewriter.emit("Reshape", [moved, rewriter.ints(target)])
