"""Constants: handles to weights that stay on disk until somebody asks for their numbers.

A `Constant` knows its dtype and shape without touching data. `numpy()` produces the array, afresh each time, so that a
model larger than memory can be traced, optimised and written one tensor at a time. A handle is immutable; what a pass
does to a weight (transpose, concatenate, cast) is a new handle over the old one, `Derived`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfgraph.errors import CheckpointError, GraphError
from tfgraph.ir.dtypes import DType, as_dtype
from tfgraph.ir.packed import unpacked

Array = NDArray[Any]


class Constant:
    """A tensor of known dtype and shape whose elements are read when `numpy()` is called."""

    __slots__ = ("dtype", "shape")

    def __init__(self, dtype: DType, shape: Sequence[int]) -> None:
        self.dtype = dtype
        self.shape: tuple[int, ...] = tuple(shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements in a file."""
        return self.dtype.nbytes(self.size)

    @property
    def has_data(self) -> bool:
        """Whether `numpy()` can answer; false for the weights of a model that was declared but never loaded."""
        return True

    def numpy(self) -> Array:
        """The elements, in an array of `shape` and `dtype.numpy()`. Read-only unless stated otherwise."""
        raise GraphError(f"{type(self).__name__} does not say how its elements are read")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dtype}{list(self.shape)})"


class ArrayConstant(Constant):
    """A constant whose elements are in memory."""

    __slots__ = ("array",)

    def __init__(self, array: object, dtype: object = None) -> None:
        kept = np.asarray(array) if dtype is None else np.asarray(array, dtype=as_dtype(dtype).numpy())
        super().__init__(as_dtype(kept.dtype), kept.shape)
        self.array: Array = kept.astype(self.dtype.numpy(), copy=False)  # of native byte order; strings as objects

    def numpy(self) -> Array:
        return self.array


class FileConstant(Constant):
    """A constant that is a run of little-endian bytes in a file.

    Raises:
        CheckpointError: (from `numpy`) the file is gone, or shorter than it was.
    """

    __slots__ = ("offset", "path")

    def __init__(self, path: Path, offset: int, dtype: DType, shape: Sequence[int]) -> None:
        super().__init__(dtype, shape)
        self.path = path
        self.offset = offset

    def numpy(self) -> Array:
        dtype = np.dtype(np.uint8) if self.dtype.bits < 8 else self.dtype.numpy()
        try:
            array = np.fromfile(self.path, dtype=dtype, count=self.nbytes // dtype.itemsize, offset=self.offset)
        except OSError as error:
            raise CheckpointError(f"cannot read the weights in {self.path}: {error.strerror or error}") from error
        if array.nbytes != self.nbytes:
            raise ends_early(self.path, self.nbytes, self.offset, array.nbytes)
        if self.dtype.bits < 8:
            array = unpacked(array, self.dtype, self.size)
        return array.reshape(self.shape)


def ends_early(path: Path, expected: int, offset: int, found: int) -> CheckpointError:
    """The error for a file that has fewer bytes at an offset than there were."""
    return CheckpointError(
        f"{path} ends early: {expected} bytes expected at offset {offset}, {found} found. Was the file replaced while "
        "it was in use?"
    )


class AbsentConstant(Constant):
    """The weight of a model that was declared without a checkpoint: it has a type and no elements."""

    __slots__ = ()

    @property
    def has_data(self) -> bool:
        return False

    def numpy(self) -> Array:
        raise CheckpointError(
            f"a weight of {self.dtype}{list(self.shape)} has no values: load a checkpoint, or call `init_weights()`, "
            "before running or saving the model"
        )


class Derived(Constant):
    """A constant computed from other constants when it is read.

    `function` gets the arrays of `bases` and returns the result; `key` names the function and its parameters, so that
    two handles over the same bases with the same key are known to be equal without reading anything.
    """

    __slots__ = ("bases", "function", "key")

    def __init__(
        self,
        function: Callable[..., Array],
        bases: Sequence[Constant],
        key: tuple[object, ...],
        dtype: DType,
        shape: Sequence[int],
    ) -> None:
        super().__init__(dtype, shape)
        self.function = function
        self.bases = tuple(bases)
        self.key = key

    @property
    def has_data(self) -> bool:
        return all(base.has_data for base in self.bases)

    def numpy(self) -> Array:
        result = np.asarray(self.function(*(base.numpy() for base in self.bases)))
        if result.shape != self.shape or result.dtype != self.dtype.numpy():
            raise GraphError(f"{self.key[0]} gave {result.dtype}{list(result.shape)} where {self!r} was declared")
        return result


def constant_key(constant: Constant) -> object:
    """A hashable key that is equal for constants known to hold the same elements, without reading big ones.

    Small in-memory arrays compare by content, files by place, derived constants by recipe; everything else by identity.
    """
    if isinstance(constant, ArrayConstant) and constant.nbytes <= 4096 and constant.dtype is not DType.STRING:
        return ("array", constant.dtype, constant.shape, constant.array.tobytes())
    if isinstance(constant, FileConstant):
        return ("file", constant.path, constant.offset, constant.dtype, constant.shape)
    if isinstance(constant, Derived):
        return ("derived", constant.key, tuple(constant_key(base) for base in constant.bases), constant.shape)
    return ("object", id(constant))
