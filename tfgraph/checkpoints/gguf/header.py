"""The header of a GGUF file: its metadata, and which tensors lie where. Nothing after it is read.

The format is documented in ggml's repository (docs/gguf.md). All integers are little-endian:

    4 bytes     "GGUF"
    uint32      version: 2 or 3, which differ in nothing that is read here
    uint64      number of tensors
    uint64      number of metadata entries
    entries     key (a string), type (uint32), value
    tensors     name (a string), number of axes (uint32), sizes (uint64 each, the fastest-moving first), type (uint32),
                offset (uint64) from the first byte of the data
    data        begins at the next multiple of `general.alignment`, as does each tensor

A string is its length in bytes (uint64) and UTF-8 text. The reader that comes with the `gguf` package trusts every
count in the file and raises whatever numpy raises, so the format is parsed here: no count is believed before the rest
of the file is known to be long enough for it. What tensors are read as is in `tfgraph.checkpoints.gguf.tensors`.
"""

from __future__ import annotations

import math
import os
import reprlib
import stat
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tfgraph.checkpoints.gguf.ggml_types import GGML_TYPES, RETIRED_TYPES, GgmlType
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import Array

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32

_MOST_AXES = 4  # GGML_MAX_DIMS
_LARGEST = 2**63 - 1
_LONGEST_STRING = 2**28  # a chat template has some thousand bytes
_DEEPEST_ARRAY = 4
_SMALLEST_ENTRY = 8 + 4 + 1  # an empty key, its type, a value of one byte
_SMALLEST_TENSOR = 8 + 4 + 4 + 8  # an empty name, no axes, its type, its offset
_DOWNLOAD_AGAIN = "The file is incomplete or damaged: download it again"

# type of a metadata value -> numpy's name for it; besides these there are bools, strings and arrays
_SCALARS = {0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 10: "<u8", 11: "<i8", 12: "<f8"}
_BOOL, _STRING, _ARRAY = 7, 8, 9


class TensorInfo(NamedTuple):
    """A tensor: what it is called in its file, and where its bytes lie.

    `path` is absolute, so that a later change of the working directory does not move the weights. `shape` has the
    slowest-moving axis first, as numpy has it; `offset` counts from the beginning of the file.
    """

    path: Path
    name: str
    type: GgmlType
    shape: tuple[int, ...]
    offset: int


class Header(NamedTuple):
    """What the header says. Arrays of numbers in `metadata` are numpy arrays, arrays of strings lists."""

    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]


def read_header(path: Path) -> Header:
    """The metadata and the tensors of a GGUF file.

    Raises:
        CheckpointError: the file cannot be read, is no GGUF file, is cut short, or breaks the format. The message names
            the file, the key or tensor where there is one, what was found and what was expected.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for a writer
            raise CheckpointError(f"{path} is not a file; expected a GGUF file")
        with path.open("rb") as file:
            return _Parser(path, file, os.fstat(file.fileno()).st_size).header()
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # a path with a null character
        raise CheckpointError(f"cannot read {str(path)!r}: {error}") from error


class _Parser:
    """Reads a header from front to back; `left` is how many bytes of the file come after what was read."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path = path
        self.file = file
        self.size = size
        self.left = size

    def header(self) -> Header:
        magic = self.take(4, "the first four bytes")
        if magic != MAGIC:
            hint = ""
            if magic == b"vers":
                hint = ". It looks like a Git LFS pointer: run `git lfs pull`, or download the file itself"
            elif magic in (b"ggml", b"ggmf", b"ggjt", b"lmgg", b"fmgg", b"tjgg"):
                hint = ". It is a GGML file of before August 2023: convert the model again"
            raise CheckpointError(f"{self.path} is not a GGUF file: it begins with {magic!r}, expected {MAGIC!r}{hint}")
        version = self.integer("<I", "the version")
        if version not in VERSIONS:
            big_endian = int.from_bytes(version.to_bytes(4, "little"), "big") in (1, *VERSIONS)
            found = "big-endian numbers" if big_endian else f"version {version}"
            raise CheckpointError(f"{self.path} is a GGUF file with {found}; expected version 2 or 3, little-endian")
        num_tensors = self.count("tensors", _SMALLEST_TENSOR)
        num_entries = self.count("metadata entries", _SMALLEST_ENTRY)
        metadata: dict[str, Any] = {}
        for index in range(num_entries):
            key = self.string(f"the key of metadata entry {index}")
            if key in metadata:
                raise self.damaged(f"metadata key {_short(key)} appears twice")
            metadata[key] = self.value(self.integer("<I", f"the type of {_short(key)}"), key)
        infos = [self.tensor(index) for index in range(num_tensors)]
        alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise self.damaged(f"general.alignment must be a power of two, found {_short(alignment)}")
        return Header(metadata, self.placed(infos, alignment))

    def damaged(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {what}. {_DOWNLOAD_AGAIN}")

    def take(self, size: int, what: str) -> bytes:
        """The next `size` bytes, which are `what` to an error."""
        found = self.file.read(size) if size <= self.left else b""
        if len(found) < size:
            raise self.damaged(
                f"{what} should take {size} bytes at byte {self.size - self.left}, and the file has {self.size}"
            )
        self.left -= size
        return found

    def integer(self, code: str, what: str) -> int:
        found: int = struct.unpack(code, self.take(struct.calcsize(code), what))[0]
        return found

    def count(self, what: str, smallest: int) -> int:
        """A number of things that take at least `smallest` bytes each, all of which must still be in the file."""
        found = self.integer("<Q", f"the number of {what}")
        if found > self.left // smallest:
            raise self.damaged(
                f"the file says that it has {found} {what}, and there is room for at most {self.left // smallest} "
                f"in the {self.left} bytes that follow"
            )
        return found

    def string(self, what: str) -> str:
        length = self.integer("<Q", f"the length of {what}")
        if length > _LONGEST_STRING:
            raise self.damaged(f"{what} should be {length} bytes long, more than {_LONGEST_STRING}")
        try:
            return self.take(length, what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.damaged(f"{what} is not UTF-8 text ({error})") from error

    def value(self, kind: int, key: str, depth: int = 0) -> Any:
        """A metadata value of the type `kind`."""
        what = f"the value of {_short(key)}"
        if kind in _SCALARS:
            return self.numbers(_SCALARS[kind], 1, what)[0].item()
        if kind == _BOOL:
            return self.take(1, what) != b"\0"
        if kind == _STRING:
            return self.string(what)
        if kind != _ARRAY:
            raise self.damaged(f"{what} has the unknown type {kind}; expected 0 to 12")
        if depth == _DEEPEST_ARRAY:
            raise self.damaged(f"{what} nests arrays more than {_DEEPEST_ARRAY} deep")
        element = self.integer("<I", f"the element type of {_short(key)}")
        if element in _SCALARS:
            width = np.dtype(_SCALARS[element]).itemsize
            return self.numbers(_SCALARS[element], self.count(f"elements in {_short(key)}", width), what)
        if element == _BOOL:
            return self.numbers("<u1", self.count(f"elements in {_short(key)}", 1), what) != 0
        if element == _STRING:
            return self.strings(self.count(f"elements in {_short(key)}", 8), f"an element of {_short(key)}")
        number = self.count(f"elements in {_short(key)}", 12) if element == _ARRAY else 1
        return [self.value(element, key, depth + 1) for _ in range(number)]

    def strings(self, number: int, what: str) -> list[str]:
        """That many strings: a vocabulary has hundreds of thousands."""
        found = []
        read, from_bytes = self.file.read, int.from_bytes
        for _ in range(number):
            length = from_bytes(read(8), "little")
            if self.left < 8 or length > min(self.left - 8, _LONGEST_STRING):
                raise self.damaged(f"{what} should take {length} bytes, and {max(self.left - 8, 0)} are left")
            self.left -= 8 + length
            text = read(length)
            try:
                found.append(text.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise self.damaged(f"{what} is not UTF-8 text ({error})") from error
        return found

    def numbers(self, code: str, number: int, what: str) -> Array:
        dtype = np.dtype(code)
        found = np.frombuffer(self.take(number * dtype.itemsize, what), dtype=dtype)
        return found.astype(dtype.newbyteorder("="), copy=False)

    def tensor(self, index: int) -> TensorInfo:
        """One line of the table of tensors; its offset still counts from the beginning of the data."""
        name = self.string(f"the name of tensor {index}")
        where = f"tensor {_short(name)}"
        num_axes = self.integer("<I", f"the number of axes of {where}")
        if num_axes > _MOST_AXES:
            raise self.damaged(f"{where} has {num_axes} axes, more than {_MOST_AXES}")
        sizes = [self.integer("<Q", f"a size of {where}") for _ in range(num_axes)]
        code = self.integer("<I", f"the type of {where}")
        offset = self.integer("<Q", f"the offset of {where}")
        if code not in GGML_TYPES:
            known = ", ".join(kind.name for kind in GGML_TYPES.values())
            if code in RETIRED_TYPES:
                raise CheckpointError(
                    f"{self.path}: {where} has the type {RETIRED_TYPES[code]}, which ggml has removed: quantise the "
                    f"model again, to one of {known}"
                )
            raise CheckpointError(f"{self.path}: {where} has the unknown type {code}; known are {known}")
        kind = GGML_TYPES[code]
        if math.prod(sizes) > _LARGEST or 0 in sizes:
            raise self.damaged(f"{where} has the sizes {sizes}: expected 1 to 2**63 elements")
        if (sizes[0] if sizes else 1) % kind.block_size:
            raise self.damaged(
                f"{where} of type {kind.name} has rows of {sizes[0] if sizes else 1} elements; expected a multiple of "
                f"{kind.block_size}"
            )
        return TensorInfo(self.path.absolute(), name, kind, tuple(reversed(sizes)), offset)

    def placed(self, infos: list[TensorInfo], alignment: int) -> dict[str, TensorInfo]:
        """The tensors by name, with offsets from the beginning of the file; they must lie in it and not overlap."""
        header_size = self.size - self.left
        start = -(-header_size // alignment) * alignment
        tensors: dict[str, TensorInfo] = {}
        end, previous = start, ""
        for info in sorted(infos, key=lambda info: info.offset):
            where = f"tensor {_short(info.name)}"
            if info.name in tensors:
                raise self.damaged(f"{where} appears twice")
            if info.offset % alignment:
                raise self.damaged(f"{where} has the offset {info.offset}; expected a multiple of {alignment}")
            begin, nbytes = start + info.offset, info.type.nbytes(math.prod(info.shape))
            if begin < end:
                raise self.damaged(f"{where} begins at byte {begin}, inside tensor {_short(previous)}")
            end, previous = begin + nbytes, info.name
            if end > self.size:
                raise self.damaged(
                    f"{where}, {info.type.name}{list(info.shape)}, should take the bytes {begin} to {end}, and the "
                    f"file has {self.size}"
                )
            tensors[info.name] = info._replace(offset=begin)
        return {info.name: tensors[info.name] for info in infos}  # in the order of the file's table


def _short(given: object) -> str:
    """What was found, cut to a length that fits in a message."""
    return _SHORT_REPR.repr(given)


_SHORT_REPR = reprlib.Repr()
_SHORT_REPR.maxstring = 120
