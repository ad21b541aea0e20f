"""Old forms of operators: a model of an old opset computes the same after import and lowering at opset 24."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from tfgraph.backends.onnx.lower import to_onnx_ir
from tfgraph.backends.onnx.read import from_onnx
from tfgraph.backends.onnx.upgrade import FORMS, form_since
from tfgraph.backends.onnx.upgrade_meaning import MEANINGS
from tfgraph.errors import OnnxError, TargetError

X = (TensorProto.FLOAT, [2, 3, 4])
IMAGE = (TensorProto.FLOAT, [1, 2, 4, 6])
REDUCTIONS = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]

# name -> (opset, nodes, extra initializers, shape of x); every model maps x to y
CASES: dict[str, tuple[int, list[onnx.NodeProto], dict[str, np.ndarray], tuple[int, list[int]]]] = {
    **{
        f"Reduce{name}-{opset}-{label}": (
            opset,
            [make_node("Abs", ["x"], ["a"]), make_node(f"Reduce{name}", ["a"], ["y"], **attributes)],
            {},
            X,
        )
        for name in REDUCTIONS
        for opset, label, attributes in [
            (11, "axes", {"axes": [1], "keepdims": 0}),
            (12, "all", {"keepdims": 0}),
            (12, "negative", {"axes": [-1, 0]}),
        ]
    },
    "Squeeze-9": (
        9, [make_node("Unsqueeze", ["x"], ["u"], axes=[0, 4]), make_node("Squeeze", ["u"], ["y"], axes=[4])], {}, X
    ),
    "Squeeze-11-all": (
        11, [make_node("Unsqueeze", ["x"], ["u"], axes=[-1]), make_node("Squeeze", ["u"], ["y"])], {}, X
    ),
    "Split-9": (9, [make_node("Split", ["x"], ["y", "z"], axis=2, split=[1, 3])], {}, X),
    "Split-11-even": (11, [make_node("Split", ["x"], ["y", "z"], axis=2)], {}, X),
    "Split-13-even": (13, [make_node("Split", ["x"], ["y", "z"], axis=-1)], {}, X),
    "Split-13-sizes": (13, [make_node("Split", ["x", "s"], ["y", "z"], axis=1)], {"s": np.array([1, 2])}, X),
    "Slice-9": (9, [make_node("Slice", ["x"], ["y"], starts=[1, -3], ends=[3, 9], axes=[1, 2])], {}, X),
    "Slice-9-no-axes": (9, [make_node("Slice", ["x"], ["y"], starts=[0, 1], ends=[1, 2])], {}, X),
    "Pad-9": (9, [make_node("Pad", ["x"], ["y"], pads=[0, 1, 0, 0, 0, 2], value=1.5)], {}, X),
    "Pad-9-reflect": (9, [make_node("Pad", ["x"], ["y"], pads=[0, 1, 0, 0, 1, 2], mode="reflect")], {}, X),
    "Clip-9": (9, [make_node("Clip", ["x"], ["y"], min=-0.25, max=0.5)], {}, X),
    "Clip-9-one-side": (9, [make_node("Clip", ["x"], ["y"], max=0.5)], {}, X),
    "Clip-9-no-bound": (9, [make_node("Clip", ["x"], ["y"])], {}, X),
    "TopK-9": (9, [make_node("TopK", ["x"], ["y", "z"], k=2, axis=2)], {}, X),
    "Dropout-9": (9, [make_node("Dropout", ["x"], ["y"], ratio=0.3)], {}, X),
    "BatchNormalization-9": (
        9,
        [make_node("BatchNormalization", ["x", "scale", "bias", "mean", "var"], ["y"], epsilon=1e-3)],
        {name: np.array([0.5, 1.5, 2.5], np.float32) for name in ("scale", "bias", "mean", "var")},
        X,
    ),
    "Softmax-9-axis-1": (9, [make_node("Softmax", ["x"], ["y"], axis=1)], {}, X),
    "Softmax-11-default": (11, [make_node("Softmax", ["x"], ["y"])], {}, X),
    "Softmax-11-last": (11, [make_node("Softmax", ["x"], ["y"], axis=2)], {}, X),
    "Softmax-11-minus-2": (11, [make_node("Softmax", ["x"], ["y"], axis=-2)], {}, X),
    "LogSoftmax-11": (11, [make_node("LogSoftmax", ["x"], ["y"], axis=0)], {}, X),
    "Hardmax-11": (11, [make_node("Hardmax", ["x"], ["y"], axis=1)], {}, X),
    "Upsample-9-nearest": (
        9, [make_node("Upsample", ["x", "s"], ["y"])], {"s": np.array([1, 1, 2, 3], np.float32)}, IMAGE
    ),
    "Upsample-9-linear": (
        9, [make_node("Upsample", ["x", "s"], ["y"], mode="linear")], {"s": np.array([1, 1, 2, 1.5], np.float32)}, IMAGE
    ),
    "Upsample-7": (7, [make_node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0, 3.0])], {}, IMAGE),
    "Resize-10": (10, [make_node("Resize", ["x", "s"], ["y"])], {"s": np.array([1, 1, 0.5, 2], np.float32)}, IMAGE),
    "Resize-11-scales": (
        11,
        [make_node("Resize", ["x", "roi", "s"], ["y"], mode="linear", coordinate_transformation_mode="half_pixel")],
        {"roi": np.zeros(0, np.float32), "s": np.array([1, 1, 0.5, 2], np.float32)},
        IMAGE,
    ),
    "Resize-11-sizes": (
        11,
        [make_node("Resize", ["x", "roi", "s", "n"], ["y"], mode="nearest", nearest_mode="ceil")],
        {"roi": np.zeros(0, np.float32), "s": np.zeros(0, np.float32), "n": np.array([1, 2, 3, 5])},
        IMAGE,
    ),
    "Scatter-9": (
        9,
        [make_node("Scatter", ["x", "i", "u"], ["y"], axis=1)],
        {"i": np.array([[[2, 0, 1, 0]]]), "u": np.ones((1, 1, 4), np.float32)},
        X,
    ),
    "GridSample-16": (
        16,
        [make_node("GridSample", ["x", "g"], ["y"], mode="bilinear")],
        {"g": np.linspace(-1, 1, 1 * 3 * 3 * 2, dtype=np.float32).reshape(1, 3, 3, 2)},
        IMAGE,
    ),
    "RoiAlign-10": (
        10,
        [make_node("RoiAlign", ["x", "r", "b"], ["y"], output_height=2, output_width=2)],
        {"r": np.array([[0, 0, 2, 2]], np.float32), "b": np.array([0])},
        IMAGE,
    ),
    "GroupNormalization-18": (
        18,
        [make_node("GroupNormalization", ["x", "scale", "bias"], ["y"], num_groups=2)],
        {"scale": np.array([0.5, 2], np.float32), "bias": np.array([1, -1], np.float32)},
        (TensorProto.FLOAT, [2, 6, 4]),
    ),
    "DFT-17": (17, [make_node("DFT", ["x"], ["y"], axis=1)], {}, (TensorProto.FLOAT, [1, 4, 2])),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_old_form_computes_the_same_after_import(
    name: str, make_model: Any, round_trip: Any, anything: Any, rng: Any
) -> None:
    opset, nodes, initializers, x = CASES[name]
    outputs: Any = list(nodes[-1].output)
    if name.startswith("GroupNormalization"):  # whose shape the standard does not infer
        outputs = {"y": x}
    model = make_model(nodes, {"x": x}, outputs, opset=opset, ir_version=8, initializers=initializers)
    newest = 21 if name.startswith("RoiAlign") else 24  # ONNX Runtime has no kernel of RoiAlign for newer opsets
    target = dataclasses.replace(anything, opset=newest)
    graph, lowered = round_trip(model, {"x": rng.standard_normal(x[1], dtype=np.float32)}, target)
    assert lowered.opset_import[0].version == newest
    assert all(value.type.known_shape is not None for value in graph.values())


def test_every_rule_has_a_case() -> None:
    tried = {node.op_type for _, nodes, _, _ in CASES.values() for node in nodes}
    refused = {"Scan"}  # its old form is refused, which is tested below
    assert set(FORMS) | set(MEANINGS) == (tried & (set(FORMS) | set(MEANINGS))) | refused


@pytest.mark.parametrize(
    ("opset", "node", "message"),
    [
        (8, make_node("Scan", ["", "x"], ["y"], num_scan_inputs=1), "Scan 'y' is a Scan of opset 8"),
        (
            11,
            make_node("Resize", ["x", "", "s"], ["y"], coordinate_transformation_mode="tf_half_pixel_for_nn"),
            "tf_half_pixel_for_nn, which ONNX gave up in opset 13",
        ),
        (7, make_node("BatchNormalization", ["x"] + ["s"] * 4, ["y"], spatial=0), "spatial=0"),
        (
            9,
            make_node("BatchNormalization", ["x"] + ["s"] * 4, ["y", "m", "v", "a", "b"]),
            "as a model does in training",
        ),
        (12, make_node("Softmax", ["x"], ["y"], axis=5), "axis=5, which a tensor of rank 3 does not have"),
        (
            18,
            make_node("GroupNormalization", ["x", "s", "s"], ["y"], num_groups=2),
            "normalises 3 channels in 2 groups",
        ),
        (12, make_node("Squeeze", ["x"], ["y"], axes=[0.5]), "'axes' of the kind FLOATS: expected INTS"),
        (9, make_node("Pad", [""], ["y"], pads=[0], value=1.0), "lacks its input 0"),
    ],
)
def test_an_old_form_without_a_counterpart_is_refused(opset: int, node: Any, message: str, make_model: Any) -> None:
    model = make_model([node], {"x": X}, ["y"], opset=opset, initializers={"s": np.ones(3, np.float32)})
    with pytest.raises(OnnxError) as error:
        from_onnx(model)
    assert message in str(error.value)


def test_a_form_that_the_target_reads_differently_is_not_lowered(make_model: Any, anything: Any) -> None:
    node = make_node("GroupNormalization", ["x", "s", "s"], ["y"], num_groups=3)
    model = make_model([node], {"x": X}, ["y"], opset=21, initializers={"s": np.ones(3, np.float32)})
    old = dataclasses.replace(anything, opset=20)
    with pytest.raises(TargetError, match="GroupNormalization"):
        to_onnx_ir(from_onnx(model), old)
    assert form_since("GroupNormalization") == 21
    assert form_since("Add") == 1
