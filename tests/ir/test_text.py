"""The text form: what it looks like, that it reads back as the same graph, and what is said of text that is wrong."""

from __future__ import annotations

import contextlib
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.errors import ParseError
from tfgraph.ir.build import add_array, add_node
from tfgraph.ir.constant import AbsentConstant, ArrayConstant
from tfgraph.ir.dims import symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Opaque, Source
from tfgraph.ir.parse import parse_graph
from tfgraph.ir.text import MOST_ELEMENTS, format_attribute, format_elements, format_graph, format_name
from tfgraph.ir.types import TensorType
from tfgraph.ir.verify import verify

GOLDEN = """\
graph "an example"(x: float32[batch, seq, 64], "m: 0": int64[batch, past + seq], any: float16[...]) -> (y: %norm.Add) {
  metadata "author" = "me \\"and\\" you"
  const %linear.weight: float32[64, 64]
  const %shape: int64[3] = [0, 0, 64]
  const %scale: float16[] = 0.1
  const %table: bfloat16[2, 2] = [[1.0, -inf], [nan, 0.3]]
  const %words: string[2] = ["a", b"\\xff"]
  const %flags: bool[2] = [true, false]
  const %nothing: int4[0, 3] = []
  %linear.MatMul: float32[batch, seq, 64] = MatMul(%x, %linear.weight)  # model.py:12 @linear
  %Reshape: float32[batch, seq, 64] = Reshape(%linear.MatMul, %shape)
  %norm.Add: float32[batch, seq, 64] = Add(%Reshape, %x)  # "my model.py":13 @"the norm"
  %a: float32[`n 1`, 2], %"b c": string[...] = com.example::Two(%norm.Add, _, %any) {axis=-1, body=<a subgraph>, bytes=b"\\x00\\x22", eps=1e-05, mode="x", none=[], perm=[1, 0]}
}
"""  # noqa: E501


def golden_graph() -> Graph:
    batch, seq, past = symbol("batch"), symbol("seq"), symbol("past")
    graph = Graph("an example")
    graph.metadata["author"] = 'me "and" you'
    x = graph.add_input("x", DType.FLOAT32, (batch, seq, 64))
    graph.add_input("m: 0", DType.INT64, (batch, seq + past))
    other = graph.add_input("any", DType.FLOAT16, None)
    weight = add_array(graph, np.ones((64, 64), np.float32), "linear.weight")
    shape = add_array(graph, [0, 0, 64], "shape")
    add_array(graph, 0.1, "scale", "float16")
    add_array(graph, [[1.0, -np.inf], [np.nan, 0.3]], "table", "bfloat16")
    graph.add_constant(ArrayConstant(np.array(["a", b"\xff"], dtype=object)), "words")
    add_array(graph, [True, False], "flags")
    add_array(graph, np.zeros((0, 3)), "nothing", "int4")
    product = add_node(graph, "MatMul", [x, weight], scope="linear", source=Source("model.py", 12))
    same = add_node(graph, "Reshape", [product.output, shape])
    total = add_node(
        graph, "Add", [same.output, x], names=["norm.Add"], scope="the norm", source=Source("my model.py", 13)
    )
    attributes = {"perm": (1, 0), "axis": -1, "mode": "x", "eps": 1e-5, "bytes": b'\x00"', "none": ()}
    graph.add(
        "Two",
        [total.output, None, other, None],
        {**attributes, "body": Opaque("a subgraph", object())},
        types=[TensorType(DType.FLOAT32, (symbol("n 1"), 2)), TensorType(DType.STRING, None)],
        names=["a", "b c"],
        domain="com.example",
    )
    graph.set_output("y", total.output)
    return graph


def test_the_text_of_a_graph() -> None:
    assert str(golden_graph()) == GOLDEN


def test_the_golden_text_reads_back() -> None:
    graph = parse_graph(GOLDEN)
    verify(graph)
    assert str(graph) == GOLDEN
    two = list(graph)[-1]
    assert (two.domain, two.op, two.source, two.scope) == ("com.example", "Two", None, "")
    assert two.attributes["body"] == Opaque("a subgraph", None)
    assert two.attributes["bytes"] == b'\x00"'
    assert two.input(1) is None
    total = graph.outputs["y"].producer
    assert total is not None
    assert (total.source, total.scope) == (Source("my model.py", 13), "the norm")
    constants = {value.name: value.constant for value in graph.constants}
    assert isinstance(constants["linear.weight"], AbsentConstant)
    assert constants["words"].numpy().tolist() == ["a", b"\xff"]
    assert constants["scale"].numpy() == np.float16(0.1)
    assert constants["nothing"].shape == (0, 3)


def test_content_is_inferred_and_not_printed() -> None:
    graph = parse_graph(
        "graph g(x: float32[batch, seq]) -> (y: %y) {\n"
        "  %shape: int64[2] = Shape(%x)\n  %y: int64[4] = Concat(%shape, %shape) {axis=0}\n}"
    )
    batch, seq = symbol("batch"), symbol("seq")
    assert graph.outputs["y"].content == (batch, seq, batch, seq)


def test_building_a_graph_twice_gives_the_same_text() -> None:
    assert str(golden_graph()) == str(golden_graph())


def test_the_order_in_which_attributes_were_given_does_not_show() -> None:
    texts = set()
    for attributes in ({"transA": 1, "alpha": 0.5}, {"alpha": 0.5, "transA": 1}):
        graph = Graph()
        x = graph.add_input("x", DType.FLOAT32, (4, 4))
        add_node(graph, "Gemm", [x, x], attributes)
        texts.add(str(graph))
    assert len(texts) == 1
    assert "{alpha=0.5, transA=1}" in texts.pop()


@given(data=st.data())
def test_text_reads_back_as_the_same_text(random_graphs: ModuleType, data: st.DataObject) -> None:
    graph = data.draw(random_graphs.graphs())
    text = format_graph(graph)
    back = parse_graph(text)
    assert format_graph(back) == text
    verify(back)


@given(data=st.data())
def test_text_reads_back_as_the_same_graph(random_graphs: ModuleType, data: st.DataObject) -> None:
    graph = data.draw(random_graphs.graphs())
    back = parse_graph(str(graph))
    assert (back.name, back.metadata) == (graph.name, graph.metadata)
    assert list(back.inputs) == list(graph.inputs)
    assert {name: value.name for name, value in back.outputs.items()} == {
        name: value.name for name, value in graph.outputs.items()
    }
    assert [(value.name, value.type) for value in back.values()] == [
        (value.name, value.type) for value in graph.values()
    ]
    for ours, theirs in zip(back, graph, strict=True):
        assert (ours.op, ours.domain) == tuple(theirs.key.rpartition("::")[::-2])
        assert (ours.scope, ours.source) == (theirs.scope, theirs.source)
        assert [value and value.name for value in ours.inputs] == [value and value.name for value in theirs.inputs]
        assert repr(sorted(ours.attributes.items())) == repr(sorted(theirs.attributes.items()))


@given(data=st.data())
def test_printed_elements_read_back_as_the_same_bits(random_graphs: ModuleType, data: st.DataObject) -> None:
    dtype = data.draw(random_graphs.numeric_dtypes)
    array = random_graphs.random_bits(data.draw, dtype, 8)
    text = f"graph g() -> () {{\n  const %c: {dtype}[8] = {format_elements(ArrayConstant(array))}\n}}"
    (value,) = parse_graph(text).constants
    read = value.constant.numpy()
    if dtype.is_float:  # there are many NaNs, and they all print as nan
        missing = np.isnan(array.astype(np.float64))
        assert np.array_equal(np.isnan(read.astype(np.float64)), missing)
        array, read = array[~missing], read[~missing]
    assert read.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("dtype", "number", "text"),
    [
        ("float32", 0.1, "0.1"),
        ("float32", 1e-5, "1e-05"),
        ("float32", np.finfo(np.float32).min, "-3.4028235e+38"),
        ("float32", 16777216, "16777216.0"),
        ("float32", -0.0, "-0.0"),
        ("float64", 0.1, "0.1"),
        ("float64", 1 / 3, "0.3333333333333333"),
        ("float16", 65504, "65504.0"),
        ("float16", 1 / 3, "0.3333"),
        ("bfloat16", 1 / 3, "0.334"),
        ("float8_e4m3fn", 448, "448.0"),
        ("uint64", 2**64 - 1, "18446744073709551615"),
    ],
)
def test_numbers_are_printed_short(dtype: str, number: float, text: str) -> None:
    assert format_elements(ArrayConstant(number, dtype)) == text


def test_many_elements_are_not_printed() -> None:
    graph = Graph()
    add_array(graph, np.zeros(MOST_ELEMENTS), "few")
    add_array(graph, np.zeros(MOST_ELEMENTS + 1), "many")
    few, many = (line for line in str(graph).splitlines() if "const" in line)
    assert few.count("0.0") == MOST_ELEMENTS
    assert many == "  const %many: float64[65]"


def test_a_long_interface_has_a_line_for_each_name() -> None:
    graph = Graph("decoder")
    for layer in range(4):
        value = graph.add_input(f"past.{layer}.key", DType.FLOAT32, (1, 8, symbol("past"), 64))
        graph.set_output(f"present.{layer}.key", value)
    text = str(graph)
    assert text.startswith("graph decoder(\n  past.0.key: float32[1, 8, past, 64],\n")
    assert "  present.3.key: %past.3.key,\n) {\n}\n" in text
    assert str(parse_graph(text)) == text


def test_comments_and_blanks_that_mean_nothing_are_skipped() -> None:
    graph = parse_graph("""
        # a graph
        graph g ( x : float32[2] , )   # with one input
          ->( y :%y,) {                # and one output
          # twice
          %y:float32[2]=Add(  # not from here:12 or so
            %x,%x,) # see the paper

          %z: float32[2] = Relu(%x)  # @scope
        }  # the end""")
    assert str(graph) == (
        "graph g(x: float32[2]) -> (y: %y) {\n"
        "  %y: float32[2] = Add(%x, %x)\n  %z: float32[2] = Relu(%x)  # @scope\n}\n"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("layer.0/x-1", "layer.0/x-1"), ("onnx::Add_1", "onnx::Add_1"), ("größe", "größe"), ("a:0", '"a:0"')),
        *(("", '""'), ("a b", '"a b"'), ('"', r'"\""'), ("#", '"#"'), ("\n\x85", r'"\n\u0085"'), ("a::", '"a::"')),
    ],
)
def test_names_are_quoted_where_they_must_be(name: str, text: str) -> None:
    assert format_name(name) == text
    source = Graph(name)
    source.add_input(name, DType.INT8, ())
    assert str(source) == f"graph {text}({text}: int8[]) -> () {{\n}}\n"
    read = parse_graph(str(source))
    assert (read.name, list(read.inputs)) == (name, [name])


@pytest.mark.parametrize(
    ("word", "text"),
    [("C:\\m.py", "C:\\m.py"), ("a b", '"a b"'), ("@a", '"@a"'), ("a#b", "a#b"), ("\x07", r'"\u0007"')],
)
def test_sources_and_scopes_are_quoted_where_they_must_be(word: str, text: str) -> None:
    graph = Graph()
    graph.add("F", [], {"a": Opaque(word, None)}, types=[], names=[], domain="d", scope=word, source=Source(word, 7))
    assert str(graph).endswith(f"  # {text}:7 @{text}\n}}\n")


@pytest.mark.parametrize(
    ("description", "text"), [("a (b)", "<a (b)>"), ("#", '<"#">'), ("a>b", '<"a>b">'), ("", '<"">')]
)
def test_descriptions_are_quoted_where_they_must_be(description: str, text: str) -> None:
    assert format_attribute(Opaque(description, None)) == text
    graph = parse_graph(f"graph g() -> () {{ %x: int8[] = F() {{a={text}}} }}")
    assert next(iter(graph)).attributes == {"a": Opaque(description, None)}


HEAD = "graph g(a: float32[2, n], b: float32[3]) -> (y: %y) {\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1, column 1: expected 'graph', found the end of the text"),
        ("graphs g() -> () {}", "line 1, column 1: expected 'graph', found 'graphs'"),
        ("graph g(a: float[2]) -> () {}", "line 1, column 12: no element type 'float': expected one of float32, uint8"),
        ("graph g(a) -> () {}", "line 1, column 10: expected ':', found ')'"),
        ("graph g(a: 2) -> () {}", "line 1, column 12: expected a type such as float32[batch, 64], found '2'"),
        ("graph g(a: int8[n, 2 ** n]) -> () {}", "line 1, column 19: ' 2 ** n' is not a dimension"),
        ("graph g(a: int8[] b: int8[]) -> () {}", "line 1, column 19: expected ',' or ')', found 'b'"),
        ("graph g(a: int8[], a: int8[]) -> () {}", "line 1, column 20: %a is defined twice"),
        ("graph g() -> (y: %y) {}", "line 1, column 18: %y is not defined"),
        ("graph g(a: int8[]) -> (y: %a, y: %a) {}", "line 1, column 31: the graph has two outputs named y"),
        ("graph g() -> () {} graph", "line 1, column 20: expected the end of the text after '}', found 'graph'"),
        ("graph g() -> () {\n  nodes\n}", "line 2, column 3: expected a node such as '%y: float32[2] = Relu(%x)', "),
        ("graph g() -> () {", "'metadata' or '}', found the end of the text"),
        (HEAD + "%y = Relu(%a)}", "line 2, column 4: expected ':', found '='"),
        (HEAD + "%y: float32[2, n] = Relu(%z)}", "line 2, column 26: %z is not defined: expected an input, a constant"),
        (HEAD + "%y: float32[2, n] = Relu(y)}", "line 2, column 26: expected a value such as %x, found 'y'"),
        (HEAD + "%y: float32[2, n] = Relu(%a) {axis=1}}", "line 2, column 1: in %y: Relu has no attribute 'axis'"),
        (HEAD + "%y: float32[2, m] = Relu(%a)}", "%y is given as float32[2, m], and Relu gives float32[2, n]"),
        (HEAD + "%y: float16[2, n] = Relu(%a)}", "%y is given as float16[2, n], and Relu gives float32[2, n]"),
        (HEAD + "\n  %y: float32[3, 3] = MatMul(%b, %b, %b)}", "line 3, column 3: in %y: MatMul takes 2 operands"),
        (HEAD + "%y: int8[], %z: int8[] = Relu(%a)}", "line 2, column 1: in %y: Relu gives 1 results, and 2 were"),
        (HEAD + "%y: int8[], %y: int8[] = Two()}", "line 2, column 13: %y is defined twice"),
        (HEAD + "%y: int8[] = One() {a=1, a=2}}", "line 2, column 26: the attribute a is given twice"),
        (HEAD + "%y: int8[] = One() {a=[1, 2.0]}}", "line 2, column 27: the elements of a list are all integers, all"),
        (HEAD + "%y: int8[] = One() {a=1x}}", "line 2, column 23: expected a number, a string, a list or <a"),
        (HEAD + "%y: int8[] = One() {a=" + "1" * 5000 + "}}", "line 2, column 23: an integer of 5000 digits is too"),
        (HEAD + '%y: int8[] = One() {a="\\q"}}', 'line 2, column 23: "\\q" is not a string: expected the escapes'),
        (HEAD + '%y: int8[] = One() {a=b"é"}}', "line 2, column 23: b\"é\" does not spell bytes: expected ASCII"),
        (HEAD + "const %y: int8[2] = [1, 128]}", "line 2, column 25: 128 is no int8: expected -128 to 127"),
        (HEAD + "const %y: uint4[1] = [-1]}", "line 2, column 23: -1 is no uint4: expected 0 to 15"),
        (HEAD + "const %y: int8[2] = [1]}", "line 2, column 23: expected ',', found ']'"),
        (HEAD + "const %y: int8[1] = [1, 2]}", "line 2, column 23: expected ']', found ','"),
        (HEAD + "const %y: int8[1] = [1.5]}", "line 2, column 22: expected an integer, an element of int8, found"),
        (HEAD + "const %y: bool[] = 1}", "line 2, column 20: expected true or false, found '1'"),
        (HEAD + "const %y: float32[] = x}", "line 2, column 23: expected a number, an element of float32, found 'x'"),
        (HEAD + "const %y: string[] = x}", "line 2, column 22: expected a string such as \"text\", found 'x'"),
        (HEAD + "const %y: float32[n]}", "line 2, column 11: a constant has sizes that are integers, and this is"),
        (HEAD + "const %y: float32[...]}", "line 2, column 11: a constant has sizes that are integers, and this is"),
        (HEAD + f"const %y: int8[{'1, ' * 64}1] = 1}}", "line 2, column 11: elements are read for at most 64 axes"),
    ],
    ids=lambda text: text.removeprefix(HEAD)[:40],
)  # fmt: skip
def test_wrong_text_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ParseError) as raised:
        parse_graph(text)
    assert message in str(raised.value)


@given(data=st.data())
def test_damaged_text_is_refused_or_read_and_nothing_else_happens(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(GOLDEN)))
    stop = data.draw(st.integers(start, min(start + 20, len(GOLDEN))))
    damaged = GOLDEN[:start] + data.draw(st.text(max_size=3)) + GOLDEN[stop:]
    with contextlib.suppress(ParseError):
        verify(parse_graph(damaged))
