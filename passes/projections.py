"""Packing the projections of self-attention: three products with one input become one product with a wider weight.

    MHA(x Wq + bq, x Wk + bk, x Wv + bv)  ->  MHA(Split(x [Wq Wk Wv] + [bq bk bv]))

The wide weight is a handle over the three; nothing is copied before the file is written. With the projection inside,
ONNX Runtime's `Attention` is then found by its definition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfgraph.capabilities import Capabilities
from tfgraph.ir.constant import ArrayConstant, Constant
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.transforms import concatenated
from tfgraph.passes.report import PassResult
from tfgraph.passes.rewrite import Rewriter, RuleSet

PROJECTIONS = RuleSet()


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


def _zeros(weight: Constant) -> Constant:
    return ArrayConstant(np.zeros(weight.shape[1], weight.dtype.numpy()))


def pack(graph: Graph, target: Capabilities) -> PassResult:
    """Pack all projections, if the target runs attention best with them inside."""
    if target.attention.layout != "microsoft" or "com.microsoft::Attention" not in target.operators:
        return PassResult()
    return PassResult(PROJECTIONS.apply(graph))
