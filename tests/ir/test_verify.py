"""The verifier: it accepts every valid graph, and names the node and the invariant of every damage."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.errors import VerificationError
from tfgraph.ir.attributes import Opaque
from tfgraph.ir.build import add_array, add_node
from tfgraph.ir.constant import AbsentConstant
from tfgraph.ir.dims import symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.parse import parse_graph
from tfgraph.ir.types import TensorType
from tfgraph.ir.verify import verify


def node(graph: Graph, op: str) -> Node:
    (found,) = (node for node in graph if node.op == op)
    return found


def refused(graph: Graph, message: str) -> None:
    with pytest.raises(VerificationError, match=re.escape(message)):
        verify(graph)


def test_a_valid_graph_is_accepted(graph: Graph) -> None:
    verify(graph)
    verify(Graph())


@given(data=st.data())
def test_every_random_graph_is_accepted(random_graphs: ModuleType, data: st.DataObject) -> None:
    verify(data.draw(random_graphs.graphs()))


# -- links ----------------------------------------------------------------------------------------------------------


def test_a_node_that_does_not_link_back(graph: Graph) -> None:
    node(graph, "Add")._previous = None
    refused(graph, "Add 'linear.Add' (model.py:3) does not link back to the node before it")


def test_a_node_that_is_linked_twice(graph: Graph) -> None:
    node(graph, "Mul")._next = node(graph, "MatMul")
    refused(graph, "MatMul 'linear.MatMul' (model.py:3) is linked twice")


def test_a_list_that_ends_elsewhere(graph: Graph) -> None:
    graph._last = node(graph, "Add")
    refused(graph, "the graph's last node is not the one that the links end at")


def test_a_wrong_count(graph: Graph) -> None:
    graph._num_nodes += 1
    refused(graph, "the graph counts 4 nodes, and its links lead to 3")


def test_an_erased_node_that_is_still_linked(graph: Graph) -> None:
    node(graph, "Mul")._alive = False
    refused(graph, "Mul 'Mul' (model.py:5) was erased and is still linked")


def test_a_node_of_another_graph(graph: Graph) -> None:
    node(graph, "Mul").graph = Graph()
    refused(graph, "Mul 'Mul' (model.py:5) is linked here and belongs to another graph")


# -- values ---------------------------------------------------------------------------------------------------------


def test_an_input_under_another_name(graph: Graph) -> None:
    graph.inputs["z"] = graph.inputs.pop("x")
    refused(graph, "the input 'z' is named %x: an input's name is its value's name")


def test_an_input_with_a_second_origin(graph: Graph) -> None:
    graph.inputs["x"].constant = AbsentConstant(DType.FLOAT32, (4, 4))
    refused(graph, "the input %x has a second origin")


def test_a_constant_that_is_an_input_as_well(graph: Graph) -> None:
    graph.constants[graph.inputs["x"]] = None
    refused(graph, "%x is the constant %x, and comes from somewhere else as well: a value has one origin")


def test_a_constant_without_elements(graph: Graph) -> None:
    next(iter(graph.constants)).constant = None
    refused(graph, "%linear.weight is among the constants, and has no elements or another origin")


def test_a_constant_of_another_type(graph: Graph) -> None:
    next(iter(graph.constants)).constant = AbsentConstant(DType.FLOAT32, (4, 3))
    refused(graph, "%linear.weight is recorded as float32[4, 2], and its constant is AbsentConstant(float32[4, 3])")


def test_a_result_of_another_node(graph: Graph) -> None:
    node(graph, "Add").output.producer = node(graph, "MatMul")
    refused(graph, "Add 'linear.Add' (model.py:3) gives %linear.Add, which records another origin")


def test_a_node_without_results(graph: Graph) -> None:
    graph.add("Print", [graph.inputs["x"]], types=[], names=[])
    refused(graph, "Print '?' has no result: a node has at least one")


def test_a_name_that_is_taken(graph: Graph) -> None:
    node(graph, "Mul").output.name = "x"
    refused(graph, "%x is a result of Mul 'x' (model.py:5), and another value has that name")


def test_a_name_that_is_not_reserved(graph: Graph) -> None:
    node(graph, "Mul").output.name = "square"
    refused(graph, "%square is a result of Mul 'square' (model.py:5), and its name is not reserved")


# -- operands and uses ----------------------------------------------------------------------------------------------


def test_an_operand_of_another_graph(graph: Graph) -> None:
    foreign = Graph().add_input("f", DType.FLOAT32, (2,))
    graph.replace_all_uses(node(graph, "MatMul").output, foreign)
    refused(graph, "Add 'linear.Add' (model.py:3) reads %f, which is neither an input nor a constant of this graph")


def test_a_result_of_another_graph(graph: Graph) -> None:
    other = Graph()
    foreign = add_node(other, "Relu", [other.add_input("f", DType.FLOAT32, (2,))]).output
    graph.replace_all_uses(node(graph, "MatMul").output, foreign)
    refused(graph, "Add 'linear.Add' (model.py:3) reads %Relu, a result of Relu 'Relu' in another graph")


def test_an_erased_operand(graph: Graph) -> None:
    relu = add_node(graph, "Relu", [graph.inputs["x"]])
    graph.erase(relu)
    graph.add("Relu", [relu.output], types=[relu.output.type], names=["late"])
    refused(graph, "Relu 'late' reads %Relu, a result of Relu 'Relu', which was erased")


def test_an_operand_that_comes_later(graph: Graph) -> None:
    total = node(graph, "Add")
    early = add_node(graph, "Relu", [total.output], before=node(graph, "MatMul"))
    refused(graph, "Relu 'Relu' reads %linear.Add, which Add 'linear.Add' (model.py:3) gives only later")
    graph.sort()
    verify(graph)
    assert list(graph).index(early) > list(graph).index(total)


def test_a_node_that_reads_itself(graph: Graph) -> None:
    product = node(graph, "MatMul").output
    graph.replace_all_uses(product, node(graph, "Add").output)
    refused(graph, "Add 'linear.Add' (model.py:3) reads %linear.Add, its own result: a graph has no cycles")


def test_a_use_that_is_not_recorded(graph: Graph) -> None:
    del graph.inputs["x"]._uses[node(graph, "MatMul")]
    refused(graph, "%x records 0 uses by MatMul 'linear.MatMul' (model.py:3), and there are 1")


def test_a_use_that_is_counted_wrongly(graph: Graph) -> None:
    node(graph, "Add").output._uses[node(graph, "Mul")] = 1
    refused(graph, "%linear.Add records 1 uses by Mul 'Mul' (model.py:5), and there are 2")


def test_a_reader_that_is_gone(graph: Graph) -> None:
    relu = add_node(graph, "Relu", [graph.inputs["x"]])
    graph.erase(relu)
    graph.inputs["x"]._uses[relu] = 1
    refused(graph, "%x records 1 uses by Relu 'Relu', and there are 0")


def test_an_output_that_is_not_in_the_graph(graph: Graph) -> None:
    graph._outputs["z"] = Value("z", TensorType(DType.FLOAT32, ()))
    refused(graph, "the output 'z' is %z, which is not a value of this graph")


def test_an_output_that_is_not_recorded(graph: Graph) -> None:
    graph.outputs["y"]._output_uses = 0
    refused(graph, "%Mul records 0 uses as a graph output, and there are 1")


# -- operators and types --------------------------------------------------------------------------------------------


def set_attribute(found: Node, name: str, value: object) -> None:
    found.attributes = {**found.attributes, name: value}


def test_a_result_of_another_shape(graph: Graph) -> None:
    node(graph, "Mul").output.type = TensorType(DType.FLOAT32, (symbol("batch"), 3))
    refused(graph, "Mul 'Mul' (model.py:5) records %Mul as float32[batch, 3], and its operands give float32[batch, 2]")


def test_the_second_of_two_equal_nodes_is_checked_as_well(graph: Graph) -> None:
    x = graph.inputs["x"]
    first, second = (add_node(graph, "Relu", [x]) for _ in range(2))
    second.output.type = TensorType(DType.FLOAT32, (symbol("batch"), 5))
    refused(graph, f"Relu '{second.output.name}' records")
    first.output.type, second.output.type = second.output.type, first.output.type
    refused(graph, f"Relu '{first.output.name}' records")


def test_a_result_of_another_dtype(graph: Graph) -> None:
    node(graph, "Mul").output.type = TensorType(DType.FLOAT16, (symbol("batch"), 2))
    refused(graph, "Mul 'Mul' (model.py:5) records %Mul as float16[batch, 2], and its operands give float32[batch, 2]")


def test_a_result_of_a_rank_that_nobody_knows(graph: Graph) -> None:
    node(graph, "Mul").output.type = TensorType(DType.FLOAT32, None)
    refused(graph, "Mul 'Mul' (model.py:5) records %Mul as float32[...], and its operands give float32[batch, 2]")


def test_shapes_that_do_not_fit(graph: Graph) -> None:
    wrong = add_array(graph, np.zeros((5, 2), np.float32), "wrong")
    graph.replace_all_uses(next(iter(graph.constants)), wrong)
    refused(graph, "MatMul 'linear.MatMul' (model.py:3) is not valid: MatMul")


def test_too_many_results(graph: Graph) -> None:
    x = graph.inputs["x"]
    graph.add("Relu", [x], types=[x.type, x.type], names=["a", "b"])
    refused(graph, "Relu 'a' ")


def test_too_few_operands(graph: Graph) -> None:
    x = graph.inputs["x"]
    graph.add("Add", [x], types=[x.type], names=["a"])
    refused(graph, "Add 'a' is not valid: Add takes 2 operands")


def test_an_operand_that_is_left_out(graph: Graph) -> None:
    x = graph.inputs["x"]
    graph.add("Add", [None, x], types=[x.type], names=["a"])
    refused(graph, "Add 'a' is not valid: Add needs its input 'A', and it is left out")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"perm": (1, 0), "axis": 1}, "is not valid: Transpose has no attribute 'axis'"),
        ({"perm": [1, 0]}, "the attribute 'perm' is [1, 0]: expected an int, a float, a str, bytes, a tuple"),
        ({"perm": np.array([1, 0])}, "the attribute 'perm' is array([1, 0]): expected an int"),
        ({"perm": (1, "0")}, "the attribute 'perm' is (1, '0'): expected an int"),
        ({"perm": (0, 0)}, "Transpose 't' is not valid"),
    ],
)
def test_attributes_that_an_operator_does_not_take(attributes: dict[str, object], message: str) -> None:
    graph = Graph()
    x = graph.add_input("x", DType.FLOAT32, (3, 3))
    graph.add("Transpose", [x], attributes, types=[x.type], names=["t"])
    refused(graph, message)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1", "the attribute 'axis' of Softmax is \"1\", a string: expected a number"),
        ((1,), "the attribute 'axis' of Softmax is [1], a tuple: expected a number"),
        (Opaque("axis", []), "the attribute 'axis' of Softmax is <axis>, opaque: expected a number"),
    ],
)
def test_an_attribute_of_another_kind(value: object, message: str) -> None:
    graph = Graph()
    x = graph.add_input("x", DType.FLOAT32, (3, 3))
    graph.add("Softmax", [x], {"axis": value}, types=[x.type], names=["s"])
    refused(graph, message)


def test_a_missing_attribute(graph: Graph) -> None:
    x = graph.inputs["x"]
    graph.add("Concat", [x, x], types=[x.type], names=["c"])
    refused(graph, "Concat 'c' is not valid: Concat needs its attribute 'axis'")


def test_an_unknown_operator_may_have_any_operands_and_types_but_only_attributes(graph: Graph) -> None:
    found = graph.add(
        "Custom", [None, graph.inputs["x"]], {"a": ("x",), "b": Opaque("body", {})}, domain="mine",
        types=[TensorType(DType.STRING, None)], names=["c"],
    )  # fmt: skip
    verify(graph)
    set_attribute(found, "a", {"x": 1})
    refused(graph, "mine::Custom 'c': the attribute 'a' is {'x': 1}: expected an int")


def test_where_inference_cannot_tell_the_record_may_say_more() -> None:
    graph = parse_graph("""graph g(x: float32[n], any: float32[...]) -> () {
      %relu: float32[2, 3] = Relu(%any)
      %places: int64[1, 4] = NonZero(%x)
    }""")
    verify(graph)


def test_what_the_record_says_of_an_invented_size_it_says_throughout() -> None:
    graph = Graph()
    x = graph.add_input("x", DType.FLOAT32, (symbol("n"),))
    top = add_node(graph, "Unique", [x], num_outputs=2)
    verify(graph)
    top.outputs[0].type = TensorType(DType.FLOAT32, (symbol("k"),))
    refused(graph, "Unique 'Unique'")
    top.outputs[1].type = TensorType(DType.INT64, (symbol("k"),))
    verify(graph)
    top.outputs[0].type = TensorType(DType.FLOAT32, (symbol("k"), 1))
    refused(graph, "Unique 'Unique'")


def test_renaming_a_result_of_unknown_size_breaks_nothing() -> None:
    graph = Graph()
    found = add_node(graph, "NonZero", [graph.add_input("x", DType.FLOAT32, (symbol("n"),))])
    graph.rename(found.output, "places")
    verify(graph)


@pytest.mark.parametrize(
    "follow_up", [verify, str, Graph.sort, Graph.to_networkx], ids=lambda function: function.__name__
)
def test_a_deep_graph_needs_no_deep_stack(follow_up: Callable[[Graph], object]) -> None:
    graph = Graph()
    value = graph.add_input("x", DType.FLOAT32, (symbol("n"),))
    for _ in range(5000):
        value = add_node(graph, "Relu", [value]).output
    graph.set_output("y", value)
    follow_up(graph)
