"""Attention over a cache in place: found by its definition, made one operator where the kernel takes it, packed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tfgraph
from tfgraph import functional as F
from tfgraph import nn
from tfgraph.backends.onnxruntime.capabilities import CPU
from tfgraph.capabilities import Capabilities
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph
from tfgraph.ir.interpret import interpret
from tfgraph.passes.cached_attention import CACHED_ATTENTION, GROUP_QUERY_ATTENTION
from tfgraph.passes.pipeline import optimising, unfused

HIDDEN, CAPACITY = 64, 12


class Step(nn.Module):
    """One layer of self-attention over a cache, with something to change in it."""

    def __init__(self, **settings: Any) -> None:
        self.attention = nn.MultiHeadAttention(HIDDEN, 4, causal=True, **settings)

    def forward(self, x: nn.Tensor, cache_lengths: nn.Tensor, past_key: nn.Tensor, past_value: nn.Tensor) -> Any:
        result, (key, value) = self.attention(
            x,
            position_ids=F.unsqueeze(cache_lengths, (1,)) + F.arange(0, x.shape[1]),
            past_key_value=(past_key, past_value),
            use_cache=True,
            cache_lengths=cache_lengths,
        )
        return {"result": result, "present_key": key, "present_value": value}


def traced(capacity: int | str = CAPACITY, **settings: Any) -> Graph:
    model = Step(**settings)
    attention = model.attention
    generator = np.random.default_rng(3)
    weights = {
        path: (generator.standard_normal(handle.shape) * 0.2).astype(np.float32)
        for path, handle in model.state_dict().items()
    }
    model.load_state_dict(weights)
    cache = tfgraph.spec("float32", ["batch", attention.num_kv_heads, capacity, attention.head_dim])
    inputs: dict[str, Any] = {
        "x": tfgraph.spec("float32", ["batch", "seq", HIDDEN]),
        "cache_lengths": tfgraph.spec("int64", ["batch"]),
        "past_key": cache,
        "past_value": cache,
    }
    return tfgraph.trace(model, **inputs)


def keys(graph: Graph, target: Capabilities = CPU) -> list[str]:
    after = copy_graph(graph)
    optimising().run(after, target)
    return [node.key for node in after]


def feeds(graph: Graph, rows: int, seq: int, lengths: list[int]) -> dict[str, Any]:
    generator = np.random.default_rng(5)
    _, kv_heads, _, head_dim = graph.inputs["past_key"].shape
    cache: Any = (rows, kv_heads, CAPACITY, head_dim)
    return {
        "x": generator.standard_normal((rows, seq, HIDDEN), np.float32),
        "cache_lengths": np.asarray(lengths, np.int64),
        "past_key": generator.standard_normal(cache, np.float32),
        "past_value": generator.standard_normal(cache, np.float32),
    }


@pytest.mark.parametrize("capacity", [CAPACITY, "capacity"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_kv_heads": 2},
        {"num_kv_heads": 1, "bias": False, "scale": 0.5},
        {"softcap": 3.0},
        {"num_kv_heads": 2, "rotary": nn.RotaryPositions(16)},
        {"rotary": nn.RotaryPositions(16, interleaved=True)},
    ],
)
@pytest.mark.parametrize("rows, seq, lengths", [(2, 3, [0, 0]), (2, 1, [4, 7]), (1, 3, [5])])
def test_it_becomes_one_operator_with_the_same_numbers(
    capacity: int | str, settings: dict[str, Any], rows: int, seq: int, lengths: list[int]
) -> None:
    graph = traced(capacity, **settings)
    fused = copy_graph(graph)
    optimising().run(fused, CPU)
    found = [node.key for node in fused]
    assert found.count(GROUP_QUERY_ATTENTION) == 1
    assert found.count("MatMul") == 2  # query, key and value are one
    assert not {"Attention", "TensorScatter", "RotaryEmbedding", "Transpose"} & set(found)
    inputs = feeds(graph, rows, seq, lengths)
    expected = interpret(graph, inputs)
    run = tfgraph.compile(graph).run(inputs)
    for name, array in interpret(fused, inputs).items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-5)
    np.testing.assert_allclose(run["result"], expected["result"], rtol=0, atol=1e-5)
    for row, length in enumerate(lengths):  # behind these, nothing is said of a present that is no past
        for name in ("present_key", "present_value"):
            used = np.s_[row, :, : length + seq]
            np.testing.assert_allclose(run[name][used], expected[name][used], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"window": 3},
        {"qk_norm": "rms"},
        {"head_dim": 12},  # no multiple of 8
        {"head_dim": 24, "rotary": nn.RotaryPositions(24)},  # no multiple of 16
        {"rotary": nn.RotaryPositions(16, rotary_dim=8)},
    ],
)
def test_what_the_kernel_does_not_take_stays_written_out(settings: dict[str, Any]) -> None:
    graph = traced(**settings)
    found = keys(graph)
    assert GROUP_QUERY_ATTENTION not in found
    assert CACHED_ATTENTION not in found
    assert {"TensorScatter", "Attention"} <= set(found)
    inputs = feeds(graph, 2, 3, [2, 4])
    expected = interpret(graph, inputs)
    for name, array in tfgraph.compile(graph).run(inputs).items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-5)


def test_only_targets_that_have_it_get_it() -> None:
    graph = traced()
    without = replace(CPU, operators={key: each for key, each in CPU.operators.items() if key != GROUP_QUERY_ATTENTION})
    slow = replace(CPU, attention=replace(CPU.attention, cached_multiple=0))
    for target in (without, slow):
        assert GROUP_QUERY_ATTENTION not in keys(graph, target)
    plain = copy_graph(graph)
    unfused().run(plain, CPU)
    assert GROUP_QUERY_ATTENTION not in [node.key for node in plain]


def test_other_types_are_written_out_again() -> None:
    half = replace(CPU.operators[GROUP_QUERY_ATTENTION], dtypes=frozenset({DType.FLOAT16}))
    target = replace(CPU, operators={**CPU.operators, GROUP_QUERY_ATTENTION: half})
    found = keys(traced(), target)
    assert {"Attention", "TensorScatter"} <= set(found)
    assert not {GROUP_QUERY_ATTENTION, CACHED_ATTENTION} & set(found)


def test_a_mask_besides_the_lengths_is_not_lost() -> None:
    """Keys that a mask hides are hidden by no number of keys."""

    class Masked(Step):
        def forward(self, x: Any, cache_lengths: Any, past_key: Any, past_value: Any, keep: Any = None) -> Any:
            result, _ = self.attention(
                x, attention_mask=keep, past_key_value=(past_key, past_value), use_cache=True,
                cache_lengths=cache_lengths,
            )  # fmt: skip
            return result

    cache = tfgraph.spec("float32", ["batch", 4, CAPACITY, 16])
    graph = tfgraph.trace(
        Masked(),
        x=tfgraph.spec("float32", ["batch", "seq", HIDDEN]),
        cache_lengths=tfgraph.spec("int64", ["batch"]),
        past_key=cache,
        past_value=cache,
        keep=tfgraph.spec("int64", ["batch", CAPACITY]),
    )
    assert GROUP_QUERY_ATTENTION not in keys(graph)


def test_gates_of_the_mlp_are_packed_beside_it() -> None:
    """Two products of one input become one, where a step is one row: not in a graph without a cache in place."""

    class Block(Step):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.up = nn.Linear(HIDDEN, 24, bias=False), nn.Linear(HIDDEN, 24, bias=False)

        def forward(self, x: Any, cache_lengths: Any, past_key: Any, past_value: Any) -> Any:
            result = super().forward(x, cache_lengths, past_key, past_value)["result"]
            gate = self.gate(result)
            return gate * F.sigmoid(gate) * self.up(result)

    cache = tfgraph.spec("float32", ["batch", 4, CAPACITY, 16])
    x = tfgraph.spec("float32", ["batch", "seq", HIDDEN])
    lengths = tfgraph.spec("int64", ["batch"])
    graph = tfgraph.trace(Block(), x=x, cache_lengths=lengths, past_key=cache, past_value=cache)
    fused = copy_graph(graph)
    optimising().run(fused, CPU)
    found = [node.key for node in fused]
    assert found.count("MatMul") == 3
    assert found.count("Split") == 1
    inputs = feeds(graph, 2, 1, [3, 4])
    expected = interpret(graph, inputs)
    for name, array in interpret(fused, inputs).items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-6)
    block = Block()

    def gated(x: Any) -> Any:
        gate = block.gate(x)
        return gate * F.sigmoid(gate) * block.up(x)

    assert keys(tfgraph.trace(gated, x=x)).count("MatMul") == 2
