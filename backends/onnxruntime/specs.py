"""What a session says of its inputs and outputs, as specifications."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from tfgraph.backends.interface import TensorSpec
from tfgraph.backends.onnx.dim_params import read_dim
from tfgraph.errors import OnnxError
from tfgraph.ir.dims import Dim
from tfgraph.ir.dtypes import DType

_TENSOR: Final = re.compile(r"tensor\((\w+)\)")
_CONTAINER: Final = re.compile(r"(seq|optional)\((.*)\)")
_NAMES: Final = {
    "float": DType.FLOAT32,
    "double": DType.FLOAT64,
    "float8e4m3fn": DType.FLOAT8_E4M3FN,
    "float8e4m3fnuz": DType.FLOAT8_E4M3FNUZ,
    "float8e5m2": DType.FLOAT8_E5M2,
    "float8e5m2fnuz": DType.FLOAT8_E5M2FNUZ,
}


def read_specs(arguments: Sequence[Any]) -> dict[str, TensorSpec]:
    """The specifications of the inputs or outputs that a session lists, by name.

    Raises:
        OnnxError: one of them is a map or of another kind that tfgraph does not know.
    """
    return {argument.name: _spec(argument) for argument in arguments}


def _spec(argument: Any) -> TensorSpec:
    text, containers = str(argument.type), []
    while (match := _CONTAINER.fullmatch(text)) is not None:
        containers.append("sequence" if match.group(1) == "seq" else "optional")
        text = match.group(2)
    shape = None if "sequence" in containers else _shape(argument)  # that of elements is not told
    return TensorSpec(argument.name, _dtype(text, argument), shape, tuple(containers))


def _dtype(text: str, argument: Any) -> DType:
    match = _TENSOR.fullmatch(text)
    name = match.group(1) if match else ""
    if name in _NAMES:
        return _NAMES[name]
    if name in {dtype.value for dtype in DType}:
        return DType(name)
    raise OnnxError(
        f"'{argument.name}' is a {argument.type}, and tfgraph runs models of tensors, sequences and optional values"
    )


def _shape(argument: Any) -> tuple[Dim | None, ...] | None:
    if argument.shape is None:
        return None
    return tuple(_dim(size) for size in argument.shape)


def _dim(size: object) -> Dim | None:
    if isinstance(size, int):
        return size if size >= 0 else None
    return read_dim(size) if isinstance(size, str) else None
