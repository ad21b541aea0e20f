"""Element types: the ones of ONNX, with their numpy counterparts.

A `DType` is a member of one closed enumeration. Numpy knows neither bfloat16 nor float8, int4 and int2;
`ml_dtypes` adds them, and is imported only when one of them is asked for.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import Any

import numpy as np

from tfgraph.errors import DTypeError

# name -> (code in onnx.TensorProto.DataType, bits an element takes in a file, kind)
_TABLE: dict[str, tuple[int, int, str]] = {
    "float32": (1, 32, "float"),
    "uint8": (2, 8, "uint"),
    "int8": (3, 8, "int"),
    "uint16": (4, 16, "uint"),
    "int16": (5, 16, "int"),
    "int32": (6, 32, "int"),
    "int64": (7, 64, "int"),
    "string": (8, 0, "string"),
    "bool": (9, 8, "bool"),
    "float16": (10, 16, "float"),
    "float64": (11, 64, "float"),
    "uint32": (12, 32, "uint"),
    "uint64": (13, 64, "uint"),
    "bfloat16": (16, 16, "float"),
    "float8_e4m3fn": (17, 8, "float"),
    "float8_e4m3fnuz": (18, 8, "float"),
    "float8_e5m2": (19, 8, "float"),
    "float8_e5m2fnuz": (20, 8, "float"),
    "uint4": (21, 4, "uint"),
    "int4": (22, 4, "int"),
    "uint2": (25, 2, "uint"),
    "int2": (26, 2, "int"),
}
_FROM_ML_DTYPES = frozenset(
    {"bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "uint4", "int4", "uint2", "int2"}
)


class DType(Enum):
    """An element type. Its value is its name, which is numpy's where numpy has it."""

    FLOAT32 = "float32"
    UINT8 = "uint8"
    INT8 = "int8"
    UINT16 = "uint16"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    STRING = "string"
    BOOL = "bool"
    FLOAT16 = "float16"
    FLOAT64 = "float64"
    UINT32 = "uint32"
    UINT64 = "uint64"
    BFLOAT16 = "bfloat16"
    FLOAT8_E4M3FN = "float8_e4m3fn"
    FLOAT8_E4M3FNUZ = "float8_e4m3fnuz"
    FLOAT8_E5M2 = "float8_e5m2"
    FLOAT8_E5M2FNUZ = "float8_e5m2fnuz"
    UINT4 = "uint4"
    INT4 = "int4"
    UINT2 = "uint2"
    INT2 = "int2"

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return self.value

    @property
    def onnx_code(self) -> int:
        """The number of this type in `onnx.TensorProto.DataType`."""
        return _TABLE[self.value][0]

    @property
    def bits(self) -> int:
        """Bits that one element takes in a file (0 for strings, which have no fixed size)."""
        return _TABLE[self.value][1]

    @property
    def since(self) -> int:
        """The first opset whose operators take this type; 1 for what came before the oldest opset that is written."""
        return 25 if self.bits == 2 else 1

    @property
    def is_float(self) -> bool:
        """Whether this is a floating-point type."""
        return _TABLE[self.value][2] == "float"

    @property
    def is_integer(self) -> bool:
        """Whether this is a signed or unsigned integer type (bool is not)."""
        return _TABLE[self.value][2] in ("int", "uint")

    def nbytes(self, num_elements: int) -> int:
        """Bytes that `num_elements` elements take in a file."""
        return (num_elements * self.bits + 7) // 8

    def numpy(self) -> np.dtype[Any]:
        """The numpy dtype; types that numpy lacks come from `ml_dtypes`."""
        return _to_numpy(self)


@cache
def _to_numpy(dtype: DType) -> np.dtype[Any]:
    if dtype is DType.STRING:
        return np.dtype(object)
    if dtype.value in _FROM_ML_DTYPES:
        import ml_dtypes

        from_ml_dtypes: np.dtype[Any] = np.dtype(getattr(ml_dtypes, dtype.value))
        return from_ml_dtypes
    from_numpy: np.dtype[Any] = np.dtype(dtype.value)
    return from_numpy


_BY_CODE = {dtype.onnx_code: dtype for dtype in DType}


def as_dtype(given: object) -> DType:
    """The `DType` that `given` names.

    `given` may be a `DType`, a name ("float32"), a numpy dtype or scalar type, an ONNX code, or anything whose string
    form ends in a name, such as `torch.float32`.

    Raises:
        DTypeError: no such element type; the message lists the names.
    """
    if isinstance(given, DType):
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        if given in _BY_CODE:
            return _BY_CODE[given]
    elif given is bool:
        return DType.BOOL
    else:
        name = given if isinstance(given, str) else _name_of(given)
        name = name.rpartition(".")[2]
        if name in _TABLE:
            return DType(name)
    raise DTypeError(f"no element type {given!r}: expected one of {', '.join(_TABLE)}")


def _name_of(given: object) -> str:
    if isinstance(given, np.dtype):
        return "string" if given.kind in "OUS" else given.name
    if isinstance(given, type) and issubclass(given, np.generic):
        return np.dtype(given).name
    return str(given)
