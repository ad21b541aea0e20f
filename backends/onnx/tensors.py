"""Tensors of ONNX files as constants of the IR, with their sizes checked, and places outside the file checked harder.

Writing tensors is the work of `lower.py` and `write.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tfgraph.backends.onnx.value_types import read_dtype
from tfgraph.errors import OnnxError
from tfgraph.ir.constant import ArrayConstant, Constant, FileConstant
from tfgraph.ir.dtypes import DType
from tfgraph.ir.packed import unpacked

if TYPE_CHECKING:
    import onnx

_EAGER_BYTES: Final = 4096  # external tensors up to this size are read at once: shape inference looks at small ones
_MOST_ELEMENTS: Final = 2**48
_DENSE_LIMIT: Final = 2**31  # bytes of a sparse tensor made dense


@dataclass(frozen=True)
class DataFolder:
    """Where the external data of a model lies, and which folders it may lie in.

    A model that came without a path has no folder. A symbolic link may lead out of the model's own folder only to where
    the model itself is linked to, as in the cache of a model hub.
    """

    folder: Path | None
    allowed: tuple[Path, ...] = ()

    @classmethod
    def of(cls, model: Path) -> DataFolder:
        """The folder of the model at that path."""
        return cls(model.parent, (model.parent.resolve(), model.resolve().parent))

    @classmethod
    def at(cls, folder: Path) -> DataFolder:
        """A folder that the caller names."""
        return cls(folder, (folder.resolve(),))

    def locate(self, location: str, tensor: str) -> Path:
        """The file that a tensor names as its location.

        Raises:
            OnnxError: there is no folder, or the location leads out of it, or there is no such file.
        """
        if self.folder is None:
            raise OnnxError(
                f"the weights of '{tensor}' lie in the file '{location}' beside the model, and a model given as bytes "
                "or as a message has no folder: give the path of its file, or `data_folder`"
            )
        if not location or "\0" in location:
            raise OnnxError(f"the weights of '{tensor}' lie outside the model file, which does not say where")
        relative = Path(location)
        if relative.is_absolute() or location.startswith(("/", "\\")) or (len(location) > 1 and location[1] == ":"):
            raise OnnxError(
                f"the weights of '{tensor}' lie in '{location}', an absolute path: expected one relative to the model"
            )
        path = self.folder / relative
        if ".." in relative.parts or not any(path.resolve().is_relative_to(folder) for folder in self.allowed):
            raise OnnxError(
                f"the weights of '{tensor}' lie in '{location}', outside the model's folder: "
                "refused, since a model could read any file that way"
            )
        if not path.is_file():
            raise OnnxError(
                f"the weights of '{tensor}' lie in '{location}', and there is no file {path}: copy it beside the model"
            )
        return path


def read_tensor(proto: onnx.TensorProto, data: DataFolder) -> Constant:
    """A tensor as a constant: a view of the message, or a handle to the external file.

    Raises:
        OnnxError: its data is missing, too short or too long for its shape, or where it may not be.
    """
    what = f"the tensor '{proto.name}'"
    dtype = read_dtype(proto.data_type, what)
    shape = tuple(proto.dims)
    if any(dim < 0 for dim in shape):
        raise OnnxError(f"{what} has the shape {list(shape)}: expected sizes of 0 or more")
    if math.prod(max(dim, 1) for dim in shape) > _MOST_ELEMENTS:
        raise OnnxError(f"{what} has the shape {list(shape)}, too large for any tensor: the model is damaged")
    if proto.data_location == proto.EXTERNAL:
        return _read_external(proto, dtype, shape, data)
    if proto.HasField("raw_data"):
        return ArrayConstant(_from_bytes(proto.raw_data, dtype, shape, what))
    return ArrayConstant(_from_fields(proto, dtype, shape, what))


def _from_bytes(raw: bytes, dtype: DType, shape: tuple[int, ...], what: str) -> np.ndarray[Any, Any]:
    if dtype is DType.STRING:
        raise OnnxError(f"{what} holds strings as raw bytes, which ONNX does not allow")
    size = math.prod(shape)
    if len(raw) != dtype.nbytes(size):
        raise OnnxError(
            f"{what} of {dtype}{list(shape)} has {len(raw)} bytes of data where {dtype.nbytes(size)} were expected"
        )
    if dtype.bits < 8:
        return unpacked(np.frombuffer(raw, np.uint8), dtype, size).reshape(shape)
    return np.frombuffer(raw, dtype.numpy().newbyteorder("<")).astype(dtype.numpy(), copy=False).reshape(shape)


def _from_fields(proto: onnx.TensorProto, dtype: DType, shape: tuple[int, ...], what: str) -> np.ndarray[Any, Any]:
    size = math.prod(shape)
    field, values = _field(proto)
    expected = dtype.nbytes(size) if 0 < dtype.bits < 8 else size
    if len(values) != expected:
        raise OnnxError(f"{what} of {dtype}{list(shape)} has {len(values)} elements in `{field}`, expected {expected}")
    if dtype is DType.STRING:
        texts = np.empty(size, dtype=object)
        texts[:] = [text.decode("utf-8", "surrogateescape") for text in values]
        return texts.reshape(shape)
    if size == 0:
        return np.zeros(shape, dtype.numpy())
    try:
        if field != "int32_data":
            return np.array(values, dtype=dtype.numpy()).reshape(shape)
        wide = np.array(values, dtype=np.int64)
        if dtype.bits < 8:
            return unpacked(wide.astype(np.uint8), dtype, size).reshape(shape)
        if dtype.is_float:  # the bits of narrow floats are kept as integers
            return wide.astype(f"<u{dtype.bits // 8}").view(dtype.numpy()).reshape(shape)
        narrow = wide.astype(dtype.numpy())
        if not np.array_equal(narrow, wide):
            raise OnnxError(f"{what} has elements that are no {dtype}")
        return narrow.reshape(shape)
    except (ValueError, OverflowError, TypeError) as error:
        raise OnnxError(f"{what} has elements that are no {dtype}: {error}") from None


_FIELDS: Final = {
    DType.FLOAT32: "float_data",
    DType.FLOAT64: "double_data",
    DType.INT64: "int64_data",
    DType.UINT32: "uint64_data",
    DType.UINT64: "uint64_data",
    DType.STRING: "string_data",
}


def _field(proto: onnx.TensorProto) -> tuple[str, Sequence[Any]]:
    field = _FIELDS.get(read_dtype(proto.data_type, f"the tensor '{proto.name}'"), "int32_data")
    values: Sequence[Any] = getattr(proto, field)
    return field, values


def _read_external(proto: onnx.TensorProto, dtype: DType, shape: tuple[int, ...], data: DataFolder) -> Constant:
    entries = {entry.key: entry.value for entry in proto.external_data}
    path = data.locate(entries.get("location", ""), proto.name)
    if dtype is DType.STRING:
        raise OnnxError(f"the tensor '{proto.name}' holds strings in external data, which ONNX does not allow")
    needed = dtype.nbytes(math.prod(shape))
    offset = _read_number(entries, "offset", 0, proto.name)
    length = _read_number(entries, "length", needed, proto.name)
    if length != needed:
        raise OnnxError(
            f"the tensor '{proto.name}' of {dtype}{list(shape)} takes {needed} bytes, and the model says {path} has "
            f"{length} of them"
        )
    available = path.stat().st_size
    if offset + needed > available:
        raise OnnxError(
            f"{path} ends early: the tensor '{proto.name}' takes bytes {offset} to {offset + needed}, "
            f"and the file has {available}"
        )
    constant = FileConstant(path, offset, dtype, shape)
    return ArrayConstant(constant.numpy()) if needed <= _EAGER_BYTES else constant


def _read_number(entries: dict[str, str], key: str, default: int, tensor: str) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise OnnxError(
            f"the external data of the tensor '{tensor}' has the {key} '{text}': expected a number of bytes"
        )
    return int(text)


def read_sparse_tensor(proto: onnx.SparseTensorProto, data: DataFolder) -> Constant:
    """A sparse tensor, made dense.

    Raises:
        OnnxError: its indices do not fit its shape, or it would take more than 2 GB.
    """
    what = f"the sparse tensor '{proto.values.name}'"
    shape = tuple(proto.dims)
    values = read_tensor(proto.values, data).numpy().reshape(-1)
    indices = read_tensor(proto.indices, data).numpy()
    size = math.prod(shape)
    if any(dim < 0 for dim in shape) or size * values.itemsize > _DENSE_LIMIT:
        raise OnnxError(f"{what} has the shape {list(shape)}, which is too large to be made dense")
    if indices.ndim == 2 and indices.shape == (values.size, len(shape)):
        inside = bool(np.all((indices >= 0) & (indices < np.array(shape, dtype=np.int64))))
        flat = indices @ np.array([math.prod(shape[axis + 1 :]) for axis in range(len(shape))], dtype=np.int64)
    elif indices.ndim == 1 and indices.shape == values.shape:
        inside, flat = bool(np.all((indices >= 0) & (indices < size))), indices
    else:
        raise OnnxError(f"{what} has {values.size} values and indices of shape {list(indices.shape)}")
    if not inside:
        raise OnnxError(f"{what} of shape {list(shape)} has an index outside it")
    dense = np.zeros(size, values.dtype)
    dense[flat] = values
    return ArrayConstant(dense.reshape(shape))
