"""Reshapes that do nothing, though shape inference cannot tell: to the shape that their operand can only have.

Reshape(Reshape(scores [B, H, S, T] + mask [b, 1, s, t], [B * H, S, T]), [B, H, S, T])  ->  scores + mask

Of the sum it is known only that it has shape [max(B, b), H, max(S, s), max(T, t)].
"""

from __future__ import annotations

from tfgraph.ir.dims import Shape, broadcast_equal
from tfgraph.ir.graph import Node, Value
from tfgraph.passes.rewrite import Rewriter, RuleSet

BROADCAST_VIEWS = RuleSet()


@BROADCAST_VIEWS.rule("Reshape")
def drop_view_of_broadcast(node: Node, _rewriter: Rewriter) -> Value | None:
    """A reshape, or a reshape of a reshape, from `max(t, u)` to t along some axes and to the same along the others.

    A reshape keeps the number of elements, and no `max(t, u)` is less than t: so each of them is t. An output of the
    graph keeps the sizes that it is declared with.
    """
    shape = None if node.output.is_output else node.output.type.known_shape
    source = node.required(0)
    for _ in range(2):
        if shape is None or source.type.known_shape is None:
            return None
        if _broadcasts_to(source.shape, shape):
            return source
        inner = source.producer
        if inner is None or inner.key != "Reshape":
            return None
        source = inner.required(0)
    return None


def _broadcasts_to(given: Shape, wanted: Shape) -> bool:
    """Whether each size in `given` is that in `wanted`, or the larger of that and another."""
    return (
        len(given) == len(wanted)
        and given != wanted
        and all(dim == size or broadcast_equal(dim, size) == size for dim, size in zip(given, wanted, strict=True))
    )
