"""What the numpy references of many operators share: computing narrow floats in float32, and dtype checks.

Nothing here registers an operator.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tfgraph.ir.constant import Array
from tfgraph.ir.dtypes import as_dtype


def is_float(array: Array) -> bool:
    """Whether the elements are floating-point numbers of any width."""
    return array.dtype.kind == "f" or (array.dtype.kind == "V" and as_dtype(array.dtype).is_float)


def is_narrow(array: Array) -> bool:
    """Whether the elements are floating-point numbers of less than 32 bits."""
    return array.dtype.itemsize < 4 and is_float(array)


def widened(array: Array) -> Array:
    """`array`, in float32 where its elements are narrower floats."""
    return array.astype(np.float32) if is_narrow(array) else array


def in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """A reference that computes float16 and bfloat16 in float32, and rounds once, to the dtype of the first operand."""

    @functools.wraps(function)
    def reference(*arrays: Array | None, **attributes: Any) -> Any:
        first = arrays[0]
        if first is None or not is_narrow(first):
            return function(*arrays, **attributes)
        results = function(*(None if array is None else widened(array) for array in arrays), **attributes)
        if isinstance(results, tuple):
            return tuple(_narrowed(result, first.dtype) for result in results)
        return _narrowed(results, first.dtype)

    return reference


def _narrowed(result: Any, dtype: np.dtype[Any]) -> Array:
    array = np.asarray(result)
    return array.astype(dtype) if array.dtype == np.float32 else array


def silent(function: Callable[..., Any]) -> Callable[..., Any]:
    """A reference whose overflows and divisions by zero give infinities and NaN without numpy's warnings."""

    @functools.wraps(function)
    def reference(*arrays: Array | None, **attributes: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*arrays, **attributes)

    return reference
