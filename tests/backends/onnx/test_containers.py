"""Sequences and optional values in files: read, carried through all passes and subgraphs, and written as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_node, make_optional_type_proto, make_sequence_type_proto, make_tensor_type_proto

import tfgraph as tg
from tfgraph.backends.onnx.lower import to_onnx_ir
from tfgraph.backends.onnx.read import from_onnx
from tfgraph.backends.onnx.write import to_bytes
from tfgraph.compiler import compile
from tfgraph.errors import OnnxError
from tfgraph.ir.parse import parse_graph
from tfgraph.ir.types import OptionalType, SequenceType
from tfgraph.ir.verify import verify

F = TensorProto.FLOAT


def model_of(text: str, opset: int = 18) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}, "my.own" : 1]>\n{text}')
    onnx.checker.check_model(model)
    return model


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(len(shapes))
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            same(ours, theirs)
    else:
        np.testing.assert_array_equal(found, expected)


# a model, and what it is run on: each is compared with itself after import, all passes, and export
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "a sequence in and out": (
        """g (seq(float[N, 2]) s, float[M, 2] x) => (seq(float[K, 2]) r, int64 n) {
            h = Relu (x)
            r = SequenceInsert (s, h)
            n = SequenceLength (r)
        }""",
        {"s": arrays((1, 2), (3, 2)), "x": arrays((4, 2))[0]},
    ),
    "a sequence between nodes": (
        """g (float[6, 2] x) => (float[A, 2] y) {
            s = SplitToSequence <axis = 0> (x)
            i = Constant <value = int64 {1}> ()
            a = SequenceAt (s, i)
            b = Identity (s)
            c = ConcatFromSequence <axis = 0> (b)
            y = Add (c, a)
        }""",
        {"x": arrays((6, 2))[0]},
    ),
    "an empty sequence": (
        """g (float[2] x) => (seq(float) r) {
            e = SequenceEmpty <dtype = 1> ()
            r = SequenceInsert (e, x)
        }""",
        {"x": arrays((2,))[0]},
    ),
    "a sequence handed through": ("g (seq(float[N]) s) => (seq(float[N]) r) { r = Identity (s) }", {"s": arrays((3,))}),
    "an input that is an output": ("g (seq(float[N]) s) => (seq(float[N]) s) { }", {"s": arrays((3,), (1,))}),
    "an optional value that is there": (
        """g (optional(float[N]) o) => (bool h, optional(float[N]) r, float[N] v) {
            h = OptionalHasElement (o)
            r = Identity (o)
            v = OptionalGetElement (o)
        }""",
        {"o": arrays((3,))[0]},
    ),
    "an optional value that is missing": (
        """g (optional(seq(float[N])) o, float[2] x) => (bool h, optional(float[2]) r) {
            h = OptionalHasElement (o)
            r = Optional (x)
        }""",
        {"o": None, "x": arrays((2,))[0]},
    ),
    "a sequence captured by branches": (
        """g (seq(float[N]) s, bool c, float[2] w) => (float[2] y, seq(float[A]) z) {
            y, z = If (c) <
                then_branch = t () => (float[2] a, seq(float[A]) b) {
                    i = Constant <value = int64 {0}> ()
                    a = SequenceAt (s, i)
                    b = Identity (s)
                },
                else_branch = e () => (float[2] d, seq(float[A]) f) {
                    j = Constant <value = int64 {1}> ()
                    u = SequenceAt (s, j)
                    d = Mul (u, w)
                    f = SequenceInsert (s, d)
                }
            >
        }""",
        {"s": arrays((2,), (2,)), "c": np.array(False), "w": arrays((2,))[0]},
    ),
    "a sequence that a loop makes longer": (
        """g (float[2] x, int64 n) => (seq(float[2]) r) {
            e = SequenceEmpty <dtype = 1> ()
            t = Constant <value = bool {1}> ()
            r = Loop (n, t, e) <body = b (int64 i, bool c, seq(float[2]) p) => (bool d, seq(float[2]) q) {
                d = Identity (c)
                f = Cast <to = 1> (i)
                v = Add (x, f)
                q = SequenceInsert (p, v)
            }>
        }""",
        {"x": arrays((2,))[0], "n": np.array(3)},
    ),
    "a map over sequences": (
        """g (seq(float[N]) s, seq(float[N]) t, float[1] w) => (seq(float[N]) r) {
            r = SequenceMap (s, t) <body = b (float[N] p, float[N] q) => (float[N] o) {
                m = Mul (p, w)
                o = Add (m, q)
            }>
        }""",
        {"s": arrays((3,), (1,)), "t": arrays((3,), (1,)), "w": arrays((1,))[0]},
    ),
}


@pytest.mark.parametrize("name", list(MODELS))
def test_results_stay_through_all_passes(name: str, run_onnx: Any) -> None:
    text, feed = MODELS[name]
    model = model_of(text)
    compiled = compile(from_onnx(model), target="cpu")
    verify(compiled.graph)
    data = to_bytes(compiled.to_onnx_ir())
    onnx.checker.check_model(data)
    expected, found = run_onnx(model.SerializeToString(), feed), run_onnx(data, feed)
    assert list(found) == list(expected)
    for output, value in expected.items():
        same(found[output], value)


@pytest.mark.parametrize("name", list(MODELS))
def test_the_interface_stays(name: str, anything: Any) -> None:
    model = model_of(MODELS[name][0])
    written = onnx.load_from_string(to_bytes(to_onnx_ir(from_onnx(model), anything)))
    for before, after in zip(
        [*model.graph.input, *model.graph.output], [*written.graph.input, *written.graph.output], strict=True
    ):
        assert before.name == after.name
        kinds = [value.type.WhichOneof("value") for value in (before, after)]
        assert kinds[0] == kinds[1]
    assert [value.type for value in written.graph.input] == [value.type for value in model.graph.input]


@pytest.mark.parametrize("name", list(MODELS))
def test_the_text_form_reads_back(name: str) -> None:
    graph = from_onnx(model_of(MODELS[name][0]))
    assert str(parse_graph(str(graph))) == str(graph)


def test_types_follow_from_the_standard_and_from_subgraphs() -> None:
    graph = from_onnx(model_of(MODELS["a sequence between nodes"][0]))
    types = {value.name: str(value.type) for node in graph for value in node.outputs}
    assert types["s"] == types["b"] == "sequence<float32[1, 2]>"
    assert types["a"].startswith("float32[")
    graph = from_onnx(model_of(MODELS["a sequence that a loop makes longer"][0]))
    assert isinstance(graph.outputs["r"].type, SequenceType)
    graph = from_onnx(model_of(MODELS["an optional value that is missing"][0]))
    assert isinstance(graph.outputs["r"].type, OptionalType)


def test_branches_that_return_different_shapes_have_the_kind_in_common() -> None:
    text = """g (float[2] x, float[3] z, bool c) => (int64 n) {
        y = If (c) <
            then_branch = t () => (seq(float[2]) a) { a = SequenceConstruct (x) },
            else_branch = e () => (seq(float[3]) b) { b = SequenceConstruct (z) }
        >
        n = SequenceLength (y)
    }"""
    graph = from_onnx(model_of(text))
    types = {value.name: str(value.type) for node in graph for value in node.outputs}
    assert types["y"] == "sequence<float32[...]>"


def test_a_type_as_an_attribute_is_carried(anything: Any) -> None:
    type_ = make_sequence_type_proto(make_tensor_type_proto(F, ["n", 3]))
    node = make_node("Optional", [], ["o"])
    node.attribute.append(onnx.helper.make_attribute("type", type_))
    output = onnx.helper.make_value_info("o", make_optional_type_proto(type_))
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", [], [output]), opset_imports=[onnx.helper.make_opsetid("", 18)]
    )
    graph = from_onnx(model)
    assert "type=<type sequence<float32[n, 3]>>" not in str(graph)  # quoted, for the brackets in it
    assert 'type=<"type sequence<float32[n, 3]>">' in str(graph)
    written = onnx.load_from_string(to_bytes(to_onnx_ir(graph, anything)))
    assert written.graph.node[0].attribute[0].tp == type_
    assert written.graph.output[0].type == output.type


def declared(type_: onnx.TypeProto, op: str = "SequenceLength") -> onnx.ModelProto:
    """A model that gives its input, of the type, to a node."""
    graph = onnx.helper.make_graph(
        [make_node(op, ["x"], ["y"])], "g", [onnx.helper.make_value_info("x", type_)], [onnx.ValueInfoProto(name="y")]
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])


def nested(depth: int) -> onnx.TypeProto:
    type_ = make_tensor_type_proto(F, [2])
    for _ in range(depth):
        type_ = make_sequence_type_proto(type_)
    return type_


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (declared(make_sequence_type_proto(onnx.TypeProto())), "the input 'x' of the model has no name, or no element"),
        (declared(make_sequence_type_proto(make_tensor_type_proto(0, None))), "has no name, or no element type"),
        (declared(make_sequence_type_proto(make_tensor_type_proto(99, None))), "element type number 99"),
        (declared(nested(17)), "17 containers in each other: expected at most 16"),
        (declared(nested(30)), "containers in each other: expected at most 16"),
        (declared(nested(1), "Relu"), r"takes tensors only, and its input 'x' is sequence<float32\[2\]>"),
        (declared(make_tensor_type_proto(F, [2])), "not valid ONNX"),
        (declared(onnx.helper.make_map_type_proto(7, nested(1))), "the value 'x' is a map, and tfgraph reads tensors"),
        (
            declared(make_sequence_type_proto(onnx.helper.make_sparse_tensor_type_proto(F, [2]))),
            "the value 'x' is a sparse tensor, and tfgraph reads tensors",
        ),
    ],
)
def test_damaged_files_give_typed_errors(model: onnx.ModelProto, message: str) -> None:
    with pytest.raises(OnnxError, match=message):
        from_onnx(model)


def test_an_operator_of_another_domain_takes_and_gives_what_the_file_says(anything: Any) -> None:
    text = "g (seq(float[2]) s) => (optional(seq(float[2])) y) { y = my.own.Mystery (s) }"
    graph = from_onnx(model_of(text))
    assert str(graph.outputs["y"].type) == "optional<sequence<float32[2]>>"
    written = onnx.load_from_string(to_bytes(to_onnx_ir(graph, anything)))
    assert written.graph.output[0].type == make_optional_type_proto(make_sequence_type_proto(nested(0)))


def test_an_optimised_file_keeps_its_interface_to_the_letter(tmp_path: Any) -> None:
    model = model_of("g (seq(float[?, 2]) s, optional(seq(float)) o) => (seq(float[?, 2]) r, bool h) { r = Identity (s)"
                     " h = OptionalHasElement (o) }")  # fmt: skip
    model.graph.input[0].doc_string = "rows"
    onnx.save(model, tmp_path / "in.onnx")
    report = tg.optimize_onnx(tmp_path / "in.onnx", tmp_path / "out.onnx")
    assert report.proof.verdict == "not verified"
    assert "input 's' is sequence<float32[s_0, 2]>: random inputs are tensors" in report.proof.reason
    written = onnx.load(tmp_path / "out.onnx")
    assert list(written.graph.input) == list(model.graph.input)
    assert list(written.graph.output) == list(model.graph.output)
