"""The proof of two files: what counts as equal, what is said of padding, and what is no proof."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from tfgraph.backends.onnx.read import from_onnx
from tfgraph.errors import VerificationError
from tfgraph.proof import Proof, prove


def masked_file(path: Path, offset: float, over_text: bool = False) -> Path:
    """`x * mask`, and `offset` wherever the mask is 0; or everywhere."""
    nodes = [
        make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        make_node("Unsqueeze", ["mask", "last"], ["column"]),
        make_node("Mul", ["X", "column"], ["kept"]),
        make_node("Sub", ["one", "column"], ["hidden"]),
        make_node("Mul", ["one" if over_text else "hidden", "offset"], ["filler"]),
        make_node("Add", ["kept", "filler"], ["Y"]),
    ]
    arrays = {"last": np.array([2]), "one": np.float32(1), "offset": np.float32(offset)}
    graph = make_graph(
        nodes,
        "g",
        [
            make_tensor_value_info("X", TensorProto.FLOAT, ["batch", "seq", 4]),
            make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "seq"]),
        ],
        [make_tensor_value_info("Y", TensorProto.FLOAT, ["batch", "seq", 4])],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8), path)
    return path


def test_what_differs_at_padding_alone_is_equal_and_is_said(tmp_path):
    original, other = masked_file(tmp_path / "a.onnx", 0.0), masked_file(tmp_path / "b.onnx", 7.0)
    proof = prove(from_onnx(original), original, other)
    assert proof.verdict == "equal" and proof.errors == {"Y": 0.0}
    assert proof.padding["Y"] > 1.0
    assert proof.as_dict()["padding"] == dict(proof.padding)
    assert f"where there is padding, these differ: Y (by {proof.padding['Y']:.2g})" in str(proof)


def test_nothing_is_said_of_padding_where_all_is_equal(tmp_path):
    original, other = masked_file(tmp_path / "a.onnx", 3.0), masked_file(tmp_path / "b.onnx", 3.0)
    proof = prove(from_onnx(original), original, other)
    assert proof.verdict == "equal" and not proof.padding
    assert "padding" not in str(proof)


def test_what_differs_in_the_text_is_no_matter_of_padding(tmp_path):
    original, other = masked_file(tmp_path / "a.onnx", 0.0), masked_file(tmp_path / "b.onnx", 0.1, over_text=True)
    with pytest.raises(VerificationError, match="the output 'Y' of the optimised model differs"):
        prove(from_onnx(original), original, other)


def sequence_file(path: Path, factor: float, results: str = "y, x") -> Path:
    """`s = [x * factor, x]`, or what is named, and an optional value that is missing."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[n] x) => (seq(float) s, optional(float) o) {{
            factor = Constant <value = float {{{factor}}}> ()
            y = Mul (x, factor)
            s = SequenceConstruct ({results})
            o = Optional <type = float[2]> ()
        }}"""
    )
    onnx.save(model, path)
    return path


def test_sequences_and_optional_values_are_compared(tmp_path):
    original = sequence_file(tmp_path / "a.onnx", 2.0)
    proof = prove(from_onnx(original), original, sequence_file(tmp_path / "b.onnx", 2.0))
    assert proof.verdict == "equal"
    assert proof.errors == {"s": 0.0, "o": 0.0}
    with pytest.raises(VerificationError, match="the output 's' of the optimised model differs from"):
        prove(from_onnx(original), original, sequence_file(tmp_path / "c.onnx", 2.1))
    with pytest.raises(VerificationError, match=r"the output .s. of the optimised model .* by inf"):
        prove(from_onnx(original), original, sequence_file(tmp_path / "d.onnx", 2.0, "y, x, x"))


def test_a_sequence_that_goes_in_is_not_generated(tmp_path):
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (seq(float[m]) s) => (int64 n) { n = SequenceLength (s) }"""
    )
    onnx.save(model, tmp_path / "a.onnx")
    proof = prove(from_onnx(tmp_path / "a.onnx"), tmp_path / "a.onnx", tmp_path / "a.onnx")
    assert proof.verdict == "not verified"
    assert "input 's' is sequence<float32[m]>: random inputs are tensors" in proof.reason


def test_names_keep_their_case_in_the_page():
    from tfgraph.html_report import render_html
    from tfgraph.optimizer import OptimizationReport

    report = OptimizationReport(target="cpu", proof=Proof("equal", cases=("x",), errors={"Y": 0.0}, padding={"Y": 2.0}))
    assert "these differ: Y (by 2)" in render_html(report, title="t")


def test_an_output_is_as_exact_as_the_coarsest_arithmetic_behind_it():
    from tfgraph.dsl import functional as F
    from tfgraph.dsl.trace import spec, trace
    from tfgraph.ir.dtypes import DType
    from tfgraph.proof import computed_in

    def mixed(x, y, weight):
        stored = F.cast(weight, "float32") * y  # half precision in storage alone
        return F.cast(x * x, "float32") + y, stored

    inputs = {"x": spec("float16", (4,)), "y": spec("float32", (4,)), "weight": spec("float16", (4,))}
    found = list(computed_in(trace(mixed, **inputs)).values())
    assert found == [DType.FLOAT16, DType.FLOAT32]
