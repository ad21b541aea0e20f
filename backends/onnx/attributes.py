"""Attributes of ONNX nodes as attributes of the IR, and back.

In the IR an attribute that names a dtype holds the dtype's name, floats are the shortest that mean the same float32,
and `ConstantOfShape` has its fill as a plain `value` and `dtype`. Subgraphs are read in `read.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tfgraph.backends.onnx.tensors import DataFolder, read_sparse_tensor, read_tensor
from tfgraph.backends.onnx.value_types import completed, read_dtype, read_type, write_type_and_shape
from tfgraph.errors import OnnxError
from tfgraph.ir.constant import Constant
from tfgraph.ir.dtypes import DType, as_dtype
from tfgraph.ir.graph import Attribute, Opaque
from tfgraph.ir.types import TensorType

if TYPE_CHECKING:
    import onnx
    import onnx_ir

_DTYPE_ATTRIBUTES: Final = frozenset(
    {
        ("Cast", "to"),
        ("EyeLike", "dtype"),
        ("Bernoulli", "dtype"),
        ("RandomNormal", "dtype"),
        ("RandomNormalLike", "dtype"),
        ("RandomUniform", "dtype"),
        ("RandomUniformLike", "dtype"),
        ("Multinomial", "dtype"),
        ("QuantizeLinear", "output_dtype"),
        ("DequantizeLinear", "output_dtype"),
        ("BitCast", "to"),
    }
)
"""Attributes that are dtypes by number in a file. 0, for "none", is left out in the IR."""


def names_dtype(op: str, attribute: str) -> bool:
    """Whether the attribute of that operator is a dtype: a number in a file, a name in the IR."""
    return (op, attribute) in _DTYPE_ATTRIBUTES


def read_float(number: float) -> float:
    """The shortest float that means the same float32 as `number`: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(number)))


def read_attribute(op: str, proto: onnx.AttributeProto, data: DataFolder) -> Attribute | None:
    """The attribute's value; None for one that says nothing.

    Raises:
        OnnxError: it is of a kind that tfgraph does not read, or damaged.
    """
    kind = type(proto).AttributeType.Name(proto.type) if proto.type in type(proto).AttributeType.values() else "?"
    match kind:
        case "INT":
            if names_dtype(op, proto.name):
                return str(read_dtype(proto.i, f"the attribute '{proto.name}' of {op}")) if proto.i else None
            return int(proto.i)
        case "FLOAT":
            return read_float(proto.f)
        case "STRING":
            return _read_string(proto.s)
        case "INTS":
            return tuple(proto.ints)
        case "FLOATS":
            return tuple(read_float(number) for number in proto.floats)
        case "STRINGS":
            return tuple(text.decode("utf-8", "surrogateescape") for text in proto.strings)
        case "TENSOR":
            return opaque_tensor(read_tensor(proto.t, data))
        case "SPARSE_TENSOR":
            return opaque_tensor(read_sparse_tensor(proto.sparse_tensor, data))
        case "TYPE_PROTO":
            return _opaque_type(proto.tp, proto.name, op)
    raise OnnxError(f"the attribute '{proto.name}' of {op} is of the kind {kind}, which tfgraph does not read")


def _read_string(text: bytes) -> str | bytes:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text


def opaque_tensor(constant: Constant) -> Opaque:
    """A tensor as an attribute that passes through."""
    return Opaque(f"tensor {constant.dtype}{list(constant.shape)}", constant)


def _opaque_type(proto: onnx.TypeProto, name: str, op: str) -> Opaque:
    """A type as an attribute that passes through.

    Raises:
        OnnxError: it says no element type.
    """
    declared = read_type(proto, name)
    if declared.dtype is None and declared.container is None:
        raise OnnxError(f"the attribute '{name}' of {op} is a type without an element type: expected one")
    type_ = completed(declared, name, DType.FLOAT32)
    return Opaque(f"type {type_}", type_)


def split_fill(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """The attributes of `ConstantOfShape` in the form of the IR: its one-element tensor as `value` and `dtype`.

    Raises:
        OnnxError: the tensor has not one element.
    """
    given = attributes.get("value")
    if not isinstance(given, Opaque):
        return dict(attributes)
    fill: Constant = given.payload
    if fill.size != 1:
        raise OnnxError(f"ConstantOfShape has a fill of {fill.dtype}{list(fill.shape)}: expected one element")
    element = fill.numpy().reshape(-1)[0]
    value = str(element) if fill.dtype.bits == 0 else element.item() if not fill.dtype.is_float else float(element)
    return {"value": value, "dtype": str(fill.dtype)}


def write_attribute(name: str, value: Any, kind: str | None, op: str) -> onnx_ir.Attr:
    """An attribute for a file. `kind` is what the standard says ("FLOAT", "INTS"), None where it says nothing.

    Raises:
        OnnxError: an attribute that a file cannot hold.
    """
    import onnx_ir as ir

    if names_dtype(op, name) and isinstance(value, str):
        return ir.AttrInt64(name, as_dtype(value).onnx_code)
    match value:
        case bool() | int() if kind == "FLOAT":
            return ir.AttrFloat32(name, float(value))
        case bool() | int():
            return ir.AttrInt64(name, int(value))
        case float():
            return ir.AttrFloat32(name, value)
        case str():
            return ir.AttrString(name, value)
        case bytes():
            return ir.Attr(name, ir.AttributeType.STRING, value)
        case tuple():
            return _write_sequence(name, value, kind)
        case Opaque(payload=Constant() as constant):
            return ir.AttrTensor(name, write_array(constant.numpy(), str(constant.dtype), name))
        case Opaque(payload=TensorType() as type_):
            return ir.AttrTypeProto(name, ir.TypeAndShape(*write_type_and_shape(type_)))
    raise OnnxError(f"the attribute '{name}' of {op} is {value!r}, which no ONNX file can hold")


def _write_sequence(name: str, value: tuple[Any, ...], kind: str | None) -> onnx_ir.Attr:
    import onnx_ir as ir

    if kind == "FLOATS" or any(isinstance(element, float) for element in value):
        return ir.AttrFloat32s(name, [float(element) for element in value])
    if kind == "STRINGS" or any(isinstance(element, str) for element in value):
        return ir.AttrStrings(name, list(value))
    return ir.AttrInt64s(name, [int(element) for element in value])


def write_array(array: np.ndarray[Any, Any], dtype: str, name: str) -> onnx_ir.TensorProtocol:
    """An array as a tensor for a file, in row-major order and of exactly that dtype."""
    import onnx_ir as ir

    if as_dtype(dtype).bits == 0:
        encoded = [str(text).encode("utf-8", "surrogateescape") for text in array.reshape(-1)]
        return ir.StringTensor(encoded, shape=ir.Shape(array.shape), name=name)
    code = as_dtype(dtype).onnx_code
    contiguous = np.ascontiguousarray(array).reshape(array.shape)
    return ir.Tensor(contiguous, dtype=ir.DataType(code), name=name)


def is_split_fill(op: str, attributes: Mapping[str, Any]) -> bool:
    """Whether these are attributes of `ConstantOfShape` in the form of the IR."""
    return op == "ConstantOfShape" and not isinstance(attributes.get("value"), Opaque)


def write_fill(attributes: Mapping[str, Any]) -> dict[str, onnx_ir.Attr]:
    """The attributes of `ConstantOfShape` in the form of a file: one tensor of one element."""
    import onnx_ir as ir

    dtype = str(attributes.get("dtype", "float32"))
    array = np.array([attributes.get("value", 0)], dtype=as_dtype(dtype).numpy())
    return {"value": ir.AttrTensor("value", write_array(array, dtype, "value"))}
