"""The inputs and outputs that an ONNX file declares, without reading the rest of it into the IR."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tfgraph.backends.interface import TensorSpec
from tfgraph.backends.onnx.model_file import load_model
from tfgraph.backends.onnx.value_types import read_type
from tfgraph.errors import OnnxError

if TYPE_CHECKING:
    import onnx

    from tfgraph.backends.onnx.model_file import OnnxSource


def specs_of_file(source: OnnxSource) -> tuple[dict[str, TensorSpec], dict[str, TensorSpec]]:
    """The inputs and the outputs of a model, by name and in its order; an initializer is no input.

    Raises:
        OnnxError: the file is damaged, or one of them is no tensor, or of an element type that is not declared.
    """
    proto, label = load_model(source)
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = _specs((value for value in proto.graph.input if value.name not in constants), label)
    return inputs, _specs(proto.graph.output, label)


def _specs(values: Iterable[onnx.ValueInfoProto], label: str) -> dict[str, TensorSpec]:
    specs = {}
    for value in values:
        declared = read_type(value.type, value.name)
        if declared.dtype is None:
            raise OnnxError(f"'{value.name}' of {label} is not declared as a tensor of some element type")
        specs[value.name] = TensorSpec(value.name, declared.dtype, declared.shape)
    return specs
