"""Attention over a cache of fixed length in the form that a target runs best: ONNX Runtime's GroupQueryAttention.

    CachedAttention(q, k, v, past_key, past_value, lengths)
        ->  GroupQueryAttention(q, k, v, past_key, past_value, lengths + S - 1, max(lengths) + S)

It reads the positions of the cache that are in use, where attention with a mask reads all of it. `uncover_positions`
runs before the fusion that finds `CachedAttention`, `use_group_query_attention` after it; where a target or its kernel
does not take one, the definition is written out again.
"""

from __future__ import annotations

import numpy as np

from tfgraph.capabilities import Capabilities
from tfgraph.ir.constant import ArrayConstant
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.passes.canonical.sizes import size_vector
from tfgraph.passes.cleanup import merge_equal_constants
from tfgraph.passes.legalise import inline_definition
from tfgraph.passes.report import WRITE_OUT, PassResult
from tfgraph.passes.rewrite import Rewriter, RuleSet

CACHED_ATTENTION = "tfgraph::CachedAttention"
GROUP_QUERY_ATTENTION = "com.microsoft::GroupQueryAttention"

_POSITIONS = RuleSet()
_LOWERING = RuleSet()


def runs_cached_attention(target: Capabilities, _key: str = "") -> bool:
    """Whether attention over a cache of fixed length is worth finding for a target."""
    return target.attention.cached_multiple > 0 and GROUP_QUERY_ATTENTION in target.operators


def uncover_positions(graph: Graph, target: Capabilities) -> PassResult:
    """Write the positions of a cache whose length is a number as `Range` again, as its definition has them."""
    if not runs_cached_attention(target) or not any(node.key == "TensorScatter" for node in graph):
        return PassResult()
    changes = _POSITIONS.apply(graph)
    if changes:
        merge_equal_constants(graph)
    return PassResult(changes)


def use_group_query_attention(graph: Graph, target: Capabilities) -> PassResult:
    """Replace `CachedAttention` by ONNX Runtime's operator; what its kernel does not take is written out again."""
    result = PassResult()
    if not runs_cached_attention(target):
        return result
    fitting = []
    for node in [node for node in graph if node.key == CACHED_ATTENTION]:
        if _problem(node, target):
            inline_definition(graph, node)
            result.changes[WRITE_OUT + node.key] += 1
        else:
            fitting.append(node)
    if fitting:
        result.changes[GROUP_QUERY_ATTENTION] += _LOWERING.apply(graph, fitting).total()
    return result


def _problem(node: Node, target: Capabilities) -> str | None:
    """Why the target's kernel does not take a node, or None if it does."""
    query, past_key, cos = node.required(0), node.required(3), node.input(6)
    size = past_key.shape[3]
    inside = cos is not None and cos.rank == 2
    multiple = target.attention.rotary_multiple if inside else target.attention.cached_multiple
    if not isinstance(size, int) or size % multiple:
        return f"its heads have {size} features: expected a multiple of {multiple}"
    dtypes = target.operators[GROUP_QUERY_ATTENTION].dtypes
    return f"it is over {query.dtype}" if dtypes and query.dtype not in dtypes else None


@_POSITIONS.rule("Sub")
def write_positions_as_range(node: Node, rewriter: Rewriter) -> Value | None:
    """The constant 0, 1, … [1, capacity] from which the positions of queries [batch, 1, S, 1] are taken: a `Range`."""
    positions, queries = node.required(0), node.required(1)
    constant = positions.constant
    if constant is None or len(constant.shape) != 2 or constant.dtype is not DType.INT64 or not constant.has_data:
        return None
    if queries.type.known_shape is None or queries.rank != 4 or queries.shape[3] != 1:
        return None
    capacity = constant.size
    if not np.array_equal(constant.numpy(), np.arange(capacity)[None]):
        return None
    bounds = [rewriter.constant(ArrayConstant(np.asarray(bound, np.int64)), "bound") for bound in (0, capacity, 1)]
    written = rewriter.emit("Reshape", [rewriter.emit("Range", bounds), rewriter.ints([1, -1])])
    return rewriter.emit("Sub", [written, queries])


@_LOWERING.rule(CACHED_ATTENTION)
def as_group_query_attention(node: Node, rewriter: Rewriter) -> tuple[Value, ...] | None:
    """Its own operator, with the numbers of keys for the number of cached positions."""
    query, key, value, past_key, past_value, lengths = (node.required(index) for index in range(6))
    cos, sin = node.input(6), node.input(7)
    if cos is not None and cos.rank == 3:  # the kernel takes tables only: turned before it
        query, key = (
            rewriter.emit(
                "RotaryEmbedding",
                [x, cos, sin],
                {
                    "num_heads": node.attributes[heads],
                    "interleaved": node.attributes.get("rotary_interleaved", 0),
                    "rotary_embedding_dim": node.attributes.get("rotary_dim", 0),
                },
            )
            for x, heads in ((query, "num_heads"), (key, "kv_num_heads"))
        )
        cos = sin = None
    seq = size_vector(rewriter, query, 1)
    one = rewriter.ints([1])
    totals = rewriter.emit("Add", [lengths, seq])  # [B]
    seqlens = rewriter.emit("Cast", [rewriter.emit("Sub", [totals, one])], {"to": "int32"})
    longest = rewriter.emit("ReduceMax", [totals, rewriter.ints([0])], {"keepdims": 0})
    total = rewriter.emit("Cast", [longest], {"to": "int32"})
    attributes = {
        name: node.attributes[name]
        for name in ("num_heads", "kv_num_heads", "rotary_interleaved", "scale", "softcap", "local_window_size")
        if node.attributes.get(name) is not None
    }
    if cos is not None:
        attributes["do_rotary"] = 1
    operands = [query, key, value, past_key, past_value, seqlens, total, cos, sin]
    if cos is None:
        operands = operands[:7]
    return rewriter.emit_all(GROUP_QUERY_ATTENTION, operands, attributes, 3)
