"""Changing the element type: Cast, CastLike."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfgraph.ir.constant import Array
from tfgraph.ir.dtypes import DType, as_dtype
from tfgraph.ir.ops.arithmetic import is_float, widened
from tfgraph.ir.ops.contents import Content
from tfgraph.ir.ops.rules import same
from tfgraph.ir.optable import REQUIRED, Operands
from tfgraph.ir.packed import low_bits
from tfgraph.ir.primitive import primitive
from tfgraph.ir.types import CONTENT_DTYPES


def cast_array(array: Array, to: object, *, saturate: bool = True) -> Array:
    """`array` in another element type, by ONNX's rules.

    Floats become integers by truncation, anything but zero becomes true, and what a float8 type cannot hold becomes its
    largest value (`saturate`) or its NaN or infinity.
    """
    dtype = as_dtype(to)
    target = dtype.numpy()
    if array.dtype == target:
        return array
    if dtype is DType.STRING:
        return np.array([str(element) for element in array.reshape(-1)], dtype=object).reshape(array.shape)
    if array.dtype.kind == "O":
        return array.astype(np.float64).astype(target) if dtype.is_float else array.astype(target)
    wide = widened(array)
    with np.errstate(all="ignore"):
        if dtype is DType.BOOL:
            return np.asarray(wide != 0)
        if dtype.bits == 8 and dtype.is_float:
            return _to_float8(wide, target, saturate)
        if dtype.bits < 8:
            return low_bits(wide.astype(np.int64), dtype)
        if dtype.is_integer and is_float(wide):
            return wide.astype(np.uint64 if dtype is DType.UINT64 else np.int64).astype(target)
        return wide.astype(target)


def _to_float8(wide: Array, target: np.dtype[Any], saturate: bool) -> Array:
    import ml_dtypes

    single = wide.astype(np.float32)
    if saturate:
        largest = np.float32(ml_dtypes.finfo(target).max)  # type: ignore[no-untyped-call]
        single = np.where(np.isnan(single), single, np.clip(single, -largest, largest))
    return np.asarray(single.astype(target))


def _content(given: Operands) -> Content | None:
    """The elements, unless the cast may change them: to bool all but 0 become 1, which a symbol does not say."""
    content = given.content(0)
    target = as_dtype(given.attributes["to"]) if "to" in given.attributes else given.dtype(1)
    source = given.dtype(0)
    if content is None or source not in CONTENT_DTYPES or target is source:
        return content
    if target is DType.BOOL:
        known = [dim for dim in content if isinstance(dim, int)]
        return tuple(int(dim != 0) for dim in known) if len(known) == len(content) else None
    if target is DType.INT32 and any(isinstance(dim, int) and not -(2**31) <= dim < 2**31 for dim in content):
        return None
    return content


def _cast(array: Array, *, to: object, saturate: int) -> Array:
    return cast_array(array, to, saturate=bool(saturate))


def _cast_like(array: Array, like: Array, *, saturate: int) -> Array:
    return cast_array(array, like.dtype, saturate=bool(saturate))


primitive(
    "Cast", "input:T -> output:@to", shape=same, reference=_cast, since=9, content=_content,
    attributes={"saturate": 1, "to": REQUIRED}, elementwise=True,
)  # fmt: skip
primitive(
    "CastLike", "input:T target_type:U -> output:U", shape=same, reference=_cast_like, since=15, content=_content,
    attributes={"saturate": 1}, elementwise=True,
)  # fmt: skip
