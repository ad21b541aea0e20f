"""Numpy's arrays, numbers and dtypes as a torch pickle holds them: the state of a random generator, a loss.

Only numbers are read: an array of Python objects could hold anything. The allow-list is in `allowed.py`.

Source: `numpy.ndarray.__reduce__` and `numpy.dtype.__reduce__`: an array is made empty and gets its state, (version,
shape, dtype, whether Fortran's order, bytes); a dtype is made of its letter and its size, and gets its byte order.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tfgraph.ir.constant import ArrayConstant
from tfgraph.ir.dtypes import as_dtype

_CODES = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])
_ORDERS = frozenset("<>|=")


class NumpyDType:
    """A dtype under construction: its letter and size, and then its byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "="

    def numpy(self) -> np.dtype[np.generic]:
        """Numpy's own."""
        return np.dtype(self.order + self.code)


def set_numpy_state(target: object, state: object) -> None:
    """Gives an array or a dtype that was just made its state.

    Raises:
        ValueError: the state is not one of numpy's, or `target` is neither.
    """
    match target, state:
        case NumpyDType(), (int(), str(order), *_) if order in _ORDERS:
            target.order = order
        case ArrayConstant(), (int(), tuple(shape), NumpyDType() as dtype, fortran, str(data) | bytes(data)):
            sizes = [size for size in shape if isinstance(size, int) and 0 <= size < 2**63]
            content = data.encode("latin-1") if isinstance(data, str) else data
            kind = dtype.numpy()
            if len(sizes) != len(shape) or math.prod(sizes) * kind.itemsize != len(content) or len(sizes) > 32:
                raise ValueError("the shape of a numpy array does not fit its bytes")
            flat = np.frombuffer(content, kind)
            array = flat.astype(kind.newbyteorder("="), copy=False).reshape(sizes, order="F" if fortran else "C")
            target.array, target.shape, target.dtype = array, array.shape, as_dtype(array.dtype)
        case _:
            raise ValueError(f"it sets the state of a {type(target).__name__}")


def _dtype(arguments: tuple[object, ...]) -> object:
    match arguments:
        case (str(code), *_) if code in _CODES:
            return NumpyDType(code)
    raise ValueError("a numpy dtype is not one of numbers")


def _array(arguments: tuple[object, ...]) -> object:
    """`_reconstruct(numpy.ndarray, (0,), b"b")`: an array that gets its elements from its state."""
    return ArrayConstant(np.zeros(0, np.uint8))


def _number(arguments: tuple[object, ...]) -> object:
    """`scalar(dtype, bytes)`: a Python number."""
    match arguments:
        case (NumpyDType() as dtype, str(data) | bytes(data)):
            content = data.encode("latin-1") if isinstance(data, str) else data
            kind = dtype.numpy()
            if len(content) == kind.itemsize:
                number: object = np.frombuffer(content, kind)[0].item()
                return number
    raise ValueError("a numpy number is not made of a dtype and its bytes")


NUMPY_CALLS: dict[str, Callable[[tuple[object, ...]], object]] = {
    "numpy.dtype": _dtype,
    **{
        f"numpy.{core}.multiarray.{name}": call
        for core in ("core", "_core")
        for name, call in (("_reconstruct", _array), ("scalar", _number))
    },
}
