"""Packing the projections of self-attention: three products with one input become one product with a wider weight.

    MHA(x Wq + bq, x Wk + bk, x Wv + bv)  ->  MHA(Split(x [Wq Wk Wv] + [bq bk bv]))

The wide weight is a handle over the three; nothing is copied before the file is written. With the projection inside,
ONNX Runtime's `Attention` is then found by its definition. `GroupQueryAttention` takes the wide product as it is, so
that a step of decoding has one product instead of three.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfgraph.capabilities import Capabilities
from tfgraph.ir.constant import ArrayConstant, Constant
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.transforms import concatenated
from tfgraph.passes.cached_attention import GROUP_QUERY_ATTENTION, runs_cached_attention
from tfgraph.passes.report import PassResult
from tfgraph.passes.rewrite import Rewriter, RuleSet

PROJECTIONS = RuleSet()
GATES = RuleSet()
_ACTIVATIONS = frozenset({"com.microsoft::QuickGelu", "Gelu", "Relu", "Sigmoid", "Swish"})


@dataclass(frozen=True)
class Projection:
    """A linear layer `x @ weight + bias` with constant parameters."""

    x: Value
    weight: Constant
    bias: Constant | None


def linear_layer(value: Value | None) -> Projection | None:
    """The linear layer that gives `value` to one reader alone, or None where it is not one."""
    if value is None or value.num_uses != 1 or value.producer is None:
        return None
    product, bias = value.producer, None
    if product.key == "Add":
        bias = product.required(1).constant
        inner = product.required(0)
        if bias is None or len(bias.shape) != 1 or inner.num_uses != 1 or inner.producer is None:
            return None
        product = inner.producer
    if product.key != "MatMul":
        return None
    weight = product.required(1).constant
    if weight is None or len(weight.shape) != 2 or (bias is not None and bias.shape != weight.shape[1:]):
        return None
    return Projection(product.required(0), weight, bias)


@PROJECTIONS.rule("com.microsoft::MultiHeadAttention")
def pack_projections(node: Node, rewriter: Rewriter) -> Value | None:
    """Pack the projections of query, key and value where all three work on the same input."""
    layers = [linear_layer(node.input(index)) for index in range(3)]
    found = [layer for layer in layers if layer is not None]
    if len(found) != 3 or len({id(layer.x) for layer in found}) != 1 or node.input(3) is not None:
        return None
    if len({layer.weight.shape for layer in found}) != 1:
        return None
    weight = rewriter.constant(concatenated([layer.weight for layer in found], axis=1), "qkv.weight")
    packed = rewriter.emit("MatMul", [found[0].x, weight])
    biases = [layer.bias if layer.bias is not None else _zeros(layer.weight) for layer in found]
    packed = rewriter.emit("Add", [packed, rewriter.constant(concatenated(biases, axis=0), "qkv.bias")])
    parts = rewriter.emit_all("Split", [packed], {"axis": -1, "num_outputs": 3}, 3)
    return rewriter.emit(node.key, [*parts, *node.inputs[3:]], node.attributes)


@PROJECTIONS.rule("com.microsoft::GroupQueryAttention")
def pack_cached_projections(node: Node, rewriter: Rewriter) -> tuple[Value, ...] | None:
    """The same for attention over a cache, whose keys and values may have fewer heads than its queries."""
    layers = [linear_layer(node.input(index)) for index in range(3)]
    found = [layer for layer in layers if layer is not None]
    if len(found) != 3 or len({id(layer.x) for layer in found}) != 1:
        return None
    if len({(layer.weight.shape[0], layer.weight.dtype) for layer in found}) != 1:
        return None
    weight = rewriter.constant(concatenated([layer.weight for layer in found], axis=1), "qkv.weight")
    packed = rewriter.emit("MatMul", [found[0].x, weight])
    if any(layer.bias is not None for layer in found):
        biases = [layer.bias if layer.bias is not None else _zeros(layer.weight) for layer in found]
        packed = rewriter.emit("Add", [packed, rewriter.constant(concatenated(biases, axis=0), "qkv.bias")])
    return rewriter.emit_all(node.key, [packed, None, None, *node.inputs[3:]], node.attributes, len(node.outputs))


def _zeros(weight: Constant) -> Constant:
    return ArrayConstant(np.zeros(weight.shape[1], weight.dtype.numpy()))


@GATES.rule("Mul")
def pack_gate(node: Node, rewriter: Rewriter) -> Value | None:
    """`act(x Wg) * (x Wu)` becomes two halves of one product, its activation any operator of one operand."""
    for gate_index in (0, 1):
        gate, up = node.required(gate_index), node.required(1 - gate_index)
        activation = gate.producer
        if activation is None or activation.key not in _ACTIVATIONS or gate.num_uses != 1:
            continue
        layers = [linear_layer(activation.required(0)), linear_layer(up)]
        found = [layer for layer in layers if layer is not None and layer.bias is None]
        if len(found) != 2 or found[0].x is not found[1].x or found[0].weight.shape != found[1].weight.shape:
            continue
        if found[0].weight.dtype is not found[1].weight.dtype:
            continue
        weight = rewriter.constant(concatenated([layer.weight for layer in found], axis=1), "gate_up.weight")
        packed = rewriter.emit("MatMul", [found[0].x, weight])
        first, second = rewriter.emit_all("Split", [packed], {"axis": -1, "num_outputs": 2}, 2)
        turned = rewriter.emit(activation.key, [first, *activation.inputs[1:]], activation.attributes)
        return rewriter.emit("Mul", [turned, second])
    return None


def pack(graph: Graph, target: Capabilities) -> PassResult:
    """Pack all projections that the target runs best so: inside of attention, or as its one operand.

    Where attention is over a cache in place, a step is one row, and gates of the MLP are packed too: one product of one
    row takes less than two of half its width (3 % of a token of SmolLM2-135M in 8 bits, on two threads; reading a
    prompt takes as long either way).
    """
    inside = target.attention.layout == "microsoft" and "com.microsoft::Attention" in target.operators
    cached = runs_cached_attention(target) and any(node.key == GROUP_QUERY_ATTENTION for node in graph)
    result = PassResult(PROJECTIONS.apply(graph)) if inside or cached else PassResult()
    if cached:
        result.changes += GATES.apply(graph)
    return result
