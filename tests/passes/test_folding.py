"""Constant folding: what does not depend on the inputs is computed, at once if small, when it is read if big."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl import functional as F
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import AbsentConstant, ArrayConstant, Derived
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.dtypes import DType
from tfgraph.ir.verify import verify
from tfgraph.passes.folding import fold_constants

F32 = np.float32
RNG = np.random.default_rng(2)
BIG = RNG.standard_normal((80, 70)).astype(F32)  # 5,600 elements: too many to compute at once


@pytest.fixture
def folded(graph_of, same_numbers):
    """`folded(forward, **specs)`: the graph after folding, which gives the same numbers."""

    def fold(forward, **specs):
        before = graph_of(forward, **specs)
        after = copy_graph(before)
        fold_constants(after)
        verify(after)
        same_numbers(before, after)
        return after

    return fold


def constant_of(graph, name="output"):
    value = graph.outputs[name]
    assert value.producer is None
    return value.constant


def test_small_results_are_computed_at_once(folded):
    graph = folded(lambda x: (x, F.exp(F.as_tensor(np.arange(4, dtype=F32)) * 2.0) + 1.0), x="4")
    assert len(graph) == 0
    constant = constant_of(graph, "output_1")
    assert isinstance(constant, ArrayConstant)
    np.testing.assert_allclose(constant.numpy(), np.exp(np.arange(4) * 2.0) + 1.0, rtol=1e-6)


def test_results_of_several_are_folded_together(folded, op):
    graph = folded(lambda x: (x, *op("Split", np.arange(4, dtype=F32), axis=0, num_outputs=2, outputs=2)), x="4")
    assert len(graph) == 0


def test_composites_are_folded_too(folded, op):
    graph = folded(lambda x: x + op("Gelu", np.arange(4, dtype=F32)), x="4")
    assert [node.key for node in graph] == ["Add"]


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda w, op: F.transpose(w, (1, 0)), BIG.T),
        (lambda w, op: op("Transpose", w), BIG.T),
        (lambda w, op: F.reshape(w, (70, 80)), BIG.reshape(70, 80)),
        (lambda w, op: F.unsqueeze(w, (0,)), BIG[None]),
        (lambda w, op: op("Flatten", w, axis=0), BIG.reshape(1, -1)),
        (lambda w, op: F.cast(w, "float16"), BIG.astype(np.float16)),
        (lambda w, op: w * 2.0, BIG * 2),
        (lambda w, op: F.concat([w, w], 0), np.concatenate([BIG, BIG])),
        (lambda w, op: w[:79], BIG[:79]),
        (lambda w, op: F.gather(w, F.as_tensor(np.arange(79)), 0), BIG[:79]),
        (lambda w, op: F.where(w > 0.0, w, 0.0), np.maximum(BIG, 0)),
    ],
)
def test_big_results_are_computed_when_they_are_read(folded, op, build, expected):
    graph = folded(lambda x: (x, build(F.as_tensor(BIG), op)), x="4")
    assert len(graph) == 0
    constant = constant_of(graph, "output_1")
    assert isinstance(constant, Derived)
    np.testing.assert_array_equal(constant.numpy(), expected)


def test_nothing_is_read_before_it_must_be(graph_of):
    """Folding the transposes of all weights touches none of them."""

    def never():
        raise AssertionError("the weight was read")

    graph = graph_of(lambda x: x, x="batch 70")
    weight = Derived(never, (), ("never",), DType.FLOAT32, (80, 70))
    value = graph.add_constant(weight, "weight")
    from tfgraph.ir.build import add_node

    turned = add_node(graph, "Transpose", [value], {"perm": (1, 0)})
    graph.set_output("output", add_node(graph, "MatMul", [graph.inputs["x"], turned.output]).output)
    fold_constants(graph)
    assert [node.key for node in graph] == ["MatMul"]
    assert next(iter(graph)).required(1).constant.shape == (70, 80)


def test_weights_without_values_are_folded_by_their_types(graph_of):
    from tfgraph.ir.build import add_array, add_node

    graph = graph_of(lambda x: x, x="batch 3")
    value = graph.add_constant(AbsentConstant(DType.FLOAT32, (4, 3)), "linear.weight")
    turned = add_node(graph, "Transpose", [value], {"perm": (1, 0)})
    doubled = add_node(graph, "Mul", [turned.output, add_array(graph, F32(2), "two")])
    graph.set_output("output", add_node(graph, "MatMul", [graph.inputs["x"], doubled.output]).output)
    fold_constants(graph)
    verify(graph)
    assert [node.key for node in graph] == ["MatMul"]
    weight = next(iter(graph)).required(1)
    assert not weight.constant.has_data and weight.shape == (3, 4)
    with pytest.raises(CheckpointError, match="has no values"):
        weight.constant.numpy()


def test_a_weight_that_is_only_used_transposed_keeps_its_name(graph_of):
    class Names:
        @staticmethod
        def forward(x):
            trace = F.current_trace()
            weight = trace.constant(BIG, "linear.weight")
            return F.matmul(x, F.transpose(weight, (1, 0)))

    graph = graph_of(Names.forward, x="batch 70")
    fold_constants(graph)
    assert [value.name for value in graph.constants] == ["linear.weight"]


def test_a_weight_that_is_used_as_it_is_keeps_its_name(graph_of):
    def forward(x):
        weight = F.current_trace().constant(BIG, "embedding.weight")
        return F.matmul(x, F.transpose(weight, (1, 0))), weight

    graph = graph_of(forward, x="batch 70")
    fold_constants(graph)
    verify(graph)
    assert graph.outputs["output_1"].name == "embedding.weight"
    assert next(iter(graph)).required(1).name != "embedding.weight"


def test_known_sizes_become_constants(folded, op):
    def forward(x):
        size = op("Shape", x, start=1, end=3)
        return F.reshape(x, (-1,)), op("Mul", size, size), op("Gather", op("Shape", x), np.asarray(1), axis=0)

    graph = folded(forward, x="batch 3 4")
    assert constant_of(graph, "output_1").numpy().tolist() == [9, 16]
    assert constant_of(graph, "output_2").numpy().tolist() == 3
    assert constant_of(graph, "output_1").dtype is DType.INT64


def test_sizes_that_are_open_stay(folded, op):
    graph = folded(lambda x: (x, op("Shape", x)), x="batch 4")
    assert [node.key for node in graph] == ["Shape"]


@pytest.mark.parametrize(
    "build",
    [
        lambda op: F.expand(F.as_tensor(F32(1.0)), (1000, 1000)),
        lambda op: op("ConstantOfShape", np.array([1000, 1000])),
        lambda op: op("Tile", np.ones((2, 2), F32), np.array([500, 500])),
        lambda op: F.arange(0, 1_000_000),
        lambda op: F.matmul(F.as_tensor(BIG), F.as_tensor(BIG.T)),
    ],
)
def test_what_would_grow_or_takes_long_stays(folded, op, build):
    """A scalar spread over a million places is small in a file, and a product of weights is work for the runtime."""
    graph = folded(lambda x: (x, build(op)), x="4")
    assert len(graph) >= 1


def test_folding_folds_what_it_made(folded):
    def forward(x):
        value = F.as_tensor(np.ones(4, F32))
        for _ in range(20):
            value = F.exp(value) * 0.1
        return x * value

    assert [node.key for node in folded(forward, x="4")] == ["Mul"]


def test_what_reads_an_input_stays(folded):
    graph = folded(lambda x: F.exp(x) + F.exp(F.as_tensor(np.ones(4, F32))), x="4")
    assert [node.key for node in graph] == ["Exp", "Add"]


def test_folding_counts(graph_of):
    assert fold_constants(graph_of(lambda x: x + F.exp(F.as_tensor(np.ones(4, F32))), x="4")) == {"fold_constants": 1}
    assert not fold_constants(graph_of(F.exp, x="4"))


def test_an_operator_that_is_only_carried_stays(graph_of):
    graph = graph_of(lambda x: x, x="4")
    constant = graph.add_constant(ArrayConstant(np.ones(4, F32)), "one")
    from tfgraph.ir.types import TensorType

    node = graph.add("Mystery", [constant], types=[TensorType(DType.FLOAT32, (4,))], names=["m"], domain="com.example")
    graph.set_output("m", node.output)
    assert not fold_constants(graph)
