"""The rewrite engine: to a fixpoint, names inherited, what dies goes, circles refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfgraph.dsl import functional as F
from tfgraph.errors import GraphError
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.verify import verify
from tfgraph.passes.cleanup import remove_dead_nodes
from tfgraph.passes.rewrite import RuleSet, erase_dead, is_filled_with, scalar_of

F32 = np.float32


def values_named(graph):
    return {value.name for value in graph.values()}


def test_rules_fire_until_none_fires(graph_of, operators):
    rules = RuleSet()

    @rules.rule("Neg")
    def two_negations_are_none(node, _rewriter):
        inner = node.required(0).producer
        return inner.required(0) if inner is not None and inner.key == "Neg" else None

    def forward(x):
        for _ in range(9):
            x = -x
        return x

    graph = graph_of(forward, x="batch 4")
    assert rules.apply(graph) == {"two_negations_are_none": 4}
    verify(graph)
    assert operators(graph) == {"Neg": 1}
    assert not rules.apply(graph)


def test_a_replacement_of_another_type_is_refused(graph_of, operators):
    rules = RuleSet()

    @rules.rule("Relu")
    def relu_of_more_axes(node, rewriter):
        return rewriter.emit("Unsqueeze", [node.required(0), rewriter.ints([0])])

    @rules.rule("Relu")
    def relu_of_another_size(node, rewriter):
        return rewriter.emit("Concat", [node.required(0)] * 2, {"axis": -1})

    @rules.rule("Relu")
    def relu_of_another_dtype(node, rewriter):
        return rewriter.emit("Cast", [node.required(0)], {"to": "float16"})

    graph = graph_of(F.relu, x="batch 4")
    before = str(graph)
    assert not rules.apply(graph)
    assert str(graph) == before


def test_a_rule_sees_what_another_made(graph_of, operators):
    rules = RuleSet()

    @rules.rule("Relu")
    def relu_is_max(node, rewriter):
        x = node.required(0)
        return rewriter.emit("Max", [x, rewriter.scalar(0.0, x)])

    @rules.rule("Max")
    def max_is_where(node, rewriter):
        x, bound = node.required(0), node.required(1)
        return rewriter.emit("Where", [rewriter.emit("Greater", [x, bound]), x, bound])

    graph = graph_of(lambda x: F.relu(F.relu(x)), x="batch 4")
    assert rules.apply(graph) == {"relu_is_max": 2, "max_is_where": 2}
    verify(graph)
    assert operators(graph) == {"Greater": 2, "Where": 2}


def test_what_reads_a_replaced_value_is_looked_at_again(graph_of, op, operators):
    rules = RuleSet()

    @rules.rule("Identity")
    def drop(node, _rewriter):
        return node.required(0)

    @rules.rule("Add")
    def double(node, rewriter):
        x = node.required(0)
        return rewriter.emit("Mul", [x, rewriter.scalar(2.0, x)]) if node.required(1) is x else None

    graph = graph_of(lambda x: op("Identity", x) + x, x="batch 4")
    assert rules.apply(graph) == {"drop": 1, "double": 1}
    assert operators(graph) == {"Mul": 1}


def test_circular_rules_are_refused(graph_of):
    rules = RuleSet()

    @rules.rule("Sin")
    def sine_is_cosine(node, rewriter):
        return rewriter.emit("Cos", node.inputs)

    @rules.rule("Cos")
    def cosine_is_sine(node, rewriter):
        return rewriter.emit("Sin", node.inputs)

    with pytest.raises(GraphError, match=r"go in circles on graph 'wave'.*(sine_is_cosine|cosine_is_sine)"):
        rules.apply(graph_of(wave, x="batch 4"))


def wave(x):
    return F.sin(x)


def test_the_replacement_inherits_name_scope_and_source(graph_of):
    rules = RuleSet()

    @rules.rule("Sqrt")
    def as_power(node, rewriter):
        return rewriter.emit("Pow", [node.required(0), rewriter.scalar(0.5, node.output)])

    graph = graph_of(lambda x: F.sqrt(x) + 1.0, x="batch 4")
    before = next(iter(graph))
    name, source = before.output.name, before.source
    rules.apply(graph)
    after = next(node for node in graph if node.key == "Pow")
    assert (after.output.name, after.source, after.scope) == (name, source, before.scope)
    assert source is not None and source.file.endswith("test_rewrite.py")


def test_an_existing_value_keeps_its_name_when_it_takes_anothers_place(graph_of):
    rules = RuleSet()

    @rules.rule("Relu")
    def drop(node, _rewriter):
        return node.required(0)

    graph = graph_of(lambda x: F.relu(F.sin(x)), x="batch 4")
    rules.apply(graph)
    assert graph.outputs["output"].name == "Sin"
    assert "Relu" not in values_named(graph)


def test_operands_that_nothing_else_reads_go(graph_of, operators):
    rules = RuleSet()

    @rules.rule("Mul")
    def keep_the_left(node, _rewriter):
        return node.required(0)

    graph = graph_of(lambda x, y: (x * F.exp(F.sqrt(y) + np.ones(4, F32)), F.sqrt(y)), x="batch 4", y="batch 4")
    rules.apply(graph)
    verify(graph)
    assert operators(graph) == {"Sqrt": 1}  # the one that is returned
    assert not graph.constants


def test_results_of_several_are_replaced_together(graph_of, op, operators):
    rules = RuleSet()

    @rules.rule("Split")
    def slices(node, rewriter):
        x, half = node.required(0), node.outputs[0].shape[-1]
        bounds = ((0, half), (half, 2 * half))
        return [rewriter.emit("Slice", [x, *(rewriter.ints([n]) for n in (a, b, -1))]) for a, b in bounds]

    def forward(x):
        first, second = op("Split", x, axis=-1, num_outputs=2, outputs=2)
        return first * second

    graph = graph_of(forward, x="batch 8")
    names = [value.name for value in next(iter(graph)).outputs]
    rules.apply(graph)
    verify(graph)
    assert operators(graph) == {"Slice": 2, "Mul": 1}
    assert [node.output.name for node in graph if node.key == "Slice"] == names


def test_a_rule_that_leaves_a_node_leaves_nothing_behind(graph_of):
    rules = RuleSet()

    @rules.rule("Exp")
    def tries_and_gives_up(node, rewriter):
        rewriter.emit("Sqrt", [rewriter.emit("Mul", [node.required(0), rewriter.scalar(3.0, node.output)])])

    graph = graph_of(lambda x: F.exp(x), x="batch 4")
    before = str(graph)
    assert not rules.apply(graph)
    verify(graph)
    assert str(graph) == before


def test_the_first_rule_that_fires_wins(graph_of):
    first, second = RuleSet(), RuleSet()

    @first.rule("Sin")
    def one(node, rewriter):
        return rewriter.emit("Cos", node.inputs)

    @second.rule("Sin")
    def two(node, rewriter):
        return rewriter.emit("Tan", node.inputs)

    assert RuleSet(first, second).apply(graph_of(wave, x="4")) == {"one": 1}
    assert RuleSet(second, first).apply(graph_of(wave, x="4")) == {"two": 1}
    assert set(first.rules) == {"Sin"} and len(first.rules["Sin"]) == 1  # including copies, not shares


def test_only_the_nodes_asked_for(graph_of, operators):
    rules = RuleSet()

    @rules.rule("Sin")
    def one(node, rewriter):
        return rewriter.emit("Cos", node.inputs)

    graph = graph_of(lambda x: F.sin(F.exp(F.sin(x))), x="4")
    rules.apply(graph, [next(iter(graph))])
    assert operators(graph) == {"Cos": 1, "Exp": 1, "Sin": 1}


def test_erase_dead_stops_at_what_is_read(graph_of, operators):
    graph = graph_of(lambda x: (F.exp(F.sqrt(F.sin(x)) + np.ones(4, F32)), F.sin(x)), x="4")
    shared = next(node for node in graph if node.key == "Sin")
    exp = next(node for node in graph if node.key == "Exp")
    graph.set_output("output_0", shared.output)
    survivors = erase_dead(graph, exp)
    assert survivors == [shared]
    assert operators(graph) == {"Sin": 2}
    verify(graph)


@pytest.mark.parametrize(
    ("array", "number"),
    [
        (np.asarray(1e-5, F32), 1e-5),  # the decimal that was meant, not 9.999999747378752e-06
        (np.asarray([[0.1]], F32), 0.1),
        (np.asarray([0.1], np.float64), 0.1),
        (np.asarray(3, np.int64), 3.0),
        (np.asarray(0.5, np.float16), 0.5),
        (np.asarray(True), None),
        (np.asarray([1.0, 1.0], F32), None),
    ],
)
def test_the_number_in_a_constant(graph_of, array, number):
    graph = graph_of(lambda x: (x, F.as_tensor(array)), x="4")
    assert scalar_of(graph.outputs["output_1"]) == number
    assert scalar_of(graph.outputs["output_0"]) is None
    assert scalar_of(None) is None


def test_a_constant_filled_with_one_number(graph_of):
    graph = graph_of(lambda x: (x, F.as_tensor(np.ones(4, F32)), F.as_tensor(np.arange(2.0, dtype=F32))), x="4")
    filled = [is_filled_with(graph.outputs[f"output_{index}"], 1.0) for index in range(3)]
    assert filled == [False, True, False]


@given(data=st.data())
@settings(max_examples=30)
def test_uses_are_never_stale(graph_of, same_numbers, data):
    """Random graphs of sums and negations, rewritten by rules that share, drop and make nodes."""
    rules = RuleSet()

    @rules.rule("Neg")
    def two_negations_are_none(node, _rewriter):
        inner = node.required(0).producer
        return inner.required(0) if inner is not None and inner.key == "Neg" else None

    @rules.rule("Sub")
    def difference_is_sum(node, rewriter):
        return rewriter.emit("Add", [node.required(0), rewriter.emit("Neg", [node.required(1)])])

    @rules.rule("Add")
    def same_twice_is_product(node, rewriter):
        x = node.required(0)
        return rewriter.emit("Mul", [x, rewriter.scalar(2.0, x)]) if node.required(1) is x else None

    def forward(x, y):
        pool = [x, y]
        for _ in range(data.draw(st.integers(1, 12))):
            a, b = (data.draw(st.sampled_from(pool)) for _ in range(2))
            pool.append(data.draw(st.sampled_from([lambda a, b: a + b, lambda a, b: a - b, lambda a, _: -a]))(a, b))
        return tuple(data.draw(st.sampled_from(pool)) for _ in range(2))

    before = graph_of(forward, x="batch 4", y="batch 4")
    after = copy_graph(before)
    rules.apply(after)
    verify(after)
    same_numbers(before, after)
    assert not any(node.key == "Sub" for node in after)
    remove_dead_nodes(after)
    assert not rules.apply(after)
