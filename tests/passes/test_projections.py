"""Packing the projections of self-attention into one product."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl import functional as F
from tfgraph.ir.constant import AbsentConstant, Derived
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.dtypes import DType
from tfgraph.ir.verify import verify
from tfgraph.passes.projections import linear_layer, pack

F32 = np.float32
MHA = "com.microsoft::MultiHeadAttention"
RNG = np.random.default_rng(4)
WEIGHTS = [RNG.standard_normal((6, 8)).astype(F32) for _ in range(3)]
BIASES = [RNG.standard_normal(8).astype(F32) for _ in range(3)]
SHAPES = {"x": "batch seq 6", "y": "batch seq 6"}


@pytest.fixture
def packed(graph_of, same_numbers, target_with):
    """`packed(forward)`: the graph after packing, and how often the rule fired."""

    def run(forward, layout="microsoft", **specs):
        before = graph_of(forward, **(specs or SHAPES))
        after = copy_graph(before)
        result = pack(after, target_with(layout))
        verify(after)
        same_numbers(before, after, ({}, {"batch": 1, "seq": 1}))
        return after, result.changes["pack_projections"]

    return run


def attention_over(op, parts, mask=None):
    return op(MHA, *parts, *([] if mask is None else [None, mask]), num_heads=2)


def linear(x, index, biases=BIASES):
    product = F.matmul(x, WEIGHTS[index])
    return product if biases[index] is None else product + biases[index]


def test_three_products_become_one(packed, op):
    graph, count = packed(lambda x, y: attention_over(op, [linear(x, index) for index in range(3)]))
    assert count == 1
    assert [node.key for node in graph] == ["MatMul", "Add", "Split", MHA]
    weight = next(node for node in graph if node.key == "MatMul").required(1)
    np.testing.assert_array_equal(weight.constant.numpy(), np.concatenate(WEIGHTS, axis=1))


@pytest.mark.parametrize("which", [(), (1,), (0, 2), (0, 1, 2)])
def test_a_missing_bias_is_zero(packed, op, which):
    biases = [None if index in which else BIASES[index] for index in range(3)]
    graph, count = packed(lambda x, y: attention_over(op, [linear(x, index, biases) for index in range(3)]))
    assert count == 1
    bias = next(node for node in graph if node.key == "Add").required(1).constant.numpy()
    wanted = [np.zeros(8, F32) if given is None else given for given in biases]
    np.testing.assert_array_equal(bias, np.concatenate(wanted))


def test_masks_and_attributes_stay(packed, op):
    def forward(x, tokens):
        return op(
            MHA, *(linear(x, index) for index in range(3)), None, tokens, num_heads=4, scale=0.1, unidirectional=1
        )

    graph, count = packed(forward, x="batch seq 6", tokens="int32 batch seq")
    assert count == 1
    node = next(node for node in graph if node.key == MHA)
    assert node.attributes == {"num_heads": 4, "scale": 0.1, "unidirectional": 1}
    assert node.input(4) is graph.inputs["tokens"]


def test_one_weight_for_all_three(packed, op):
    def forward(x, y):
        return attention_over(op, [F.matmul(x, WEIGHTS[0]) for _ in range(3)])

    _, count = packed(forward)
    assert count == 1


def test_nothing_is_read_before_the_file_is_written(graph_of, op, target_with):
    def forward(x):
        weight = F.current_trace().graph.add_constant(AbsentConstant(DType.FLOAT32, (6, 8)), "weight")
        from tfgraph.dsl.tensor import Tensor

        return attention_over(op, [F.matmul(x, Tensor(weight, F.current_trace())) for _ in range(3)])

    graph = graph_of(forward, x="batch seq 6")
    assert pack(graph, target_with("microsoft")).changes == {"pack_projections": 1}
    constant = next(node for node in graph if node.key == "MatMul").required(1).constant
    assert isinstance(constant, Derived) and not constant.has_data and constant.shape == (6, 24)


def test_names_say_where_the_weights_belong(graph_of, op, target_with):
    from tfgraph.dsl.module import Module

    class Attention(Module):
        def forward(self, x):
            return attention_over(op, [linear(x, index) for index in range(3)])

    class Model(Module):
        def __init__(self):
            self.attention = Attention()

        def forward(self, x):
            return self.attention(x)

    graph = graph_of(Model(), x="batch seq 6")
    pack(graph, target_with("microsoft"))
    assert {"attention.qkv.weight", "attention.qkv.bias"} <= {value.name for value in graph.constants}


@pytest.mark.parametrize("layout", ["heads", "folded"])
def test_only_where_the_target_takes_them_packed(packed, op, layout):
    _, count = packed(lambda x, y: attention_over(op, [linear(x, index) for index in range(3)]), layout)
    assert count == 0


def cross(op, x, y):
    return attention_over(op, [linear(x, 0), linear(y, 1), linear(y, 2)])


def read_twice(op, x, y):
    key = linear(x, 1)
    return attention_over(op, [linear(x, 0), key, linear(x, 2)]), key


def product_read_twice(op, x, y):
    product = F.matmul(x, WEIGHTS[1])
    return attention_over(op, [linear(x, 0), product + BIASES[1], linear(x, 2)]), product


def shared_by_two(op, x, y):
    query, key, value = (linear(x, index) for index in range(3))
    return attention_over(op, [query, key, value]), attention_over(op, [linear(y, 0), key, value])


def not_a_product(op, x, y):
    return attention_over(op, [linear(x, 0), F.concat([x, x[..., :2]], -1), linear(x, 2)])


def a_computed_weight(op, x, y):
    return attention_over(op, [F.matmul(x, F.exp(F.as_tensor(weight))) for weight in WEIGHTS])


def another_width(op, x, y):
    return attention_over(op, [linear(x, 0), linear(x, 1), F.matmul(x, WEIGHTS[2][:, :4])])


def a_bias_of_one_number(op, x, y):
    return attention_over(op, [linear(x, 0), F.matmul(x, WEIGHTS[1]) + np.ones(1, F32), linear(x, 2)])


def a_bias_of_its_own(op, x, y):
    return op(MHA, *(linear(x, index) for index in range(3)), np.ones(24, F32), num_heads=2)


@pytest.mark.parametrize(
    "forward",
    [
        cross, read_twice, product_read_twice, shared_by_two, not_a_product, a_computed_weight, another_width,
        a_bias_of_one_number, a_bias_of_its_own,
    ],
)  # fmt: skip
def test_what_cannot_be_packed_stays(packed, op, forward):
    _, count = packed(lambda x, y: forward(op, x, y))
    assert count == 0


def test_a_linear_layer(graph_of):
    graph = graph_of(lambda x, y: linear(x, 0), **SHAPES)
    found = linear_layer(graph.outputs["output"])
    assert found is not None and found.x is graph.inputs["x"]
    assert (found.weight.shape, found.bias.shape) == ((6, 8), (8,))
    assert linear_layer(graph.inputs["x"]) is None
    assert linear_layer(None) is None
