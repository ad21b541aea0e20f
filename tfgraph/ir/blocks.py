"""Constants read a block at a time, so that a weight is never in memory as a whole, or not more than once.

`open_matrix` gives a constant as a matrix of which any rows and columns can be read. What transforms have made of a
file's elements (see `transforms.py`) is done block by block; a constant of any other kind is read as a whole.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from tfgraph.errors import CheckpointError, GraphError
from tfgraph.ir.constant import Array, Constant, Derived, FileConstant, ends_early
from tfgraph.ir.transpose import UNIT_BYTES, transpose_into

STRIP_BYTES: Final = 2**28
"""How much of a matrix that is transposed is in memory at once."""

_STEP_BYTES: Final = 2**22  # of what is converted on its way


class Matrix(Protocol):
    """The elements of a constant as a matrix: its first axis, and all others in one."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    def prepare(self) -> None:
        """Read what the first rows need, if that is more than they are."""

    def read(self, rows: slice, columns: slice, out: Array) -> None:
        """Put the elements in `rows` and `columns`, both within the shape, into `out`, whose rows are contiguous."""


class Scratch:
    """Memory that one matrix after the other uses; for the system to provide it anew would take longer than to copy."""

    def __init__(self) -> None:
        self._free: list[Array] = []
        self._lock = threading.Lock()

    @contextmanager
    def take(self, nbytes: int) -> Iterator[Array]:
        """At least `nbytes` bytes, aligned to units of `transpose_into`, of undefined content."""
        with self._lock:
            fitting = [buffer for buffer in self._free if buffer.nbytes >= nbytes]
            buffer = min(fitting, key=lambda each: each.nbytes) if fitting else None
            if buffer is None:
                self._free = self._free[:-1]  # the new one takes the place of one that is too small
            else:
                self._free = [each for each in self._free if each is not buffer]
        if buffer is None:
            buffer = np.empty(max(1, math.ceil(nbytes / UNIT_BYTES)), np.complex128).view(np.uint8)
        yield buffer
        with self._lock:
            self._free.append(buffer)


@contextmanager
def open_matrix(constant: Constant, scratch: Scratch | None = None, strip_bytes: int = STRIP_BYTES) -> Iterator[Matrix]:
    """The constant as a matrix, for as long as the context lasts.

    Args:
        constant: of a dtype of whole bytes.
        scratch: what memory to work in, if that of an earlier matrix can be used again.
        strip_bytes: how much of a matrix that is transposed is in memory at once.

    Raises:
        CheckpointError: (also from `read`) the file is gone, or shorter than it was.
        GraphError: a constant reads as another shape or dtype than it says.
    """
    with ExitStack() as stack:
        yield _open(constant, stack, scratch or Scratch(), strip_bytes)


def _open(constant: Constant, stack: ExitStack, scratch: Scratch, strip_bytes: int) -> Matrix:
    def opened(base: Constant) -> Matrix:
        return _open(base, stack, scratch, strip_bytes)

    match constant:
        case FileConstant() if constant.dtype.bits >= 8:
            return _FileMatrix(constant, stack)
        case Derived(key=("cast" | "scaled", *_), bases=(base,)) if base.shape == constant.shape:
            return _Converted(constant, opened(base), base.dtype.numpy())
        case Derived(key=("transposed", (1, 0)), bases=(base,)):
            return _Transposed(constant, opened(base), stack, scratch, strip_bytes)
        case Derived(key=("concatenated", int(axis))) if axis == 0 or len(constant.shape) == 2:
            return _Concatenated(constant, [opened(base) for base in constant.bases], axis)
        case Derived(key=("sliced", int(axis), int(start), int()), bases=(base,)) if axis == 0 or len(base.shape) == 2:
            return _Sliced(constant, opened(base), axis, start)
    return _Whole(constant)


def _matrix_shape(constant: Constant) -> tuple[int, int]:
    rows = constant.shape[0] if constant.shape else 1
    return rows, math.prod(constant.shape[1:])


class _Whole:
    """A constant of a kind that is not known here, in memory."""

    def __init__(self, constant: Constant) -> None:
        self.shape = _matrix_shape(constant)
        elements = constant.numpy()
        if elements.shape != constant.shape or elements.dtype != constant.dtype.numpy():
            raise GraphError(f"{constant!r} reads as {elements.dtype}{list(elements.shape)}")
        self._elements = elements.reshape(self.shape)

    def prepare(self) -> None:
        return

    def read(self, rows: slice, columns: slice, out: Array) -> None:
        out[...] = self._elements[rows, columns]


class _FileMatrix:
    """Elements that lie in a file, row after row."""

    def __init__(self, constant: FileConstant, stack: ExitStack) -> None:
        self.shape = _matrix_shape(constant)
        self._path: Path = constant.path
        self._offset = constant.offset
        self._itemsize = constant.dtype.numpy().itemsize
        try:
            self._file: FileIO = stack.enter_context(self._path.open("rb", buffering=0))
        except OSError as error:
            raise CheckpointError(f"cannot read the weights in {self._path}: {error.strerror or error}") from None

    def prepare(self) -> None:
        return

    def read(self, rows: slice, columns: slice, out: Array) -> None:
        if columns == slice(0, self.shape[1]) and out.flags.c_contiguous:
            self._fill(out, rows.start * self.shape[1])
            return
        for row, line in zip(range(rows.start, rows.stop), out, strict=True):
            self._fill(line, row * self.shape[1] + columns.start)

    def _fill(self, out: Array, start: int) -> None:
        """Read into `out`, which is contiguous, from the element `start` on."""
        place = self._offset + start * self._itemsize
        unfilled = out.reshape(-1).view(np.uint8).data
        try:
            self._file.seek(place)
            while unfilled and (count := self._file.readinto(unfilled)):
                unfilled = unfilled[count:]
        except OSError as error:
            raise CheckpointError(f"cannot read the weights in {self._path}: {error.strerror or error}") from None
        if unfilled:
            raise ends_early(self._path, out.nbytes, place, out.nbytes - len(unfilled))


class _Converted:
    """What a function makes of each element by itself."""

    def __init__(self, constant: Derived, base: Matrix, dtype: np.dtype[np.generic]) -> None:
        self.shape = base.shape
        self._base = base
        self._base_dtype = dtype
        self._function: Callable[..., Array] = constant.function

    def prepare(self) -> None:
        self._base.prepare()

    def read(self, rows: slice, columns: slice, out: Array) -> None:
        width = columns.stop - columns.start
        step = max(1, _STEP_BYTES // max(1, width * self._base_dtype.itemsize))
        given = np.empty((min(step, len(out)), width), self._base_dtype)
        for start in range(rows.start, rows.stop, step):
            stop = min(start + step, rows.stop)
            block = given[: stop - start]
            self._base.read(slice(start, stop), columns, block)
            out[start - rows.start : stop - rows.start] = self._function(block)


class _Transposed:
    """The transpose of a matrix, of which a strip of columns is in memory."""

    def __init__(self, constant: Constant, base: Matrix, stack: ExitStack, scratch: Scratch, strip_bytes: int) -> None:
        self.shape = _matrix_shape(constant)
        self._base = base
        height, itemsize = self.shape[1], constant.dtype.numpy().itemsize
        unit = max(1, UNIT_BYTES // itemsize)
        fitting = strip_bytes // max(1, height * itemsize) // unit * unit
        self._width = max(1, min(max(unit, fitting), self.shape[0]))
        taken = stack.enter_context(scratch.take(height * self._width * itemsize))
        self._memory: Array = taken[: height * self._width * itemsize].view(constant.dtype.numpy())
        self._strip = range(0)

    def prepare(self) -> None:
        self._load(0)

    def read(self, rows: slice, columns: slice, out: Array) -> None:
        start = rows.start
        while start < rows.stop:
            if start not in self._strip:
                self._load(start - start % self._width)
            stop = min(rows.stop, self._strip.stop)
            within = slice(start - self._strip.start, stop - self._strip.start)
            part = self._strip_elements()[columns, within]
            transpose_into(part, out[start - rows.start : stop - rows.start])
            start = stop

    def _load(self, start: int) -> None:
        self._strip = range(start, min(start + self._width, self.shape[0]))
        columns = slice(self._strip.start, self._strip.stop)
        self._base.read(slice(0, self.shape[1]), columns, self._strip_elements())

    def _strip_elements(self) -> Array:
        """[R, strip]: what is in memory of the base."""
        height, width = self.shape[1], len(self._strip)
        return self._memory[: height * width].reshape(height, width)


class _Concatenated:
    """Matrices below each other, or side by side."""

    def __init__(self, constant: Constant, parts: list[Matrix], axis: int) -> None:
        self.shape = _matrix_shape(constant)
        self._parts = parts
        self._axis = axis

    def prepare(self) -> None:
        for part in self._parts:
            part.prepare()

    def read(self, rows: slice, columns: slice, out: Array) -> None:
        wanted = (rows, columns)[self._axis]
        end = 0
        for part in self._parts:
            begin, end = end, end + part.shape[self._axis]
            start, stop = max(begin, wanted.start), min(end, wanted.stop)
            if start >= stop:
                continue
            inner, place = slice(start - begin, stop - begin), slice(start - wanted.start, stop - wanted.start)
            if self._axis == 0:
                part.read(inner, columns, out[place])
            else:
                part.read(rows, inner, out[:, place])


class _Sliced:
    """Some rows, or some columns, of a matrix."""

    def __init__(self, constant: Constant, base: Matrix, axis: int, start: int) -> None:
        self.shape = _matrix_shape(constant)
        self._base = base
        self._skipped = (start, 0) if axis == 0 else (0, start)

    def prepare(self) -> None:
        return

    def read(self, rows: slice, columns: slice, out: Array) -> None:
        top, left = self._skipped
        self._base.read(slice(rows.start + top, rows.stop + top), slice(columns.start + left, columns.stop + left), out)
