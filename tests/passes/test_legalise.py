"""Legalisation: what a target refuses is written out by its definition, until everything runs."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.capabilities import Capabilities, Support
from tfgraph.dsl import functional as F
from tfgraph.errors import TargetError, UnknownOperatorError
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.dtypes import DType
from tfgraph.ir.optable import all_specs
from tfgraph.ir.types import TensorType
from tfgraph.ir.verify import verify
from tfgraph.passes.legalise import inline_definition, legalise, refusal

F32 = np.float32
PLAIN = Capabilities("plain", opset=24, ir_version=12)


def target(operators):
    return Capabilities("test", opset=24, ir_version=12, domains={"com.microsoft": 1}, operators=operators)


@pytest.fixture
def legal(graph_of, same_numbers):
    """`legal(forward, target, **specs)`: the graph and what was changed; the numbers are those of before."""

    def run(forward, capabilities, sizes=({},), **specs):
        before = graph_of(forward, **specs)
        after = copy_graph(before)
        result = legalise(after, capabilities)
        verify(after)
        same_numbers(before, after, sizes)
        assert all(refusal(node, capabilities) is None for node in after)
        return after, dict(result.changes)

    return run


HALF = np.ones(8, np.float16)


def cached(op, key, x):
    """Attention over a cache of 8 positions, empty for five new tokens and half full for one."""
    cache = F.expand(np.ones((1, 2, 8, 4), F32), (x.shape[0], 2, 8, 4))
    nothing = F.cast(x[:, 0, 0] * 0.0, "int64")  # [batch]
    counts = [nothing] if key.startswith("tfgraph") else [F.cast(nothing + 4, "int32"), F.cast(F.as_tensor(5), "int32")]
    return op(key, x, F.sin(x), F.cos(x), cache, cache, *counts, num_heads=2, kv_num_heads=2, outputs=3)


INT8 = np.arange(-24, 24, dtype=np.int8).reshape(8, 6)
SCALES = np.linspace(0.01, 0.02, 6, dtype=F32)
PACKED = np.arange(48, dtype=np.uint8).reshape(6, 1, 8)  # 6 columns, one block of 16 weights in 4 bits
ROWS = np.arange(24, dtype=np.uint8).reshape(6, 4)  # 6 rows of 8 elements in 4 bits

COMPOSITES = {
    "Gelu": lambda op: lambda x: op("Gelu", x, approximate="tanh"),
    "Swish": lambda op: lambda x: op("Swish", x, alpha=0.5),
    "LayerNormalization": lambda op: lambda x: op("LayerNormalization", x, np.ones(8, F32), np.ones(8, F32), axis=1),
    "RMSNormalization": lambda op: lambda x: op("RMSNormalization", x, np.ones(8, F32)),
    "SimplifiedLayerNormalization": lambda op: lambda x: op("SimplifiedLayerNormalization", x, np.ones(8, F32)),
    "com.microsoft::Gelu": lambda op: lambda x: op("com.microsoft::Gelu", x),
    "com.microsoft::BiasGelu": lambda op: lambda x: op("com.microsoft::BiasGelu", x, np.ones(8, F32)),
    "com.microsoft::FastGelu": lambda op: lambda x: op("com.microsoft::FastGelu", x, np.ones(8, F32)),
    "com.microsoft::QuickGelu": lambda op: lambda x: op("com.microsoft::QuickGelu", x),
    "com.microsoft::SkipLayerNormalization": lambda op: (
        lambda x: op(
            "com.microsoft::SkipLayerNormalization", x, F.sin(x), np.ones(8, F32), None, np.ones(8, F32), outputs=4
        )
    ),
    "com.microsoft::SkipSimplifiedLayerNormalization": lambda op: (
        lambda x: op("com.microsoft::SkipSimplifiedLayerNormalization", x, F.sin(x), np.ones(8, F32), outputs=4)
    ),
    "RotaryEmbedding": lambda op: (
        lambda x: op("RotaryEmbedding", F.unsqueeze(x, (1,)), F.cos(x[..., :4]), F.sin(x[..., :4]), interleaved=1)
    ),
    "Attention": lambda op: lambda x: op("Attention", x, x, x, None, q_num_heads=2, kv_num_heads=2, is_causal=1),
    "com.microsoft::MultiHeadAttention": lambda op: (
        lambda x: op("com.microsoft::MultiHeadAttention", x, F.sin(x), F.cos(x), num_heads=2, unidirectional=1)
    ),
    "com.microsoft::Attention": lambda op: (
        lambda x: op("com.microsoft::Attention", x, np.ones((8, 24), F32), np.ones(24, F32), num_heads=4)
    ),
    "tfgraph::CachedAttention": lambda op: lambda x: cached(op, "tfgraph::CachedAttention", x),
    "com.microsoft::DynamicQuantizeMatMul": lambda op: (
        lambda x: op("com.microsoft::DynamicQuantizeMatMul", x, INT8, SCALES)
    ),
    "com.microsoft::MatMulIntegerToFloat": lambda op: (
        lambda x: op("com.microsoft::MatMulIntegerToFloat", F.cast(x * 20.0, "int8"), INT8, np.float32(0.05), SCALES)
    ),
    "com.microsoft::MatMulNBits": lambda op: (
        lambda x: op("com.microsoft::MatMulNBits", x, PACKED, SCALES, K=8, N=6, bits=4, block_size=16)
    ),
    "com.microsoft::GatherBlockQuantized": lambda op: (
        lambda x: op(
            "com.microsoft::GatherBlockQuantized",
            ROWS,
            F.cast(x[:, :, 0] * 0.0 + 3.0, "int64"),
            SCALES[:, None],
            gather_axis=0,
            quantize_axis=1,
            block_size=16,
            bits=4,
        )
    ),
    "com.microsoft::GroupQueryAttention": lambda op: lambda x: cached(op, "com.microsoft::GroupQueryAttention", x),
}


def test_every_composite_operator_has_a_case():
    assert set(COMPOSITES) == {spec.key for spec in all_specs() if spec.body is not None}


@pytest.mark.parametrize("key", COMPOSITES)
def test_a_composite_that_the_target_lacks_is_written_out(legal, op, key):
    """Down to primitives, through the definitions that its definition calls."""
    sizes = ({}, {"batch": 1, "seq": 1})
    graph, changes = legal(COMPOSITES[key](op), PLAIN, sizes, x="batch seq 8")
    assert changes[f"write out {key}"] >= 1
    assert all("::" not in node.key for node in graph)


@pytest.mark.parametrize("key", COMPOSITES)
def test_a_composite_that_the_target_has_stays(legal, op, key):
    capabilities = target({key: Support()})
    graph, changes = legal(COMPOSITES[key](op), capabilities, x="batch seq 8")
    assert not changes
    assert [node.key for node in graph if node.key == key] == [key]


def test_definitions_inside_definitions_stop_at_what_the_target_has(legal, op):
    capabilities = target({"LayerNormalization": Support(), "Attention": Support()})
    graph, changes = legal(COMPOSITES["com.microsoft::SkipLayerNormalization"](op), capabilities, x="batch seq 8")
    assert changes == {"write out com.microsoft::SkipLayerNormalization": 1}
    assert "LayerNormalization" in {node.key for node in graph}
    graph, changes = legal(COMPOSITES["com.microsoft::Attention"](op), capabilities, x="batch seq 8")
    assert "Attention" in {node.key for node in graph} and "Softmax" not in {node.key for node in graph}


@pytest.mark.parametrize(
    ("support", "why"),
    [
        (Support(dtypes=frozenset({DType.FLOAT16})), "does not take float32"),
        (Support(attributes={"axis": frozenset({-1})}), "does not take axis=1"),
        (Support(without_inputs=frozenset({2})), "does not take input 2"),
        (Support(slower_than_body="its kernel is slow"), "its kernel is slow"),
    ],
)
def test_what_the_target_refuses_is_written_out(legal, graph_of, op, support, why):
    capabilities = target({"LayerNormalization": support})
    node = next(iter(graph_of(COMPOSITES["LayerNormalization"](op), x="batch seq 8")))
    assert why in refusal(node, capabilities)
    graph, _ = legal(COMPOSITES["LayerNormalization"](op), capabilities, x="batch seq 8")
    assert "LayerNormalization" not in {node.key for node in graph}


def test_an_operand_that_the_kernel_needs(legal, op):
    capabilities = target({"LayerNormalization": Support(needs_inputs=frozenset({2}))})
    graph, _ = legal(lambda x: op("LayerNormalization", x, np.ones(8, F32)), capabilities, x="batch 8")
    assert "LayerNormalization" not in {node.key for node in graph}
    graph, _ = legal(lambda x: op("LayerNormalization", x, np.ones(8, F32), np.ones(8, F32)), capabilities, x="batch 8")
    assert [node.key for node in graph] == ["LayerNormalization"]


def test_only_the_results_that_are_read_count(legal, op):
    key = "com.microsoft::SkipLayerNormalization"
    capabilities = target({key: Support(num_outputs=1), "LayerNormalization": Support()})

    def forward(x, read):
        results = op(key, x, F.sin(x), np.ones(8, F32), outputs=4)
        return tuple(results[index] for index in read)

    graph, _ = legal(lambda x: forward(x, (0,)), capabilities, x="batch seq 8")
    assert key in {node.key for node in graph}
    graph, _ = legal(lambda x: forward(x, (0, 3)), capabilities, x="batch seq 8")
    assert key not in {node.key for node in graph}


def test_names_scope_and_source_stay(graph_of, op):
    graph = graph_of(lambda x: op("Gelu", x), x="batch 8")
    node = next(iter(graph))
    name, source = node.output.name, node.source
    legalise(graph, PLAIN)
    assert graph.outputs["output"].name == name
    assert {inner.source for inner in graph} == {source}


def test_a_definition_is_written_out_where_it_was(graph_of, op):
    graph = graph_of(lambda x: F.exp(op("Gelu", F.sin(x))), x="batch 8")
    legalise(graph, PLAIN)
    keys = [node.key for node in graph]
    assert keys[0] == "Sin" and keys[-1] == "Exp"
    verify(graph)


def test_what_no_one_reads_of_a_definition_is_not_written(graph_of, op):
    graph = graph_of(
        lambda x: op("com.microsoft::SkipLayerNormalization", x, F.sin(x), np.ones(8, F32), outputs=4)[3],
        x="batch seq 8",
    )
    legalise(graph, PLAIN)
    assert len(graph) == 2  # the sum, and its operand


def test_a_primitive_that_came_later_is_an_error(graph_of, op):
    old = Capabilities("old", opset=12, ir_version=7)
    graph = graph_of(lambda x: op("Trilu", x), x="4 4")
    with pytest.raises(TargetError, match=r"Trilu 'Trilu' \(.*\) cannot be lowered for old: Trilu came with opset 14"):
        legalise(graph, old)


def test_an_operator_that_is_only_carried_passes(graph_of):
    graph = graph_of(lambda x: x, x="4")
    type_ = TensorType(DType.FLOAT32, (4,))
    node = graph.add("Mystery", [graph.inputs["x"]], types=[type_], names=["m"], domain="com.example")
    graph.set_output("m", node.output)
    assert not legalise(graph, PLAIN).changed
    with pytest.raises(UnknownOperatorError, match="has no definition"):
        inline_definition(graph, node)


def test_a_primitive_has_no_definition(graph_of):
    graph = graph_of(F.exp, x="4")
    with pytest.raises(UnknownOperatorError, match=r"Exp 'Exp' .* has no definition to write out"):
        inline_definition(graph, next(iter(graph)))


def test_weights_of_a_definition_get_names_in_its_scope(graph_of, op):
    from tfgraph.dsl.module import Module

    class Block(Module):
        def forward(self, x):
            return op("Gelu", x)

    class Model(Module):
        def __init__(self):
            self.block = Block()

        def forward(self, x):
            return self.block(x)

    graph = graph_of(Model(), x="batch 8")
    legalise(graph, PLAIN)
    assert all(value.name.startswith("block.") for value in graph.constants)
    assert {node.scope for node in graph} == {"block"}
