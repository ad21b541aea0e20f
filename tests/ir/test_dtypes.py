"""Element types: their names, their sizes, and what they are in numpy and ONNX."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch

from tfgraph.errors import DTypeError
from tfgraph.ir.dtypes import DType, as_dtype

TORCH = [dtype.value for dtype in DType if isinstance(getattr(torch, dtype.value, None), torch.dtype)]


@pytest.mark.parametrize("dtype", DType, ids=str)
def test_a_dtype_has_the_code_that_onnx_gives_it(dtype: DType) -> None:
    assert dtype.onnx_code == onnx.helper.np_dtype_to_tensor_dtype(dtype.numpy())
    assert as_dtype(dtype.onnx_code) is dtype


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype is not DType.STRING], ids=str)
def test_numpy_agrees_about_kind_and_width(dtype: DType) -> None:
    numpy = dtype.numpy()
    assert as_dtype(numpy) is dtype
    assert as_dtype(numpy.type) is dtype
    assert max(dtype.bits, 8) == numpy.itemsize * 8
    one = np.ones((), numpy)
    half = float((one / 2).astype(numpy)) if dtype.is_float else 0
    assert dtype.is_float == (half == 0.5)
    assert dtype.is_integer == (not dtype.is_float and dtype is not DType.BOOL)
    assert str(dtype) == repr(dtype) == dtype.value == numpy.name


def test_strings_are_objects() -> None:
    assert DType.STRING.numpy() == np.dtype(object)
    assert as_dtype(np.dtype("<U3")) is as_dtype(np.dtype(object)) is DType.STRING
    assert DType.STRING.nbytes(3) == 0
    assert not DType.STRING.is_float
    assert not DType.STRING.is_integer


@pytest.mark.parametrize(
    ("dtype", "count", "nbytes"),
    [
        ("int4", 3, 2),
        ("uint4", 4, 2),
        ("int2", 5, 2),
        ("uint2", 4, 1),
        ("bfloat16", 3, 6),
        ("float64", 2, 16),
        ("bool", 3, 3),
    ],
)
def test_bytes_in_a_file(dtype: str, count: int, nbytes: int) -> None:
    assert as_dtype(dtype).nbytes(count) == nbytes
    assert as_dtype(dtype).nbytes(0) == 0


@pytest.mark.parametrize("name", TORCH)
def test_torch_dtypes_are_understood(name: str) -> None:
    assert as_dtype(getattr(torch, name)) is DType(name)


def test_other_spellings_are_understood() -> None:
    assert as_dtype("float32") is as_dtype(np.float32) is as_dtype(np.dtype(">f4")) is DType.FLOAT32
    assert as_dtype("torch.bfloat16") is as_dtype(ml_dtypes.bfloat16) is DType.BFLOAT16
    assert as_dtype(bool) is as_dtype(np.bool_) is DType.BOOL
    assert as_dtype(DType.INT4) is DType.INT4
    assert as_dtype(onnx.TensorProto.FLOAT8E5M2) is DType.FLOAT8_E5M2


@pytest.mark.parametrize(
    "given", ["float", "float128", "", 0, 999, True, None, 1.5, int, np.dtype("datetime64[s]"), np.complex64]
)
def test_what_is_no_dtype_is_refused(given: object) -> None:
    with pytest.raises(DTypeError, match=r"no element type .*: expected one of float32, uint8"):
        as_dtype(given)
