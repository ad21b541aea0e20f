"""Cleaning: what nothing reads goes, equal work is done once, and nothing that may differ is merged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfgraph.dsl import functional as F
from tfgraph.ir.attributes import Opaque
from tfgraph.ir.constant import AbsentConstant
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.dtypes import DType
from tfgraph.ir.types import TensorType
from tfgraph.ir.verify import verify
from tfgraph.passes.cleanup import clean, merge_equal_constants, merge_equal_nodes, remove_dead_nodes

F32 = np.float32


def test_what_no_output_depends_on_goes(graph_of, operators):
    def forward(x, y):
        F.exp(F.sqrt(y) + np.ones(4, F32))
        F.as_tensor(np.zeros(3, F32))
        return F.sin(x)

    graph = graph_of(forward, x="4", y="4")
    assert remove_dead_nodes(graph) == 5  # three nodes, two constants
    verify(graph)
    assert operators(graph) == {"Sin": 1}
    assert not graph.constants
    assert list(graph.inputs) == ["x", "y"]  # the interface stays
    assert remove_dead_nodes(graph) == 0


def test_a_node_of_which_one_result_is_read_stays(graph_of, op, operators):
    graph = graph_of(lambda x: op("Split", x, axis=0, num_outputs=2, outputs=2)[1], x="4")
    assert remove_dead_nodes(graph) == 0
    assert operators(graph) == {"Split": 1}


def test_equal_work_is_done_once(graph_of, operators, same_numbers):
    def forward(x):
        return F.exp(F.sin(x)) + F.exp(F.sin(x)), F.sin(x)

    before = graph_of(forward, x="4")
    after = copy_graph(before)
    assert merge_equal_nodes(after) == 3
    verify(after)
    assert operators(after) == {"Sin": 1, "Exp": 1, "Add": 1}
    same_numbers(before, after)


def test_the_first_of_equals_stays(graph_of):
    graph = graph_of(lambda x: (F.sin(x), F.sin(x)), x="4")
    first = next(iter(graph))
    merge_equal_nodes(graph)
    assert [value.producer for value in graph.outputs.values()] == [first, first]


@pytest.mark.parametrize(
    "forward",
    [
        lambda x, op: (op("Softmax", x, axis=0), op("Softmax", x, axis=1)),
        lambda x, op: (op("LeakyRelu", x, alpha=0.1), op("LeakyRelu", x, alpha=0.2)),
        lambda x, op: (op("LeakyRelu", x), op("LeakyRelu", x, alpha=0.2)),
        lambda x, op: (op("Cast", x, to="float16"), op("Cast", x, to="bfloat16")),
        lambda x, op: (x - F.sin(x), F.sin(x) - x),
        lambda x, op: (F.reduce_mean(x, (0,)), F.reduce_mean(x, (1,))),
        lambda x, op: (
            op("Split", x, np.array([1, 3]), axis=1, outputs=2)[0],
            op("Split", x, np.array([2, 2]), axis=1, outputs=2)[0],
        ),
    ],
)
def test_what_differs_is_not_merged(graph_of, op, forward):
    graph = graph_of(lambda x: forward(x, op), x="3 4")
    merge_equal_constants(graph)
    count = len(graph)
    merged = merge_equal_nodes(graph)
    assert len(set(graph.outputs.values())) == 2
    assert len(graph) == count - merged


def test_an_attribute_that_says_the_default_is_the_same(graph_of, op):
    graph = graph_of(lambda x: (op("LeakyRelu", x, alpha=0.01), op("LeakyRelu", x)), x="4")
    assert merge_equal_nodes(graph) == 1


@pytest.mark.parametrize(
    ("op_type", "domain", "attributes"),
    [
        ("RandomNormalLike", "", {}),
        ("RandomUniformLike", "", {}),
        ("Multinomial", "", {"sample_size": 1}),
        ("Bernoulli", "", {}),
        ("Sample", "com.example", {}),
        ("If", "", {"then_branch": Opaque("a subgraph", object())}),
    ],
)
def test_what_may_be_random_or_is_not_known_is_not_merged(graph_of, op_type, domain, attributes):
    graph = graph_of(lambda x: x, x="4")
    x = graph.inputs["x"]
    for name in ("a", "b"):
        type_ = TensorType(DType.FLOAT32, x.shape)
        node = graph.add(op_type, [x], attributes, types=[type_], names=[name], domain=domain)
        graph.set_output(name, node.output)
    assert merge_equal_nodes(graph) == 0
    assert len(graph) == 2


def test_equal_constants_become_one(graph_of):
    def forward(x):
        return (
            x + np.ones(4, F32),
            x * np.ones(4, F32),
            x - np.ones((1, 4), F32),
            x / np.ones(4, np.float64).astype(F32),
        )

    graph = graph_of(forward, x="4")
    assert merge_equal_constants(graph) == 2
    verify(graph)
    assert len(graph.constants) == 2  # the one of another shape


def test_constants_that_differ_in_anything_stay(graph_of):
    def forward(x):
        zeros = (
            np.zeros(4, F32),
            -np.zeros(4, F32),
            np.zeros(4, np.float16),
            np.zeros(4, np.int32),
            np.zeros((4, 1), F32),
        )
        return tuple(F.as_tensor(array) for array in zeros)

    graph = graph_of(forward, x="4")
    assert merge_equal_constants(graph) == 0


def test_weights_without_values_are_not_merged(graph_of):
    graph = graph_of(lambda x: x, x="4")
    for name in ("a", "b"):
        graph.set_output(name, graph.add_constant(AbsentConstant(DType.FLOAT32, (4,)), name))
    assert merge_equal_constants(graph) == 0


def test_a_weight_used_under_two_names_is_one(graph_of):
    graph = graph_of(lambda x: x, x="4")
    weight = AbsentConstant(DType.FLOAT32, (4,))
    for name in ("a", "b"):
        graph.set_output(name, graph.add_constant(weight, name))
    assert merge_equal_constants(graph) == 1
    assert [value.name for value in graph.outputs.values()][1:] == ["a", "a"]


def test_work_of_data_dependent_size_merges_into_a_valid_graph(graph_of, op):
    """Each application names a size of its own; what reads the second must then speak of the first."""

    def forward(x):
        return tuple(F.cast(op("NonZero", x), "float32") * factor for factor in (2.0, 3.0))

    graph = graph_of(forward, x="batch 4")
    clean(graph, None)
    verify(graph)


def test_cleaning_reports_what_it_did(graph_of):
    def forward(x):
        F.exp(x)
        return F.sin(x) + np.ones(4, F32), F.sin(x) * np.ones(4, F32)

    result = clean(graph_of(forward, x="4"), None)
    assert result.changed
    assert result.changes == {"dead": 1, "equal_constants": 1, "equal_nodes": 1}
    assert not clean(graph_of(F.sin, x="4"), None).changed


@given(data=st.data())
@settings(max_examples=30)
def test_cleaning_keeps_the_numbers_and_ends(graph_of, same_numbers, data):
    def forward(x, y):
        pool = [x, y, F.as_tensor(np.ones(4, F32)), F.as_tensor(np.ones(4, F32))]
        makers = [lambda a, b: a + b, lambda a, b: a * b, lambda a, _: F.sin(a), lambda a, _: F.softmax(a)]
        for _ in range(data.draw(st.integers(1, 12))):
            a, b = (data.draw(st.sampled_from(pool)) for _ in range(2))
            pool.append(data.draw(st.sampled_from(makers))(a, b))
        return pool[-1], data.draw(st.sampled_from(pool))

    before = graph_of(forward, x="batch 4", y="batch 4")
    after = copy_graph(before)
    clean(after, None)
    verify(after)
    same_numbers(before, after)
    for _ in range(3):  # merging may make more to merge
        clean(after, None)
    assert not clean(after, None).changed
