"""Reshapes to the only shape that their operand can have (`passes/canonical/broadcast_views.py`)."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tfgraph.backends.onnx.read import from_onnx
from tfgraph.dsl import functional as F
from tfgraph.dsl.trace import TensorSpec
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.dims import maximum, symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.verify import verify
from tfgraph.passes.canonical.broadcast_views import BROADCAST_VIEWS
from tfgraph.passes.cleanup import remove_dead_nodes

FITTING = ({"batch": 2, "other": 2, "seq": 3, "keys": 3}, {"batch": 2, "other": 1, "seq": 3, "keys": 1})
"""Sizes with which what the mask has broadcasts to what the scores have."""


def masked(*views, order=(0, 1, 2, 3), mask=("other", 1, "seq", "keys")):
    """Scores plus a mask of symbols of its own, reshaped to each of `views` in turn."""
    nodes = [
        helper.make_node("Shape", ["scores"], ["batch"], start=0, end=1),
        helper.make_node("Shape", ["scores"], ["seq"], start=2, end=3),
        helper.make_node("Mul", ["batch", "four"], ["folded"]),
        helper.make_node("Add", ["scores", "mask"], ["total"]),
        helper.make_node("Transpose", ["total"], ["view"], perm=order),
    ]
    constants = {"four": [4]}
    for index, view in enumerate(views):
        parts = []
        for axis, size in enumerate(view):
            parts.append(size if isinstance(size, str) else f"size_{index}_{axis}")
            if not isinstance(size, str):
                constants[parts[-1]] = [size]
        nodes.append(helper.make_node("Concat", parts, [f"shape_{index}"], axis=0))
        nodes.append(helper.make_node("Reshape", [nodes[-2].output[0], f"shape_{index}"], [f"view_{index}"]))
    nodes.append(helper.make_node("Relu", [nodes[-1].output[0]], ["y"]))
    inputs = [
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 4, "seq", "seq"]),
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, mask),
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weights = [numpy_helper.from_array(np.asarray(value, np.int64), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "masked", inputs, [output], weights)
    return from_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))


@pytest.mark.parametrize(
    "views",
    [
        [("batch", 4, "seq", "seq")],
        [("folded", "seq", "seq"), ("batch", 4, "seq", "seq")],  # TensorFlow's BART
    ],
)
def test_a_view_to_the_shape_of_the_scores_goes(same_numbers, views):
    before = masked(*views)
    after = copy_graph(before)
    assert BROADCAST_VIEWS.apply(after) == {"drop_view_of_broadcast": 1}
    verify(after)
    remove_dead_nodes(after)
    assert Counter(node.key for node in after) == {"Add": 1, "Transpose": 1, "Relu": 1}
    same_numbers(before, after, FITTING)


@pytest.mark.parametrize(
    ("views", "options"),
    [
        ([("batch", 2, -1, "seq")], {}),  # other axes
        ([("folded", "seq", "seq")], {}),  # not unfolded
        ([("batch", 4, "seq", "seq")], {"mask": ("other", 1, 5, 5)}),  # then the scores may have one row, the sum five
        ([("batch", "seq", 4, "seq")], {}),  # exchanged, without a transpose
    ],
)
def test_a_view_that_does_something_stays(views, options):
    graph = masked(*views, **options)
    before = str(graph)
    assert not BROADCAST_VIEWS.apply(graph)
    assert str(graph) == before


BATCH, OTHER, SEQ, KEYS = (symbol(name) for name in ("batch", "other", "seq", "keys"))
TOTAL = TensorSpec(DType.FLOAT32, (maximum(BATCH, OTHER), 4, SEQ, maximum(SEQ, KEYS)))


def test_such_a_view_of_an_input_goes(fires, leaves, op):
    given = {"total": TOTAL, "scores": "batch 4 seq seq"}
    fires(
        "drop_view_of_broadcast",
        lambda total, scores: op("ReduceSum", F.relu(op("Reshape", total, op("Shape", scores))), keepdims=0),
        {"Relu": 1, "ReduceSum": 1},
        sizes=FITTING,
        **given,
    )

    def viewed(total, scores):
        return op("Reshape", total, op("Shape", scores))

    leaves("drop_view_of_broadcast", viewed, sizes=FITTING, **given)
    given["scores"] = "seq batch seq 4"
    leaves("drop_view_of_broadcast", lambda total, scores: F.relu(viewed(total, scores)), sizes=FITTING, **given)
