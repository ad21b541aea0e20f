"""Sequences and optional values: their types, their text, and that no operator of the table takes or gives them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.errors import DTypeError, InputError, ParseError, VerificationError
from tfgraph.ir.build import add_node
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.dims import symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph
from tfgraph.ir.interpret import interpret
from tfgraph.ir.parse import parse_graph
from tfgraph.ir.text import format_type
from tfgraph.ir.types import ContainerType, OptionalType, SequenceType, TensorType, UnknownRankError
from tfgraph.ir.verify import verify

ROW = TensorType(DType.FLOAT32, (symbol("n"), 4))
TEXT = """\
graph main(s: sequence<float32[n, 4]>, o: optional<sequence<int64[...]>>) -> (y: %y, o: %o, l: %l) {
  %t: float32[n, 4] = SequenceAt(%s)
  %l: sequence<float32[...]> = SequenceInsert(%s, %t)
  %y: float32[n, 4] = Relu(%t)
}
"""


def test_a_container_shows_what_is_inside_and_has_no_shape():
    nested = OptionalType(SequenceType(ROW))
    assert str(nested) == format_type(nested) == "optional<sequence<float32[n, 4]>>"
    assert nested.dtype is DType.FLOAT32
    assert nested.known_shape is None
    assert nested.content is None
    with pytest.raises(UnknownRankError):
        _ = nested.rank


def test_types_are_equal_by_kind_and_by_what_is_inside():
    assert SequenceType(ROW) == SequenceType(TensorType(DType.FLOAT32, (symbol("n"), 4)))
    assert len({SequenceType(ROW), SequenceType(ROW), OptionalType(ROW), TensorType(DType.FLOAT32, None)}) == 3
    assert SequenceType(ROW) != SequenceType(TensorType(DType.FLOAT32, None))
    assert SequenceType(ROW) != TensorType(DType.FLOAT32, None)


def test_the_text_form_reads_back():
    graph = parse_graph(TEXT)
    assert str(graph) == TEXT
    assert graph.inputs["s"].type == SequenceType(ROW)
    assert graph.inputs["o"].type == OptionalType(SequenceType(TensorType(DType.INT64, None)))
    verify(graph)
    assert str(copy_graph(graph)) == TEXT


@given(st.lists(st.sampled_from([SequenceType, OptionalType]), max_size=6), st.sampled_from(list(DType)))
def test_any_nesting_reads_back(kinds: list[type[ContainerType]], dtype: DType) -> None:
    type_ = TensorType(dtype, (2, symbol("n")))
    for kind in kinds:
        type_ = kind(type_)
    assert parse_graph(f"graph g(x: {type_}) -> () {{}}").inputs["x"].type == type_


@pytest.mark.parametrize(
    ("type_", "message"),
    [
        ("sequence<float32[2]", "expected '>', found ')'"),
        ("sequence<>", "expected a type such as float32"),
        ("sequence[2]", "no element type 'sequence'"),
        ("list<float32[2]>", "expected a type such as float32"),
        ("sequence<" * 17 + "float32[2]" + ">" * 17, "17 containers in each other: expected at most 16"),
        ("sequence<" * 5000 + "float32[2]" + ">" * 5000, "5000 containers in each other: expected at most 16"),
    ],
)
def test_damaged_types_are_refused(type_: str, message: str) -> None:
    with pytest.raises(ParseError, match=r"^line 1, column [0-9]+: ") as error:
        parse_graph(f"graph g(x: {type_}) -> () {{}}")
    assert message in str(error.value)


def test_no_operator_of_the_table_takes_a_container():
    graph = parse_graph("graph g(x: sequence<float32[2]>) -> (x: %x) {}")
    with pytest.raises(DTypeError, match=r"input 0 of Relu is sequence<float32\[2\]>, and the operator table is about"):
        add_node(graph, "Relu", [graph.inputs["x"]])
    graph.add("Relu", [graph.inputs["x"]], types=[TensorType(DType.FLOAT32, None)], names=["y"])
    with pytest.raises(VerificationError, match="Relu 'y' is not valid: input 0 of Relu is sequence"):
        verify(graph)


def test_no_operator_of_the_table_gives_a_container():
    text = "graph g(x: float32[...]) -> (y: %y) {\n  %y: sequence<float32[...]> = Relu(%x)\n}"
    with pytest.raises(ParseError, match=r"%y is given as sequence<float32\[...\]>, and Relu gives float32\[...\]"):
        parse_graph(text)
    graph = Graph()
    x = graph.add_input("x", DType.FLOAT32, None)
    graph.add("Relu", [x], types=[SequenceType(TensorType(DType.FLOAT32, None))], names=["y"])
    with pytest.raises(VerificationError, match=r"records %y as sequence<float32\[...\]>"):
        verify(graph)


def test_a_container_is_not_interpreted():
    graph = parse_graph("graph g(x: sequence<float32[2]>, y: float32[2]) -> (y: %y) {}")
    with pytest.raises(InputError, match=r"the input 'x' is sequence<float32\[2\]>, and only graphs over tensors"):
        interpret(graph, {"x": [np.zeros(2, np.float32)], "y": np.zeros(2, np.float32)})  # type: ignore[dict-item]
