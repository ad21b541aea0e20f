"""Attention within windows, as in Swin: windows of all images in one axis, each window of an image with its mask.

Reshape(Reshape(scores, [B, W, H, S, S]) + mask [1, W, 1, S, S], [B * W, H, S, S])
-> scores + Reshape(Expand(mask, [B, W, 1, S, S]), [B * W, 1, S, S])
"""

from __future__ import annotations

from tfgraph.ir.graph import Node, Value
from tfgraph.passes.canonical.sizes import axis_of_input, size_vector
from tfgraph.passes.rewrite import Rewriter, RuleSet

WINDOWS = RuleSet()


@WINDOWS.rule("Reshape")
def mask_by_window(node: Node, rewriter: Rewriter) -> Value | None:
    """The mask of each window is repeated for every image, and added to the scores as they are."""
    total, shape = node.required(0).producer, node.output.type.known_shape
    if total is None or total.key != "Add" or total.output.num_uses != 1 or shape is None:
        return None
    apart = total.output.type.known_shape
    if apart is None or (len(apart), len(shape)) != (5, 4) or apart[2:] != shape[1:]:
        return None
    for view, mask in ((total.required(0), total.required(1)), (total.required(1), total.required(0))):
        inner = view.producer
        if inner is None or inner.key != "Reshape" or view.num_uses != 1 or view.type.known_shape != apart:
            continue
        scores = inner.required(0)
        if scores.type.known_shape != shape or mask.type.known_shape is None or mask.rank != 5:
            continue
        if mask.shape[0] != 1 or mask.shape[1:] != (apart[1], 1, *apart[3:]):
            continue
        images = apart[0]
        if not isinstance(images, int):
            found = axis_of_input(rewriter.graph, images)
            if found is None:
                return None
            batch = size_vector(rewriter, *found)
        else:
            batch = rewriter.ints([images])
        spread = rewriter.emit("Expand", [mask, rewriter.emit("Concat", [batch, rewriter.ints([1] * 4)], {"axis": 0})])
        sizes = [rewriter.ints([-1, 1]), *(size_vector(rewriter, mask, axis) for axis in (3, 4))]
        folded = rewriter.emit("Reshape", [spread, rewriter.emit("Concat", sizes, {"axis": 0})])
        return rewriter.emit("Add", [scores, folded])
    return None
