"""Comparing two ONNX files: equal ones, ones that differ by a known amount, and ones that cannot be compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tfgraph as tg
from tests.tiny_checkpoint import write_checkpoint
from tfgraph.errors import InputError, OnnxError, TargetError
from tfgraph.verification import compare

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def write(path: Path, nodes, inputs, outputs, constants=()) -> Path:
    """An ONNX file; nodes as (operator, inputs, outputs, attributes), values as (name, type, shape)."""
    made = [helper.make_node(op, ins, outs, **attributes) for op, ins, outs, attributes in nodes]
    values = [[helper.make_tensor_value_info(*value) for value in group] for group in (inputs, outputs)]
    arrays = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants]
    graph = helper.make_graph(made, "g", *values, arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def scaled(path: Path, factor: float, shape=("batch", "seq")) -> Path:
    """`y = x * factor`."""
    nodes = [("Mul", ["x", "factor"], ["y"], {})]
    return write(path, nodes, [("x", FLOAT, shape)], [("y", FLOAT, shape)], [("factor", np.float32(factor))])


def test_an_optimised_model_equals_the_plain_one(tmp_path):
    bert = tg.load(write_checkpoint(tmp_path / "checkpoint"))
    for name, fuse in (("fused", True), ("plain", False)):
        tg.compile(bert, fuse=fuse).save(tmp_path / name)
    comparison = compare(tmp_path / "plain", tmp_path / "fused", cases=5)
    assert comparison.equal
    assert [difference.output for difference in comparison.differences] == ["sentence_embedding", "last_hidden_state"]
    assert all(0 <= difference.relative <= 1e-5 for difference in comparison.differences)
    assert len({tuple(sizes.values()) for sizes in comparison.sizes}) == 5


def test_a_difference_is_measured(tmp_path):
    first, second = scaled(tmp_path / "a", 2.0), scaled(tmp_path / "b", 2.02)
    comparison = compare(first, second)
    (difference,) = comparison.differences
    assert not comparison.equal
    assert difference.relative == pytest.approx(0.01, rel=1e-3)  # of the largest magnitude, which it is an error of
    assert difference.absolute > difference.relative
    assert compare(first, second, tolerance=0.02).equal
    assert compare(first, first).differences[0].absolute == 0


def test_the_worst_case_counts(tmp_path):
    """The files differ only for inputs of one row, which one case of three has."""
    nodes = [
        ("Shape", ["x"], ["shape"], {"end": 1}),
        ("Equal", ["shape", "one"], ["single"], {}),
        ("Where", ["single", "offset", "zero"], ["added"], {}),
        ("Add", ["x", "added"], ["y"], {}),
    ]
    values = [("one", np.array([1])), ("offset", np.float32([0.5])), ("zero", np.float32([0]))]
    x, y = ("x", FLOAT, ("batch", "seq")), ("y", FLOAT, ("batch", "seq"))
    second = write(tmp_path / "b", nodes, [x], [y], values)
    comparison = compare(scaled(tmp_path / "a", 1.0), second)
    assert [sizes["batch"] == 1 for sizes in comparison.sizes].count(True) == 1
    assert comparison.differences[0].absolute == pytest.approx(0.5, rel=1e-5)
    assert compare(tmp_path / "a", second, sizes={"batch": 2}).equal


def test_results_of_other_shapes(tmp_path):
    x = ("x", FLOAT, ("n", 2))
    first = write(tmp_path / "a", [("Identity", ["x"], ["y"], {})], [x], [("y", FLOAT, None)])
    second = write(tmp_path / "b", [("Flatten", ["x"], ["y"], {"axis": 0})], [x], [("y", FLOAT, None)])
    (difference,) = compare(first, second, sizes={"n": 3}).differences
    assert difference.note == "shape [1, 6] instead of [3, 2]" and difference.relative == np.inf
    assert difference.as_dict()["relative"] is None and difference.as_dict()["equal"] is False


def test_not_a_number_equals_only_itself(tmp_path):
    x, y = ("x", FLOAT, ("n",)), ("y", FLOAT, ("n",))
    nodes = [("Sub", ["x", "x"], ["zero"], {}), ("Div", ["zero", "zero"], ["y"], {})]
    nan = write(tmp_path / "nan", nodes, [x], [y])
    zero = write(tmp_path / "zero", [("Sub", ["x", "x"], ["y"], {})], [x], [y])
    assert compare(nan, nan).equal
    assert compare(nan, zero).differences[0].note == "elements that are not finite differ"


def test_integers_must_be_equal(tmp_path):
    x, y = ("x", INT64, ("n", 9)), ("y", INT64, ("n", 9))
    first = write(tmp_path / "a", [("Add", ["x", "c"], ["y"], {})], [x], [y], [("c", np.int64(1_000_000))])
    second = write(tmp_path / "b", [("Add", ["x", "c"], ["y"], {})], [x], [y], [("c", np.int64(1_000_001))])
    assert compare(first, first).equal
    assert not compare(first, second, tolerance=0.5).equal


def test_texts_must_be_equal(tmp_path):
    x, y = ("x", FLOAT, ("n",)), ("y", STRING, ("n",))
    files = []
    for digits in (2, 3):
        nodes = [("Mul", ["x", "c"], ["scaled"], {}), ("Cast", ["scaled"], ["y"], {"to": STRING})]
        files.append(write(tmp_path / str(digits), nodes, [x], [y], [("c", np.float32(digits))]))
    assert compare(files[0], files[0]).equal
    assert "texts differ" in compare(*files).differences[0].note


# -- sizes -----------------------------------------------------------------------------------------------------------


def test_sizes_that_the_second_file_fixes(tmp_path):
    first, second = scaled(tmp_path / "a", 2.0), scaled(tmp_path / "b", 2.0, shape=("rows", 7))
    assert all(sizes["seq"] == 7 for sizes in compare(first, second).sizes)


def test_sizes_that_only_the_second_file_knows_to_be_equal(tmp_path):
    def added(path, shapes):
        inputs = [(name, FLOAT, shape) for name, shape in zip("ab", shapes, strict=True)]
        return write(path, [("Add", ["a", "b"], ["y"], {})], inputs, [("y", FLOAT, None)])

    loose, strict = added(tmp_path / "a", [("m", 3), ("n", 3)]), added(tmp_path / "b", [("rows", 3), ("rows", 3)])
    assert all(sizes["m"] == sizes["n"] for sizes in compare(loose, strict).sizes)
    with pytest.raises(TargetError, match=r"It ran with m=2, n=5: where a size .* follows from another, choose it"):
        compare(loose, loose)
    assert compare(loose, loose, sizes={"m": 4, "n": 4}).equal


def test_inputs_of_integers_are_taken_to_be_of_one_shape(tmp_path):
    inputs = [("ids", INT64, ("s1", "s2")), ("mask", INT64, ("s3", "s2"))]
    path = write(tmp_path / "a", [("Mul", ["ids", "mask"], ["y"], {})], inputs, [("y", INT64, None)])
    assert all(sizes["s1"] == sizes["s3"] for sizes in compare(path, path).sizes)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"length": 3}, "there is no size 'length': the first file leaves open batch, seq, each 1 or more"),
        ({"seq": 0}, "seq=0 is no size: the first file leaves open batch, seq"),
    ],
)
def test_wrong_sizes(tmp_path, sizes, message):
    path = scaled(tmp_path / "a", 1.0)
    with pytest.raises(InputError, match=message):
        compare(path, path, sizes=sizes)


# -- files that cannot be compared -----------------------------------------------------------------------------------


def test_other_inputs_and_outputs(tmp_path):
    x, y = ("x", FLOAT, ("n",)), ("y", FLOAT, ("n",))
    plain = write(tmp_path / "a", [("Relu", ["x"], ["y"], {})], [x], [y])
    more = write(tmp_path / "b", [("Add", ["x", "z"], ["y"], {})], [x, ("z", FLOAT, ("n",))], [y])
    renamed = write(tmp_path / "c", [("Relu", ["x"], ["out"], {})], [x], [("out", FLOAT, ("n",))])
    typed = write(tmp_path / "d", [("Cast", ["x"], ["y"], {"to": INT64})], [x], [("y", INT64, ("n",))])
    for second, message in (
        (more, f"their inputs differ: only {more} has 'z'"),
        (renamed, f"their outputs differ: only {plain} has 'y'; only {renamed} has 'out'"),
        (typed, f"their outputs differ: 'y' is float32 in {plain} and int64 in {typed}"),
    ):
        with pytest.raises(InputError) as caught:
            compare(plain, second)
        assert str(caught.value) == f"the files cannot be compared, {message}"


def test_no_cases_and_no_file(tmp_path):
    path = scaled(tmp_path / "a", 1.0)
    with pytest.raises(InputError, match="0 cases compare nothing: give 1 or more"):
        compare(path, path, cases=0)
    with pytest.raises(OnnxError, match="nowhere"):
        compare(path, tmp_path / "nowhere")
    (tmp_path / "text").write_text("no model")
    with pytest.raises(OnnxError, match="text"):
        compare(tmp_path / "text", path)


def sequences(path: Path, factor: float, *, take: str = "x, y", kind: str = "seq") -> Path:
    """`s = [x * factor, y]`, or as many of them as `take` names; or an optional value of it."""
    make = "SequenceConstruct" if kind == "seq" else "Optional"
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[a, b] z, float[c] y) => ({kind}(float) s) {{
            factor = Constant <value = float {{{factor}}}> ()
            x = Mul (z, factor)
            s = {make} ({take})
        }}"""
    )
    path.write_bytes(model.SerializeToString())
    return path


def test_sequences_are_compared_element_by_element(tmp_path):
    first = sequences(tmp_path / "a", 2.0)
    assert compare(first, first).differences[0].absolute == 0
    comparison = compare(first, sequences(tmp_path / "b", 2.02))
    (difference,) = comparison.differences
    assert not comparison.equal
    assert 0.001 < difference.relative < 0.02
    longer = compare(first, sequences(tmp_path / "c", 2.0, take="x, y, y"))
    assert longer.differences[0].note == "3 tensors instead of 2"
    assert not longer.equal


def test_a_sequence_is_no_optional_value(tmp_path):
    first, second = (sequences(tmp_path / kind, 2.0, take="x", kind=kind) for kind in ("seq", "optional"))
    with pytest.raises(InputError, match=r"'s' is sequence<float32> in .*seq and optional<float32> in .*optional"):
        compare(first, second)
