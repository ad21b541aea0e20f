"""What a torch pickle is made of, as inert values: globals, storages, tensors, and objects as their attributes.

None of them does anything. They are made by `allowed.py` and become constants in `tensors.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tfgraph.ir.dtypes import DType


class Refused(Exception):
    """What a pickle asks for is understood, and not given. The message goes on after the name of the file."""


@dataclass(frozen=True, slots=True)
class Global:
    """A global that a pickle may name: inert, unless `call` builds what calling it would have built."""

    name: str
    call: Callable[[tuple[object, ...]], object] | None = None


class Attributes(dict[str, object]):
    """An object of a library's class as its attributes, by name: nothing of the class itself.

    `type_name` is the class, `arguments` what it was called with: the value of an enumeration is there.
    """

    def __init__(self, type_name: str, arguments: tuple[object, ...] = ()) -> None:
        super().__init__()
        self.type_name = type_name
        self.arguments = arguments

    def __repr__(self) -> str:
        return f"Attributes({self.type_name!r}, {self.arguments!r}, {super().__repr__()})"


@dataclass(frozen=True, slots=True)
class TorchStorage:
    """A run of `size` elements that a file holds under `key`."""

    key: str
    dtype: DType
    size: int


@dataclass(frozen=True, slots=True)
class TorchTensor:
    """A view of a storage: element `[i, j, ...]` is number `offset + i * strides[0] + j * strides[1] + ...` of it.

    `dtype` need not be that of the storage: for the types that torch has no storage class for, that one is uint8.
    """

    storage: TorchStorage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: DType
