"""The opset of a file: the target's own, unless an operator of the model is older or newer than what it can be in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

import tfgraph as tg
from tfgraph.backends.onnx.opset_choice import settle_opset
from tfgraph.backends.onnx.read import from_onnx
from tfgraph.errors import TargetError
from tfgraph.targets import get_target

CPU, ONNX = get_target("cpu"), get_target("onnx")


def model_of(nodes: list[Any], opset: int = 21) -> onnx.ModelProto:
    inputs = [make_tensor_value_info("x", TensorProto.FLOAT, [2, 8])]
    axis = onnx.numpy_helper.from_array(np.array(0), "axis")
    graph = make_graph(nodes, "g", inputs, [make_tensor_value_info("y", TensorProto.FLOAT, None)], [axis])
    return make_model(graph, opset_imports=[make_opsetid("", opset)], ir_version=10)


def inside(node: Any) -> list[Any]:
    """The node in both branches of an `If`."""
    branch = make_graph([node], "b", [], [make_tensor_value_info("y", TensorProto.FLOAT, None)])
    condition = onnx.helper.make_tensor("c", TensorProto.BOOL, [], [True])
    return [
        make_node("Constant", [], ["c"], value=condition),
        make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
    ]


RANDOM = make_node("RandomNormalLike", ["x"], ["y"])
PRODUCT = make_node("CumProd", ["x", "axis"], ["y"])


@pytest.mark.parametrize(
    ("nodes", "opset", "cpu", "standard"),
    [
        ([make_node("Relu", ["x"], ["y"])], 21, 24, 20),
        ([RANDOM], 17, 21, 20),
        (inside(RANDOM), 17, 21, 20),
        ([PRODUCT], 26, 26, 26),
        (inside(PRODUCT), 26, 26, 26),
    ],
)
def test_the_opset_is_the_nearest_that_has_all_operators(nodes, opset, cpu, standard):
    graph = from_onnx(model_of(nodes, opset))
    assert settle_opset(graph, CPU).opset == cpu
    assert settle_opset(graph, ONNX).opset == standard


def test_what_has_a_definition_does_not_count():
    graph = from_onnx(model_of([make_node("Gelu", ["x"], ["h"]), make_node("RandomNormalLike", ["h"], ["y"])], 20))
    assert settle_opset(graph, replace(CPU, last_opsets={"RandomNormalLike": 19})).opset == 19


def test_where_no_opset_has_all_it_stays_and_lowering_says_why():
    nodes = [make_node("CumProd", ["x", "axis"], ["h"]), make_node("RandomNormalLike", ["h"], ["y"])]
    graph = from_onnx(model_of(nodes, 26))
    assert settle_opset(graph, CPU) is CPU
    with pytest.raises(TargetError, match="CumProd came with opset 26, and the target reads 24"):
        tg.compile(graph, target="cpu").to_onnx_ir()


@pytest.mark.parametrize(("node", "opset"), [(RANDOM, 17), (PRODUCT, 26)])
def test_onnx_runtime_runs_the_file(tmp_path, node, opset):
    onnx.save(model_of([node], opset), tmp_path / "in.onnx")
    report = tg.optimize_onnx(tmp_path / "in.onnx", tmp_path / "out.onnx", verify=True)
    assert report.proof.verdict == "equal" or "random" in report.proof.reason
