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


def test_names_keep_their_case_in_the_page():
    from tfgraph.html_report import render_html
    from tfgraph.optimizer import OptimizationReport

    report = OptimizationReport(target="cpu", proof=Proof("equal", cases=("x",), errors={"Y": 0.0}, padding={"Y": 2.0}))
    assert "these differ: Y (by 2)" in render_html(report, title="t")
