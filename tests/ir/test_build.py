"""Adding nodes with inferred types, and what is refused while doing so."""

from __future__ import annotations

import pytest

from tfgraph.errors import DTypeError, ShapeError, UnknownOperatorError
from tfgraph.ir.build import add_array, add_node, refresh_types
from tfgraph.ir.dims import symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Source
from tfgraph.ir.types import TensorType
from tfgraph.ir.verify import verify


@pytest.fixture
def empty() -> Graph:
    graph = Graph()
    graph.add_input("x", DType.FLOAT32, (symbol("batch"), 6))
    return graph


def test_types_are_inferred_and_names_are_made(empty: Graph) -> None:
    x = empty.inputs["x"]
    node = add_node(empty, "Transpose", [x], {"perm": (1, 0)}, scope="encoder", source=Source("m.py", 1))
    assert node.output.shape == (6, symbol("batch"))
    assert (node.output.name, node.scope, node.source) == ("encoder.Transpose", "encoder", Source("m.py", 1))
    assert add_node(empty, "Relu", [x]).output.name == "Relu"
    assert add_node(empty, "Relu", [x], names=["mine"]).output.name == "mine"


def test_several_results(empty: Graph) -> None:
    node = add_node(empty, "Split", [empty.inputs["x"]], {"axis": 1, "num_outputs": 3}, num_outputs=3)
    assert [value.shape[1] for value in node.outputs] == [2, 2, 2]
    assert [value.name for value in node.outputs] == ["Split", "Split_1", "Split_2"]
    named = add_node(
        empty, "Split", [empty.inputs["x"]], {"axis": 1, "num_outputs": 2}, num_outputs=2, names=["a", "b"]
    )
    assert [value.name for value in named.outputs] == ["a", "b"]
    verify(empty)


def test_a_result_that_nobody_wants_is_not_added(empty: Graph) -> None:
    image = empty.add_input("image", DType.FLOAT32, (1, 3, 8, 8))
    assert len(add_node(empty, "MaxPool", [image], {"kernel_shape": (2, 2)}).outputs) == 1


def test_attributes_that_say_nothing_are_dropped(empty: Graph) -> None:
    x = empty.inputs["x"]
    assert add_node(empty, "Softmax", [x], {"axis": -1}).attributes == {}
    assert add_node(empty, "Transpose", [x], {"perm": None}).attributes == {}
    assert add_node(empty, "Softmax", [x], {"axis": 1}).attributes == {"axis": 1}


def test_a_node_may_be_added_before_another(empty: Graph) -> None:
    first = add_node(empty, "Relu", [empty.inputs["x"]])
    second = add_node(empty, "Neg", [empty.inputs["x"]], before=first)
    assert list(empty) == [second, first]


def test_arrays_become_constants(empty: Graph) -> None:
    value = add_array(empty, [1, 2], "axes")
    assert (value.dtype, value.shape, value.content) == (DType.INT64, (2,), (1, 2))
    assert add_array(empty, 0.5, "half", "float16").dtype is DType.FLOAT16
    assert list(empty.constants) == [value, *list(empty.constants)[1:]]


@pytest.mark.parametrize(
    ("key", "attributes", "error", "message"),
    [
        ("Reluu", {}, UnknownOperatorError, "the operator table has no Reluu; did you mean Relu"),
        ("com.nobody::X", {}, UnknownOperatorError, "the operator table has no com.nobody::X"),
        ("Relu", {"axis": 1}, DTypeError, "Relu has no attribute 'axis'; it has: none"),
        ("Softmax", {"axes": 1}, DTypeError, "Softmax has no attribute 'axes'; it has: axis"),
        ("Cast", {}, DTypeError, "Cast needs its attribute 'to'"),
        ("Cast", {"to": None}, DTypeError, "Cast needs its attribute 'to'"),
        ("Not", {}, DTypeError, "float32"),
        ("Softmax", {"axis": 2}, ShapeError, "Softmax"),
    ],
)
def test_what_makes_no_sense_is_refused(
    empty: Graph, key: str, attributes: dict[str, object], error: type[Exception], message: str
) -> None:
    before = str(empty)
    with pytest.raises(error, match=message):
        add_node(empty, key, [empty.inputs["x"]], attributes)
    assert str(empty) == before
    verify(empty)


def test_refreshing_keeps_what_a_file_declared_and_inference_cannot_tell():
    """A reshape to a shape that only running tells has no rank of its own, nor has what follows it."""
    graph = Graph("g")
    x, shape = (
        graph.add_input("x", DType.FLOAT32, (symbol("n"), 8)),
        graph.add_input("shape", DType.INT64, (symbol("k"),)),
    )
    reshaped = add_node(graph, "Reshape", [x, shape])
    root = add_node(graph, "Sqrt", [reshaped.output])
    assert root.output.type.known_shape is None
    reshaped.output.type = TensorType(DType.FLOAT32, (symbol("n"), 2, 4))
    refresh_types(graph)
    assert reshaped.output.type.known_shape == root.output.type.known_shape == (symbol("n"), 2, 4)


def test_refreshing_keeps_numbers_and_takes_new_names():
    graph = Graph("g")
    x = graph.add_input("x", DType.FLOAT32, (symbol("n"), symbol("m")))
    root = add_node(graph, "Sqrt", [x])
    root.output.type = TensorType(DType.FLOAT32, (symbol("old"), 7))
    refresh_types(graph)
    assert root.output.type.known_shape == (symbol("n"), 7)
    root.output.type = TensorType(DType.FLOAT32, (7,))  # of another rank: wrong, so inference stands
    refresh_types(graph)
    assert root.output.type.known_shape == (symbol("n"), symbol("m"))
