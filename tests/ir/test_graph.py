"""The graph: uses that are never stale, iteration while it changes, order, and names."""

from __future__ import annotations

from collections import Counter
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfgraph.errors import GraphError
from tfgraph.ir.build import add_array, add_node
from tfgraph.ir.constant import ArrayConstant
from tfgraph.ir.dims import symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.types import TensorType, UnknownRankError
from tfgraph.ir.verify import verify

VECTOR = TensorType(DType.FLOAT32, (symbol("n"),))


def chain(length: int) -> tuple[Graph, list[Node]]:
    """x, then `length` times Relu."""
    graph = Graph()
    value = graph.add_input("x", VECTOR.dtype, VECTOR.shape)
    for _ in range(length):
        value = add_node(graph, "Relu", [value]).output
    graph.set_output("y", value)
    return graph, list(graph)


def check_uses(graph: Graph) -> None:
    """Compare what values say of their uses with what nodes and outputs read, through public properties alone."""
    reads = Counter(value for node in graph for value in node.inputs if value is not None)
    outputs = Counter(graph.outputs.values())
    for value in graph.values():
        assert value.num_uses == reads[value] + outputs[value]
        assert value.is_output == (value in outputs)
        assert set(value.users) == {node for node in graph if value in node.inputs}
        assert len(value.users) == len(set(value.users))
    assert list(reversed(graph)) == list(graph)[::-1]
    assert len(graph) == len(list(graph))


@settings(max_examples=60)
@given(data=st.data())
def test_uses_are_never_stale_whatever_is_done(random_graphs: ModuleType, data: st.DataObject) -> None:
    graph = data.draw(random_graphs.graphs())
    for _ in range(data.draw(st.integers(1, 12))):
        data.draw(st.sampled_from([add_somewhere, replace, erase_unused, set_output, rename, add_constant]))(
            graph, data
        )
        check_uses(graph)
        verify(graph)


def earlier(graph: Graph, node: Node | None) -> list[Value]:
    """The values that a node may read."""
    values = [*graph.inputs.values(), *graph.constants]
    for other in graph:
        if other is node:
            break
        values += other.outputs
    return values


def add_somewhere(graph: Graph, data: st.DataObject) -> None:
    before = data.draw(st.sampled_from([None, *graph]))
    operand = st.sampled_from(earlier(graph, before))
    operands = data.draw(st.lists(st.none() | operand, max_size=3))
    types = [VECTOR] * data.draw(st.integers(1, 2))
    node = graph.add("Custom", operands, types=types, names=["added"] * len(types), domain="test", before=before)
    assert list(graph).index(node) == (len(graph) - 1 if before is None else list(graph).index(before) - 1)


def replace(graph: Graph, data: st.DataObject) -> None:
    old = data.draw(st.sampled_from(list(graph.values())))
    alike = [value for value in earlier(graph, old.producer) if value.type == old.type]
    new = data.draw(st.sampled_from([old, *alike] if old.producer is not None else [old]))
    uses = new.num_uses
    moved = 0 if new is old else old.num_uses
    names = [name for name, value in graph.outputs.items() if value is old]
    graph.replace_all_uses(old, new)
    assert new.num_uses == uses + moved
    assert new is old or not old.users
    assert all(graph.outputs[name] is new for name in names)


def erase_unused(graph: Graph, data: st.DataObject) -> None:
    candidates: list[Node | Value] = [*graph, *graph.constants]
    if not candidates:
        return
    item = data.draw(st.sampled_from(candidates))
    results = (item,) if isinstance(item, Value) else item.outputs
    if any(value.num_uses for value in results):
        before = str(graph)
        with pytest.raises(GraphError, match="it is still read by"):
            graph.erase(item)
        assert str(graph) == before
    else:
        graph.erase(item)
        assert item not in [*graph, *graph.constants]


def set_output(graph: Graph, data: st.DataObject) -> None:
    graph.set_output(data.draw(st.sampled_from("yz")), data.draw(st.sampled_from(list(graph.values()))))


def rename(graph: Graph, data: st.DataObject) -> None:
    value = data.draw(st.sampled_from(list(graph.values())))
    wanted = data.draw(st.sampled_from(["a", "b", value.name]))
    if value in graph.inputs.values():
        with pytest.raises(GraphError, match="part of the interface"):
            graph.rename(value, wanted)
    else:
        graph.rename(value, wanted)
        assert value.name.startswith(wanted)


def add_constant(graph: Graph, data: st.DataObject) -> None:
    constant = ArrayConstant(np.zeros(data.draw(st.integers(0, 3))))
    assert graph.add_constant(constant, "c").constant is constant


# -- mutations ------------------------------------------------------------------------------------------------------


def test_a_value_that_is_read_twice_by_one_node_has_one_user_and_two_uses(graph: Graph) -> None:
    total = graph.outputs["y"].producer.required(0)
    assert (len(total.users), total.num_uses) == (1, 2)
    replacement = add_node(graph, "Relu", [graph.inputs["x"]]).output
    graph.replace_all_uses(total, replacement)
    assert (total.num_uses, replacement.num_uses) == (0, 2)


def test_uses_are_added_up_where_a_node_reads_both_values(graph: Graph) -> None:
    x = graph.inputs["x"]
    left, right = (add_node(graph, "Relu", [x]).output for _ in range(2))
    add_node(graph, "Add", [left, right])
    graph.replace_all_uses(left, right)
    assert (left.num_uses, right.num_uses, len(right.users)) == (0, 2, 1)
    verify(graph)


def test_replacing_an_output_changes_what_the_graph_returns(graph: Graph) -> None:
    new = add_node(graph, "Relu", [graph.outputs["y"].producer.required(0)]).output
    old = graph.outputs["y"]
    graph.set_output("again", old)
    graph.replace_all_uses(old, new)
    assert dict(graph.outputs) == {"y": new, "again": new}
    assert (new.num_uses, old.num_uses, old.is_output) == (2, 0, False)
    graph.set_output("again", old)
    assert (new.num_uses, old.num_uses) == (1, 1)


def test_operands_left_out_at_the_end_are_dropped() -> None:
    graph = Graph()
    x = graph.add_input("x", VECTOR.dtype, VECTOR.shape)
    node = graph.add("Clip", [x, None, x, None, None], types=[VECTOR], names=["c"])
    assert node.inputs == (x, None, x)
    assert (node.input(1), node.input(2), node.input(9)) == (None, x, None)
    with pytest.raises(GraphError, match="Clip 'c' lacks its input 1"):
        node.required(1)


def test_what_is_read_is_not_erased(graph: Graph) -> None:
    product = next(iter(graph))
    with pytest.raises(
        GraphError, match=r"cannot erase %linear.MatMul: it is still read by Add 'linear.Add' \(model.py:3\)"
    ):
        graph.erase(product)
    with pytest.raises(GraphError, match="cannot erase %Mul: it is still read by the graph's outputs"):
        graph.erase(graph.outputs["y"].producer)
    with pytest.raises(GraphError, match=r"cannot erase %linear.bias: it is still read by Add"):
        graph.erase(next(value for value in graph.constants if value.name == "linear.bias"))


def test_only_what_is_in_the_graph_is_erased(graph: Graph) -> None:
    node = add_node(graph, "Relu", [graph.inputs["x"]])
    with pytest.raises(GraphError, match="only constants and nodes are erased"):
        graph.erase(node.output)
    graph.erase(node)
    with pytest.raises(GraphError, match="it was erased before, or belongs to another graph"):
        graph.erase(node)
    other = Graph()
    foreign = add_node(other, "Relu", [other.add_input("x", DType.FLOAT32, ())])
    with pytest.raises(GraphError, match="it was erased before, or belongs to another graph"):
        graph.erase(foreign)
    verify(graph)
    verify(other)


# -- iteration ------------------------------------------------------------------------------------------------------


def test_the_node_just_given_may_be_erased() -> None:
    graph, nodes = chain(5)
    seen = []
    for node in graph:
        seen.append(node)
        graph.replace_all_uses(node.output, node.required(0))
        graph.erase(node)
    assert seen == nodes
    assert len(graph) == 0
    assert graph.outputs["y"] is graph.inputs["x"]


def test_nodes_may_be_erased_backwards() -> None:
    graph, nodes = chain(5)
    graph.set_output("y", graph.inputs["x"])
    seen = []
    for node in reversed(graph):
        seen.append(node)
        graph.erase(node)
    assert seen == nodes[::-1]
    assert len(graph) == 0


def test_what_is_added_behind_is_visited_and_what_is_added_before_is_not() -> None:
    graph, nodes = chain(3)
    seen = []
    for node in graph:
        seen.append(node.op)
        if node is nodes[1]:
            x = graph.inputs["x"]
            add_node(graph, "Neg", [x], before=node)
            add_node(graph, "Exp", [x], before=nodes[2])
            add_node(graph, "Abs", [x])
    assert seen == ["Relu", "Relu", "Exp", "Relu", "Abs"]


def test_several_nodes_may_be_erased_at_one_step() -> None:
    graph, nodes = chain(6)
    seen = []
    for node in graph:
        seen.append(node)
        if node is nodes[1]:  # erase 1, 2 and 3
            graph.replace_all_uses(nodes[3].output, graph.inputs["x"])
            for erased in (nodes[3], nodes[2], nodes[1]):
                graph.erase(erased)
    assert seen == [nodes[0], nodes[1], nodes[4], nodes[5]]
    verify(graph)


# -- order ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(data=st.data())
def test_sorting_restores_order_whatever_the_disorder(random_graphs: ModuleType, data: st.DataObject) -> None:
    graph = data.draw(random_graphs.graphs(most_nodes=12))
    nodes = list(graph)
    shuffled = data.draw(st.permutations(nodes))
    for node in nodes:
        graph._unlink(node)
    for node in shuffled:
        graph._link(node, None)
    graph.sort()
    verify(graph)
    assert set(graph) == set(nodes)


def test_sorting_an_ordered_graph_moves_nothing(graph: Graph) -> None:
    before = list(graph)
    graph.sort()
    assert list(graph) == before


def test_sorting_moves_what_comes_too_early_and_leaves_the_rest() -> None:
    graph, nodes = chain(4)
    early = add_node(graph, "Neg", [nodes[2].output], before=nodes[0])
    free = add_node(graph, "Neg", [graph.inputs["x"]], before=nodes[3])
    graph.sort()
    assert list(graph) == [nodes[0], nodes[1], nodes[2], early, free, nodes[3]]


def test_a_cycle_is_found() -> None:
    graph, nodes = chain(3)
    graph.replace_all_uses(nodes[0].output, nodes[2].output)
    with pytest.raises(GraphError, match="the graph has a cycle through Relu"):
        graph.sort()


# -- names and views ------------------------------------------------------------------------------------------------


def test_names_are_made_unique() -> None:
    graph = Graph()
    x = graph.add_input("x", VECTOR.dtype, VECTOR.shape)
    names = [add_node(graph, "Relu", [x], names=[name]).output.name for name in ("a", "a", "a_1", "x", "a")]
    assert names == ["a", "a_1", "a_1_1", "x_1", "a_2"]
    assert add_array(graph, 1, "x").name == "x_2"
    verify(graph)


def test_an_input_needs_a_name_of_its_own(graph: Graph) -> None:
    with pytest.raises(GraphError, match="already has a value named 'x'; inputs need names of their own"):
        graph.add_input("x", DType.FLOAT32, ())


def test_a_name_that_is_given_up_may_be_used_again(graph: Graph) -> None:
    node = add_node(graph, "Relu", [graph.inputs["x"]], names=["z"])
    graph.erase(node)
    assert graph.unique_name("z") == "z"


def test_what_people_see_of_nodes_and_values(graph: Graph) -> None:
    node = next(iter(graph))
    assert repr(node) == "<MatMul 'linear.MatMul' (model.py:3)>"
    assert repr(node.output) == "%linear.MatMul: float32[batch, 2]"
    assert node.key == "MatMul"
    assert str(graph).startswith("graph square(x: float32[batch, 4]) -> (y: %Mul) {\n")
    assert (node.output.rank, node.output.dtype, node.output.content) == (2, DType.FLOAT32, None)


def test_an_unknown_rank_is_said_to_be_unknown() -> None:
    value = Graph().add_input("x", DType.FLOAT32, None)
    assert repr(value) == "%x: float32[...]"
    with pytest.raises(UnknownRankError, match="the rank of this value is not known"):
        value.rank  # noqa: B018
    assert str(TensorType(DType.INT64, (2,), (symbol("n"), 4))) == "int64[2]={n, 4}"
