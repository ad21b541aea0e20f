"""Operators of ONNX whose meaning changed between opsets, written so that they mean under the newest what they meant.

Changes of form alone are in `upgrade.py`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tfgraph.backends.onnx.upgrade import Application, Builder, Rule
from tfgraph.backends.onnx.upgrade_scan import scan_8
from tfgraph.errors import OnnxError


def _softmax(app: Application, build: Builder) -> None:
    """Before opset 13 the tensor was flattened to a matrix at `axis` (1 unless given), and each row normalised."""
    axis = app.attributes.get("axis", 1)
    data = app.required(0)
    known = data.type.known_shape
    rank = None if known is None else len(known)
    if axis == -1 or (rank is not None and axis == rank - 1):
        app.attributes["axis"] = -1
        return
    if not isinstance(axis, int) or (rank is not None and not -rank <= axis <= rank):
        raise OnnxError(f"{app.label} has axis={axis!r}, which a tensor of rank {rank} does not have")
    shape = build.emit("Shape", [data], name="shape")
    matrix = build.emit("Flatten", [data], {"axis": axis}, name="matrix")
    rows = build.emit(app.op, [matrix], {"axis": -1}, name="rows")
    app.op, app.inputs, app.attributes = "Reshape", [rows, shape], {"allowzero": 1}


def _resize_10(app: Application, build: Builder) -> None:
    """The first Resize had scales only, and sampled at `floor(x / scale)`."""
    app.attributes["coordinate_transformation_mode"] = "asymmetric"
    app.attributes["nearest_mode"] = "floor"
    app.inputs = [app.required(0), None, app.required(1)]


def _upsample(app: Application, build: Builder) -> None:
    """What Resize was called before opset 10; in opset 7 the scales were an attribute."""
    if "scales" in app.attributes:
        app.set_input(1, build.constant(np.array(app.attributes.pop("scales"), dtype=np.float32), "scales"))
    app.op = "Resize"
    _resize_10(app, build)


def _resize_11(app: Application, build: Builder) -> None:
    """Operands not used were given as empty tensors; one coordinate transformation is gone."""
    if app.attributes.get("coordinate_transformation_mode") == "tf_half_pixel_for_nn":
        raise OnnxError(f"{app.label} samples with tf_half_pixel_for_nn, which ONNX gave up in opset 13")
    if app.attributes.get("coordinate_transformation_mode") != "tf_crop_and_resize" and app.input(1) is not None:
        app.set_input(1, None)
    if app.input(3) is not None:
        app.set_input(2, None)


def _group_normalization(app: Application, build: Builder) -> None:
    """In opset 18 scale and bias had an element a group, since opset 21 they have one a channel."""
    groups = app.attributes.get("num_groups")
    shape = app.required(0).type.known_shape
    channels = shape[1] if shape is not None and len(shape) > 1 else None
    if not isinstance(groups, int) or groups < 1 or not isinstance(channels, int) or channels % groups:
        raise OnnxError(
            f"{app.label} of opset 18 normalises {channels or 'unknown'} channels in {groups!r} groups: "
            "expected a known number of channels that the groups divide"
        )
    for index, name in ((1, "scale"), (2, "bias")):
        column = build.emit("Unsqueeze", [app.required(index), build.constant(_vector(1), f"{name}.axis")], name=name)
        repeated = build.emit("Expand", [column, build.constant(_vector(groups, channels // groups), name)], name=name)
        app.inputs[index] = build.emit("Reshape", [repeated, build.constant(_vector(-1), name)], name=name)


def _vector(*elements: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(elements, dtype=np.int64)


# operator -> (the first opset with the new meaning, what rewrites an application of an older one), oldest first
MEANINGS: Final[dict[str, list[tuple[int, Rule]]]] = {
    "GroupNormalization": [(21, _group_normalization)],
    "Hardmax": [(13, _softmax)],
    "LogSoftmax": [(13, _softmax)],
    "Resize": [(11, _resize_10), (13, _resize_11)],
    "Scan": [(9, scan_8)],
    "Softmax": [(13, _softmax)],
    "Upsample": [(10, _upsample)],
}
