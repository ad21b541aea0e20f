"""Attention within windows, as in Swin: windows of all images in one axis, each window of an image with its mask.

Reshape(Reshape(scores, [B, W, H, S, S]) + mask [1, W, 1, S, S], [B * W, H, S, S])
-> scores + Reshape(Expand(mask, [B, W, 1, S, S]), [B * W, 1, S, S])
"""

from __future__ import annotations

from tfgraph.ir.dims import Dim
from tfgraph.ir.graph import Node, Value
from tfgraph.passes.canonical.sizes import axis_of_input, size_vector
from tfgraph.passes.rewrite import Rewriter, RuleSet

WINDOWS = RuleSet()

_MOST_STEPS = 8


@WINDOWS.rule("Reshape")
def mask_by_window(node: Node, rewriter: Rewriter) -> Value | None:
    """The mask of each window is repeated for every image, and added to the scores as they are."""
    total, shape = node.required(0).producer, node.output.type.known_shape
    if total is None or total.key != "Add" or total.output.num_uses != 1 or shape is None:
        return None
    apart = total.output.type.known_shape
    if apart is None or (len(apart), len(shape)) != (5, 4) or apart[2:] != shape[1:]:
        return None
    fixed = [dim for dim in apart[1:] if isinstance(dim, int)]
    if len(fixed) != 4:
        return None
    of_image, _, *square = fixed
    for view, mask in ((total.required(0), total.required(1)), (total.required(1), total.required(0))):
        inner = view.producer
        if inner is None or inner.key != "Reshape" or view.num_uses != 1 or view.type.known_shape != apart:
            continue
        scores = inner.required(0)
        if scores.type.known_shape is None or scores.rank != 4 or mask.type.known_shape is None or mask.rank != 5:
            continue
        if scores.shape[1:] != shape[1:]:  # then there are as many windows, since reshapes keep the number of elements
            continue
        if mask.shape[0] != 1 or mask.shape[1:] != (apart[1], 1, *apart[3:]):
            continue
        counts = _counts(scores, apart[0], of_image, rewriter)
        if counts is None:
            return None
        images, windows = counts
        spread = rewriter.emit("Concat", [images, rewriter.ints([of_image, 1, *square])], {"axis": 0})
        target = rewriter.emit("Concat", [windows, rewriter.ints([1, *square])], {"axis": 0})
        folded = rewriter.emit("Reshape", [rewriter.emit("Expand", [mask, spread]), target])
        return rewriter.emit("Add", [scores, folded])
    return None


def _counts(scores: Value, images: Dim, of_image: int, rewriter: Rewriter) -> tuple[Value, Value] | None:
    """The number of images and of windows in all, as vectors of one, read off what is no part of the attention.

    An image has `of_image` windows.
    """
    if isinstance(images, int):
        return rewriter.ints([images]), rewriter.ints([-1])
    found = axis_of_input(rewriter.graph, images)
    if found is not None:
        return size_vector(rewriter, *found), rewriter.ints([-1])
    node = scores.producer
    for _ in range(_MOST_STEPS):
        if node is None or node.key == "MatMul":
            break
        node = node.required(0).producer
    if node is None or node.key != "MatMul" or node.output.type.known_shape != scores.type.known_shape:
        return None
    queries = node.required(0)
    if queries.type.known_shape is None or queries.rank != 4 or queries.shape[0] != scores.shape[0]:
        return None
    windows = size_vector(rewriter, queries, 0)
    return rewriter.emit("Div", [windows, rewriter.ints([of_image])]), windows
