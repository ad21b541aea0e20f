"""Types of values as ONNX files declare them, and as the IR has them.

A file may leave out any part of a type: a `Declared` holds what it says. Inferring types is the work of the operator
table, and for what it does not hold of `opaque_types.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfgraph.backends.onnx.dim_params import read_dim, write_dim
from tfgraph.errors import DTypeError, OnnxError
from tfgraph.ir.dims import Dim, symbol
from tfgraph.ir.dtypes import DType, as_dtype
from tfgraph.ir.types import TensorType

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class Declared:
    """What a file says about a value: None stands for what it does not say."""

    dtype: DType | None
    shape: tuple[Dim | None, ...] | None


NOTHING = Declared(None, None)


def read_dtype(code: int, what: str) -> DType:
    """The element type that a file gives by number.

    Raises:
        OnnxError: no such element type, or one that tfgraph does not know. `what` says whose type it is.
    """
    try:
        return as_dtype(code)
    except DTypeError:
        pass
    import onnx

    known = onnx.TensorProto.DataType
    name = known.Name(code) if code in known.values() else f"number {code}"
    raise OnnxError(f"{what} has the element type {name}, which tfgraph does not read")


def read_type(proto: onnx.TypeProto, name: str) -> Declared:
    """What a file declares about the value `name`.

    Raises:
        OnnxError: it is no tensor, or of an element type that tfgraph does not know.
    """
    kind = proto.WhichOneof("value")
    if kind is None:
        return NOTHING
    if kind != "tensor_type":
        raise OnnxError(
            f"the value '{name}' is a {kind.removesuffix('_type').replace('_', ' ')}, and tfgraph reads tensors only: "
            "export the model so that its values are tensors"
        )
    tensor = proto.tensor_type
    dtype = read_dtype(tensor.elem_type, f"the value '{name}'") if tensor.elem_type else None
    if not tensor.HasField("shape"):
        return Declared(dtype, None)
    return Declared(dtype, tuple(_read_dimension(dimension) for dimension in tensor.shape.dim))


def _read_dimension(proto: onnx.TensorShapeProto.Dimension) -> Dim | None:
    if proto.HasField("dim_value"):
        return proto.dim_value if proto.dim_value >= 0 else None
    return read_dim(proto.dim_param)


def read_declarations(protos: Iterable[onnx.ValueInfoProto]) -> dict[str, Declared]:
    """What a list of `ValueInfoProto` declares, by name."""
    return {proto.name: read_type(proto.type, proto.name) for proto in protos}


def complete_shape(shape: tuple[Dim | None, ...], name: str) -> tuple[Dim, ...]:
    """`shape` with a symbol of its own, `<name>_<axis>`, for each axis of which nothing is known."""
    return tuple(symbol(f"{name}_{axis}") if dim is None else dim for axis, dim in enumerate(shape))


def completed(declared: Declared, name: str, dtype: DType) -> TensorType:
    """The type that a file declares, `dtype` where it says nothing about that."""
    shape = None if declared.shape is None else complete_shape(declared.shape, name)
    return TensorType(declared.dtype or dtype, shape)


def write_type(type_: TensorType) -> onnx.TypeProto:
    """The type as protobuf."""
    import onnx

    shape = None if type_.known_shape is None else [write_dim(dim) for dim in type_.known_shape]
    return onnx.helper.make_tensor_type_proto(type_.dtype.onnx_code, shape)


def refined(inferred: TensorType, declared: Declared, name: str) -> TensorType:
    """`inferred`, with the shape that the file declares where inference does not even know the rank.

    Otherwise the inferred type stands: the operators decide, and value information in files is often stale.
    """
    if inferred.known_shape is not None or declared.shape is None or declared.dtype not in (None, inferred.dtype):
        return inferred
    return TensorType(inferred.dtype, complete_shape(declared.shape, name))
