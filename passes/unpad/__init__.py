"""Unpadding: of a padded batch, linear layers, norms and activations run on real tokens only.

Texts of different lengths make a batch [B, S] by padding. Attention alone looks at more than one token; all else works
on each token by itself, so that the tokens can be packed into [total, H]. At each attention, queries, keys and values
are put back into their places, where its mask hides padding, and its result is packed again. All is plain operators.

Results at real tokens are what they were. At padding, an output that has a row for each token has zeros; what was
there before is nothing that a model means. Under dynamic quantisation the range of a tensor is that of real tokens.

Source of the idea: Zeng et al., "Boosting Distributed Training Performance of the Unpadded BERT Model", 2022.
"""

from __future__ import annotations

from tfgraph.capabilities import Capabilities
from tfgraph.ir.build import refresh_types
from tfgraph.ir.graph import Graph, Node
from tfgraph.passes.report import NearMiss, PassResult
from tfgraph.passes.unpad.pack import pack
from tfgraph.passes.unpad.padding import Padding, masks_of
from tfgraph.passes.unpad.region import choose
from tfgraph.passes.unpad.rows import HEAVY
from tfgraph.passes.unpad.spread import spread_of

__all__ = ["UNPADDED", "unpad"]

UNPADDED = "unpadded"
"""The graph's metadata that names the mask by which tokens were packed."""

_RULE = "unpad"


def unpad(graph: Graph, target: Capabilities) -> PassResult:
    """Pack the tokens of `graph`, if it takes a mask of them and nothing but attention mixes tokens.

    The mask is an input [B, S], both sizes open, that is 0 at padding and something else at a token. In the report,
    `unpad` counts the nodes that run on packed tokens; a graph that is left as it was has the reason there.
    """
    result = PassResult()
    misses: list[NearMiss] = []
    for mask in masks_of(graph):
        padding = Padding(mask)
        hiding = [node for node in graph if node.key == "Attention" and padding.is_hidden(node.input(3))]
        if not hiding:
            continue
        chosen = choose(graph, padding)
        if not any(node.key in HEAVY for node in chosen):
            continue
        spread = spread_of(graph, chosen, padding)
        if spread.harm:
            misses += [_miss(node, reason) for node, reason in spread.harm[:1]]
            continue
        pack(graph, chosen, padding, zeroed=spread.zeroed, outputs=spread.outputs, places=spread.places)
        refresh_types(graph)
        graph.metadata[UNPADDED] = mask.name
        result.changes[_RULE] += len(chosen)
        return result
    result.near_misses += misses or _reasons(graph)
    return result


def _miss(node: Node, reason: str) -> NearMiss:
    return NearMiss("run on packed tokens", node.describe(), reason, 0, 0)


def _reasons(graph: Graph) -> list[NearMiss]:
    """Why no mask of tokens was found."""
    attention = next((node for node in graph if node.key == "Attention"), None)
    if attention is not None:
        if attention.input(3) is None:
            return [_miss(attention, "it has no mask, so that nothing tells padding from tokens")]
        if attention.input(4) is not None:
            return [
                _miss(attention, "it has keys and values of earlier tokens, to which tokens without padding are added")
            ]
        asked = "an input [batch, seq] of open sizes, over the same tokens, that is 0 at padding"
        return [_miss(attention, f"its mask does not hide the tokens of {asked}")]
    softmax = next((node for node in graph if node.key in ("Softmax", "com.microsoft::MultiHeadAttention")), None)
    return [] if softmax is None else [_miss(softmax, "packing needs ONNX's Attention, and the graph has none")]
