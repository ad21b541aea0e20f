"""`Constant` nodes, which are constants in the IR: their value is given by one of nine attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfgraph.backends.onnx.tensors import DataFolder, read_sparse_tensor, read_tensor
from tfgraph.errors import OnnxError
from tfgraph.ir.constant import ArrayConstant, Constant

if TYPE_CHECKING:
    import onnx


def read_constant_node(protos: Sequence[onnx.AttributeProto], data: DataFolder, label: str) -> Constant:
    """The value of a `Constant` node with these attributes.

    Raises:
        OnnxError: it has none, or one that makes no sense.
    """
    for proto in protos:
        match proto.name:
            case "value":
                return read_tensor(proto.t, data)
            case "sparse_value":
                return read_sparse_tensor(proto.sparse_tensor, data)
            case "value_float":
                return ArrayConstant(np.array(proto.f, dtype=np.float32))
            case "value_floats":
                return ArrayConstant(np.array(proto.floats, dtype=np.float32))
            case "value_int":
                return ArrayConstant(np.array(proto.i, dtype=np.int64))
            case "value_ints":
                return ArrayConstant(np.array(proto.ints, dtype=np.int64))
            case "value_string":
                return ArrayConstant(_texts([proto.s]).reshape(()))
            case "value_strings":
                return ArrayConstant(_texts(proto.strings))
    raise OnnxError(f"{label} has no value: the model is damaged")


def _texts(encoded: Sequence[bytes]) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    texts = np.empty(len(encoded), dtype=object)
    texts[:] = [text.decode("utf-8", "surrogateescape") for text in encoded]
    return texts
