"""Masks for kernels that add: a boolean mask becomes a bias of 0 and the lowest finite number.

A mask that comes from one number a key (1 token, 0 padding) is written as `Where(mask == 0, lowest, 0)` over
[batch, 1, 1, keys], the form in which ONNX Runtime's attention definitions have it, so that the kernel can be given the
numbers themselves. Any other mask is written out over queries and keys, since the kernels do not broadcast those axes.
"""

from __future__ import annotations

import numpy as np

from tfgraph.capabilities import Capabilities
from tfgraph.dsl.functions.attention import LOWEST
from tfgraph.ir.build import add_array
from tfgraph.ir.dims import Dim, broadcast_equal
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.passes.canonical.views import VIEWS
from tfgraph.passes.report import PassResult
from tfgraph.passes.rewrite import Rewriter, RuleSet

MASKS = RuleSet()


@MASKS.rule("Attention")
def add_boolean_mask(node: Node, rewriter: Rewriter) -> tuple[Value, ...] | None:
    """`Attention(…, mask)` with a boolean mask adds a bias instead."""
    mask = node.input(3)
    if mask is None or mask.dtype is not DType.BOOL:
        return None
    query = node.required(0)
    lowest, zero = rewriter.scalar(LOWEST[query.dtype], query), rewriter.scalar(0.0, query)
    tokens = _tokens(mask)
    if tokens is not None and mask.rank == 4 and mask.shape[1:3] == (1, 1):
        if tokens.dtype is not DType.INT32:
            tokens = rewriter.emit("Cast", [tokens], {"to": "int32"})
        padded = rewriter.emit("Equal", [tokens, _zero(rewriter)])
        bias = rewriter.emit("Where", [rewriter.emit("Reshape", [padded, rewriter.ints([0, 1, 1, -1])]), lowest, zero])
    else:
        bias = rewriter.emit("Where", [mask, zero, lowest])
    return _with_mask(node, rewriter, bias)


def _zero(rewriter: Rewriter) -> Value:
    return add_array(rewriter.graph, np.asarray(0, np.int32), "padding")


def _tokens(mask: Value) -> Value | None:
    """The integers [batch, keys] of which `mask` says whether they are not 0."""
    value = mask
    while value.producer is not None and value.producer.key in ("Reshape", "Unsqueeze", "Cast"):
        value = value.producer.required(0)
        if value.dtype.is_integer:
            return value if value.type.known_shape is not None and value.rank == 2 else None
    return None


@MASKS.rule("Attention")
def write_out_bias(node: Node, rewriter: Rewriter) -> tuple[Value, ...] | None:
    """A bias that broadcasts over queries or keys, or has fewer than four axes, is expanded; a padding bias is kept."""
    bias, query, key = node.input(3), node.required(0), node.required(1)
    if bias is None or bias.dtype is DType.BOOL or query.rank != 4:
        return None
    queries, keys = query.shape[2], _total_keys(node)
    if bias.rank == 4 and (_same(bias.shape[2], queries) and _same(bias.shape[3], keys) or _is_padding_bias(bias)):
        return None
    total = rewriter.emit("Shape", [key], {"start": 2, "end": 3})
    if node.input(4) is not None:
        total = rewriter.emit("Add", [total, rewriter.emit("Shape", [node.required(4)], {"start": 2, "end": 3})])
    rows = rewriter.emit("Shape", [query], {"start": 2, "end": 3})
    target = rewriter.emit("Concat", [rewriter.ints([1, 1]), rows, total], {"axis": 0})
    return _with_mask(node, rewriter, rewriter.emit("Expand", [bias, target]))


def _same(left: Dim, right: Dim) -> bool:
    return left == right or broadcast_equal(left, right) is not None


def _total_keys(node: Node) -> Dim:
    past = node.input(4)
    keys = node.required(1).shape[2]
    return keys if past is None else keys + past.shape[2]


def _is_padding_bias(bias: Value) -> bool:
    node = bias.producer
    if node is None or node.key != "Where" or bias.rank != 4 or bias.shape[1:3] != (1, 1):
        return False
    view = node.required(0).producer
    return (
        view is not None
        and view.key == "Reshape"
        and (padded := view.required(0).producer) is not None
        and (padded.key == "Equal" and padded.required(0).dtype is DType.INT32)
    )


def _with_mask(node: Node, rewriter: Rewriter, mask: Value) -> tuple[Value, ...]:
    inputs = (*node.inputs[:3], mask, *node.inputs[4:])
    return rewriter.emit_all("Attention", inputs, node.attributes, len(node.outputs))


def masks_for_adding_kernels(graph: Graph, target: Capabilities) -> PassResult:
    """Rewrite the masks of all attention nodes, if the target has ONNX Runtime's attention kernels."""
    if "com.microsoft::MultiHeadAttention" not in target.operators:
        return PassResult()
    return PassResult(RuleSet(MASKS, VIEWS).apply(graph))
