"""Arrays as ONNX Runtime's values and back, for the element types that numpy lacks."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tfgraph.backends.interface import is_numpy_s_own
from tfgraph.errors import InputError
from tfgraph.ir.constant import Array
from tfgraph.ir.dtypes import DType

_CARRIERS: Final[dict[int, np.dtype[Any]]] = {8: np.dtype(np.uint8), 16: np.dtype(np.uint16)}
_PASSED: Final = "pass it to `run`, of a model whose inputs and outputs are all of numpy's own element types"


def is_plain(dtype: DType) -> bool:
    """Whether ONNX Runtime takes and gives numpy arrays of this element type as they are."""
    return is_numpy_s_own(dtype)


def to_ort_value(array: Array, dtype: DType) -> Any:
    """An array as a value over the same memory.

    Raises:
        InputError: an element type that cannot be passed from Python, or no array.
    """
    import onnxruntime

    if not isinstance(array, np.ndarray):
        raise InputError(f"a sequence, or an optional value, of {dtype} has no buffer: {_PASSED}")
    if is_plain(dtype):
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)
    if dtype.bits < 8:
        raise InputError(
            f"{dtype} cannot be passed to ONNX Runtime from Python: declare the input as int8 and cast it inside"
        )
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(_CARRIERS[dtype.bits]), dtype.onnx_code)


def from_ort_value(value: Any, dtype: DType) -> Array:
    """A value as an array of the element type.

    Raises:
        InputError: an element type that cannot be passed to Python, or no tensor.
    """
    if not value.is_tensor():
        raise InputError(f"a sequence, or an optional value, of {dtype} has no buffer: {_PASSED}")
    if is_plain(dtype):
        return np.asarray(value.numpy())
    if dtype.bits < 8:
        raise InputError(
            f"{dtype} cannot be passed from ONNX Runtime to Python: cast the output to int8 inside the model"
        )
    import ctypes

    shape = tuple(value.shape())
    count = int(np.prod(shape, dtype=np.int64)) * (dtype.bits // 8)
    raw = ctypes.string_at(value.data_ptr(), count)
    return np.frombuffer(bytearray(raw), dtype=dtype.numpy()).reshape(shape)
