"""Old forms of ONNX operators raised to the forms of the IR (`tfgraph.ir.optable.OPSET`).

A rule changes one application in place: it moves attributes to inputs, renames, or puts nodes before it. What changed
in meaning rather than in form is in `upgrade_meaning.py`. Reading the file is the work of `read.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np

from tfgraph.errors import OnnxError
from tfgraph.ir.graph import Attribute, Value


@dataclass(slots=True)
class Application:
    """A node of a file on its way into the IR: its operands are values, its outputs still names ("" if left out)."""

    op: str
    domain: str
    inputs: list[Value | None]
    outputs: list[str]
    attributes: dict[str, Attribute]
    label: str

    def input(self, index: int) -> Value | None:
        """The operand at `index`, None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def set_input(self, index: int, value: Value | None) -> None:
        """Make `value` the operand at `index`, leaving out what lies between."""
        self.inputs += [None] * (index + 1 - len(self.inputs))
        self.inputs[index] = value

    def required(self, index: int) -> Value:
        """The operand at `index`.

        Raises:
            OnnxError: it is left out.
        """
        value = self.input(index)
        if value is None:
            raise OnnxError(f"{self.label} lacks its input {index}")
        return value


class Builder(Protocol):
    """What a rule may ask for: constants and nodes before the application. Names follow the application's output."""

    def constant(self, array: Any, name: str) -> Value:
        """A constant."""

    def emit(
        self, op: str, inputs: Sequence[Value | None], attributes: Mapping[str, Attribute] | None = None, *, name: str
    ) -> Value:
        """The result of a node in the form of the IR."""


Rule: TypeAlias = Callable[[Application, Builder], None]


def _int_vector(given: Attribute | None, app: Application, name: str) -> np.ndarray[Any, Any]:
    if isinstance(given, int):
        return np.array([given], dtype=np.int64)
    if not isinstance(given, tuple) or not all(isinstance(element, int) for element in given):
        raise OnnxError(f"{app.label} has the attribute {name}={given!r}: expected a list of integers")
    return np.array(given, dtype=np.int64)


def _attribute_to_input(attribute: str, index: int) -> Rule:
    """A rule that moves a list of integers from an attribute to the operand at `index`, if it is there."""

    def rule(app: Application, build: Builder) -> None:
        if attribute in app.attributes:
            vector = _int_vector(app.attributes.pop(attribute), app, attribute)
            app.set_input(index, build.constant(vector, attribute))

    return rule


def _clip(app: Application, build: Builder) -> None:
    """Bounds were attributes; what is infinite or the largest float32 is no bound."""
    dtype = app.required(0).dtype
    for index, name, largest in ((1, "min", -np.finfo(np.float32).max), (2, "max", np.finfo(np.float32).max)):
        bound = app.attributes.pop(name, None)
        if isinstance(bound, float) and abs(bound) < abs(float(largest)):
            app.set_input(index, build.constant(np.array(bound, dtype=dtype.numpy()), name))


def _pad(app: Application, build: Builder) -> None:
    _attribute_to_input("pads", 1)(app, build)
    fill = app.attributes.pop("value", 0.0)
    if fill != 0.0:
        app.set_input(2, build.constant(np.array(fill, dtype=app.required(0).dtype.numpy()), "value"))


def _slice(app: Application, build: Builder) -> None:
    for index, name in ((1, "starts"), (2, "ends"), (3, "axes")):
        _attribute_to_input(name, index)(app, build)


def _dropout(app: Application, build: Builder) -> None:
    """The ratio was an attribute; without a training mode, which is never on, it says nothing."""
    app.attributes.pop("ratio", None)


def _split_evenly(app: Application, build: Builder) -> None:
    """Equal parts were told by the number of results alone."""
    if app.input(1) is None:
        app.attributes["num_outputs"] = len(app.outputs)


def _batch_normalization(app: Application, build: Builder) -> None:
    if app.attributes.pop("spatial", 1) != 1:
        raise OnnxError(f"{app.label} normalises each place on its own (spatial=0), which ONNX gave up in opset 9")


def _only_inference(app: Application, build: Builder) -> None:
    """That a model was exported for training showed in the number of results alone."""
    if any(app.outputs[1:]):
        raise OnnxError(f"{app.label} also returns statistics, as a model does in training: export it for inference")


def _scatter(app: Application, build: Builder) -> None:
    app.op = "ScatterElements"


def _roi_align(app: Application, build: Builder) -> None:
    app.attributes.setdefault("coordinate_transformation_mode", "output_half_pixel")


def _grid_sample(app: Application, build: Builder) -> None:
    names: dict[Attribute, str] = {"bilinear": "linear", "bicubic": "cubic"}
    mode = app.attributes.get("mode", "bilinear")
    app.attributes["mode"] = names.get(mode, str(mode))


def _dft(app: Application, build: Builder) -> None:
    axis = app.attributes.pop("axis", 1)
    app.set_input(2, build.constant(np.array(axis, dtype=np.int64), "axis"))


_REDUCTIONS: Final = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")

# operator -> (the first opset that has the new form, what raises an application of an older one), oldest first
FORMS: Final[dict[str, list[tuple[int, Rule]]]] = {
    "BatchNormalization": [(9, _batch_normalization), (14, _only_inference)],
    "Clip": [(11, _clip)],
    "DFT": [(20, _dft)],
    "Dropout": [(12, _dropout)],
    "GridSample": [(20, _grid_sample)],
    "Pad": [(11, _pad)],
    "ReduceSum": [(13, _attribute_to_input("axes", 1))],
    "RoiAlign": [(16, _roi_align)],
    "Scatter": [(11, _scatter)],
    "Slice": [(10, _slice)],
    "Split": [(13, _attribute_to_input("split", 1)), (18, _split_evenly)],
    "Squeeze": [(13, _attribute_to_input("axes", 1))],
    "TopK": [(10, _attribute_to_input("k", 1))],
    "Unsqueeze": [(13, _attribute_to_input("axes", 1))],
    **{f"Reduce{name}": [(18, _attribute_to_input("axes", 1))] for name in _REDUCTIONS},
}


def upgrade(app: Application, opset: int, build: Builder) -> None:
    """Raise an application of an operator of the ONNX domain, as of `opset`, to the form of the IR.

    Raises:
        OnnxError: an old form that has no counterpart.
    """
    from tfgraph.backends.onnx.upgrade_meaning import MEANINGS

    op = app.op
    for table in (FORMS, MEANINGS):
        for first, rule in table.get(op, ()):
            if opset < first:
                rule(app, build)


def form_since(op: str) -> int:
    """The first opset in which the operator has the form that the IR has, as far as older ones differ; else 1."""
    from tfgraph.backends.onnx.upgrade_meaning import MEANINGS

    return max((first for table in (FORMS, MEANINGS) for first, _ in table.get(op, ())), default=1)
