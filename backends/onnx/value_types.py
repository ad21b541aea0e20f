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
from tfgraph.ir.types import MOST_NESTED, ContainerType, OptionalType, SequenceType, TensorType

if TYPE_CHECKING:
    import onnx
    import onnx_ir


@dataclass(frozen=True, slots=True)
class Declared:
    """What a file says about a value: None stands for what it does not say.

    Of a sequence or an optional value `container` is the whole type, and the others say nothing.
    """

    dtype: DType | None
    shape: tuple[Dim | None, ...] | None
    container: ContainerType | None = None


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
        OnnxError: it is neither tensor, sequence nor optional, or of an element type that tfgraph does not know.
    """
    kind = proto.WhichOneof("value")
    match kind:
        case None:
            return NOTHING
        case "tensor_type":
            return _read_tensor_type(proto.tensor_type, name)
        case "sequence_type":
            return _contained(read_type(proto.sequence_type.elem_type, name), SequenceType, name)
        case "optional_type":
            return _contained(read_type(proto.optional_type.elem_type, name), OptionalType, name)
    raise OnnxError(
        f"the value '{name}' is a {kind.removesuffix('_type').replace('_', ' ')}, and tfgraph reads tensors, sequences "
        "and optional values: export the model so that its values are of these"
    )


def _read_tensor_type(tensor: onnx.TypeProto.Tensor, name: str) -> Declared:
    dtype = read_dtype(tensor.elem_type, f"the value '{name}'") if tensor.elem_type else None
    if not tensor.HasField("shape"):
        return Declared(dtype, None)
    return Declared(dtype, tuple(_read_dimension(dimension) for dimension in tensor.shape.dim))


def _contained(element: Declared, container: type[ContainerType], name: str) -> Declared:
    """What is declared about a container of such elements: nothing where their element type is not."""
    if element.container is None and element.dtype is None:
        return NOTHING
    type_ = container(completed(element, name, DType.FLOAT32))
    if type_.depth > MOST_NESTED:
        raise OnnxError(
            f"the value '{name}' is of {type_.depth} containers in each other: expected at most {MOST_NESTED}"
        )
    return Declared(None, None, type_)


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
    if declared.container is not None:
        return declared.container
    shape = None if declared.shape is None else complete_shape(declared.shape, name)
    return TensorType(declared.dtype or dtype, shape)


def passed_on(type_: TensorType) -> Declared:
    """What is known of a value that a subgraph is given, or gives, again and again: its shape may change."""
    if isinstance(type_, ContainerType):
        return Declared(None, None, without_shape(type_))
    return Declared(type_.dtype, None)


def without_shape(type_: ContainerType) -> ContainerType:
    """The type of a container whose elements may be of any shape."""
    inner = type_.element
    return type(type_)(without_shape(inner) if isinstance(inner, ContainerType) else TensorType(inner.dtype, None))


def write_type(type_: TensorType) -> onnx.TypeProto:
    """The type as protobuf."""
    import onnx

    match type_:
        case SequenceType():
            return onnx.helper.make_sequence_type_proto(write_type(type_.element))
        case OptionalType():
            return onnx.helper.make_optional_type_proto(write_type(type_.element))
    shape = None if type_.known_shape is None else [write_dim(dim) for dim in type_.known_shape]
    return onnx.helper.make_tensor_type_proto(type_.dtype.onnx_code, shape)


def write_type_and_shape(type_: TensorType) -> tuple[onnx_ir.TypeProtocol, onnx_ir.Shape | None]:
    """The type in the form of ONNX IR, where a shape, or that of the tensors in a container, is beside the type."""
    import onnx_ir as ir

    match type_:
        case SequenceType():
            inner, shape = write_type_and_shape(type_.element)
            return ir.SequenceType(inner), shape
        case OptionalType():
            inner, shape = write_type_and_shape(type_.element)
            return ir.OptionalType(inner), shape
    known = type_.known_shape
    shape = None if known is None else ir.Shape([write_dim(dim) for dim in known])
    return ir.TensorType(ir.DataType(type_.dtype.onnx_code)), shape


def refined(inferred: TensorType, declared: Declared, name: str) -> TensorType:
    """`inferred`, with the shape that the file declares where inference does not even know the rank.

    Otherwise the inferred type stands: the operators decide, and value information in files is often stale.
    """
    if inferred.known_shape is not None or declared.shape is None or declared.dtype not in (None, inferred.dtype):
        return inferred
    return TensorType(inferred.dtype, complete_shape(declared.shape, name))
