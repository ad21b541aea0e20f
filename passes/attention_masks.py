"""Masks for kernels that add a mask to the scores and do not broadcast it over queries or keys.

A boolean mask becomes a bias of 0 and the lowest finite number, and a bias is written out over queries and keys. For
kernels that take one number a key, a mask that is made of such numbers (1 token, 0 padding) is instead written as
`Where(tokens == 0, lowest, 0)` over [batch, 1, 1, keys], the form that their definitions have.
"""

from __future__ import annotations

import numpy as np

from tfgraph.capabilities import Capabilities
from tfgraph.dsl.functions.attention import LOWEST
from tfgraph.ir.build import add_array
from tfgraph.ir.dims import Dim, broadcast_equal
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.passes.canonical.sizes import size_vector
from tfgraph.passes.canonical.views import VIEWS
from tfgraph.passes.report import PassResult
from tfgraph.passes.rewrite import Replacement, Rewriter, RuleSet

_TOKENS = RuleSet(VIEWS)
_WHOLE = RuleSet(VIEWS)


def prepare_masks(graph: Graph, target: Capabilities) -> PassResult:
    """Rewrite the masks of all attention nodes, if the target's kernels want whole masks to add."""
    if not target.attention.adds_whole_mask:
        return PassResult()
    return PassResult((_TOKENS if target.attention.layout == "microsoft" else _WHOLE).apply(graph))


def write_out_masks(graph: Graph, target: Capabilities) -> PassResult:
    """Write out the masks of tokens that no kernel for them has taken."""
    return PassResult(_WHOLE.apply(graph)) if target.attention.adds_whole_mask else PassResult()


@_TOKENS.rule("Attention")
def mask_by_tokens(node: Node, rewriter: Rewriter) -> tuple[Value, ...] | None:
    """A boolean mask made of one integer a key becomes a bias made of it."""
    mask = node.input(3)
    if mask is None or mask.dtype is not DType.BOOL or mask.type.known_shape is None:
        return None
    if mask.rank != 4 or mask.shape[1:3] != (1, 1):
        return None
    tokens = _tokens(mask)
    if tokens is None or tokens.shape != (mask.shape[0], mask.shape[3]):
        return None
    if tokens.dtype is not DType.INT32:
        tokens = rewriter.emit("Cast", [tokens], {"to": "int32"})
    zero = add_array(rewriter.graph, np.asarray(0, np.int32), "padding")
    padded = rewriter.emit("Reshape", [rewriter.emit("Equal", [tokens, zero]), rewriter.ints([0, 1, 1, -1])])
    return _with_mask(node, rewriter, _bias(node, rewriter, padded, masked_where=True))


@_TOKENS.rule("Attention")
@_WHOLE.rule("Attention")
def add_boolean_mask(node: Node, rewriter: Rewriter) -> tuple[Value, ...] | None:
    """Any other boolean mask becomes a bias."""
    mask = node.input(3)
    if mask is None or mask.dtype is not DType.BOOL:
        return None
    return _with_mask(node, rewriter, _bias(node, rewriter, mask, masked_where=False))


@_TOKENS.rule("Attention")
def write_out_other_bias(node: Node, rewriter: Rewriter) -> Replacement:
    """A bias is written out, unless it is made of tokens."""
    bias = node.input(3)
    return None if bias is None or _is_made_of_tokens(bias) else write_out_bias(node, rewriter)


@_WHOLE.rule("Attention")
def write_out_bias(node: Node, rewriter: Rewriter) -> tuple[Value, ...] | None:
    """A bias that broadcasts over queries or keys, or has fewer than four axes, is expanded."""
    bias, query, key = node.input(3), node.required(0), node.required(1)
    if bias is None or bias.dtype is DType.BOOL or any(value.type.known_shape is None for value in (bias, query, key)):
        return None
    if query.rank != 4:
        return None
    past = node.input(4)
    keys = key.shape[2] if past is None else key.shape[2] + past.shape[2]
    if bias.rank == 4 and _same(bias.shape[2], query.shape[2]) and _same(bias.shape[3], keys):
        return None
    columns = size_vector(rewriter, key, 2)
    if past is not None:
        columns = rewriter.emit("Add", [columns, size_vector(rewriter, past, 2)])
    rows = size_vector(rewriter, query, 2)
    target = rewriter.emit("Concat", [rewriter.ints([1, 1]), rows, columns], {"axis": -1})
    return _with_mask(node, rewriter, rewriter.emit("Expand", [bias, target]))


def _bias(node: Node, rewriter: Rewriter, test: Value, *, masked_where: bool) -> Value:
    """0 where a key may be seen and the lowest number where not; `test` is true for the one or the other."""
    query = node.required(0)
    lowest, zero = rewriter.scalar(LOWEST[query.dtype], query), rewriter.scalar(0.0, query)
    return rewriter.emit("Where", [test, lowest, zero] if masked_where else [test, zero, lowest])


def _tokens(mask: Value) -> Value | None:
    """The integers [batch, keys] of which `mask` says whether they are not 0."""
    value = mask
    while value.producer is not None and value.producer.key in ("Reshape", "Unsqueeze", "Cast"):
        value = value.producer.required(0)
        if value.dtype.is_integer and value.type.known_shape is not None and value.rank == 2:
            return value
    return None


def _is_made_of_tokens(bias: Value) -> bool:
    """Whether `bias` is what `mask_by_tokens` makes."""
    node = bias.producer
    if node is None or node.key != "Where" or bias.type.known_shape is None or bias.rank != 4:
        return False
    if bias.shape[1:3] != (1, 1):
        return False
    view = node.required(0).producer
    test = view.required(0).producer if view is not None and view.key == "Reshape" else None
    return test is not None and test.key == "Equal" and test.required(0).dtype is DType.INT32


def _same(left: Dim, right: Dim) -> bool:
    return left == right or broadcast_equal(left, right) is not None


def _with_mask(node: Node, rewriter: Rewriter, mask: Value) -> tuple[Value, ...]:
    inputs = (*node.inputs[:3], mask, *node.inputs[4:])
    return rewriter.emit_all("Attention", inputs, node.attributes, len(node.outputs))
