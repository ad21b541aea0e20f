"""Weights in a file beside the model: where each of them lies in it, and how they get there.

Weights known to be the same lie there once. Tensors of more than 1 MB begin at a page, so that a runtime can map them
into memory. Reading weights block by block is in `tfgraph.ir.blocks`, and the writing of the file in `data_file.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import numpy as np

from tfgraph.backends.onnx.data_file import PANEL_BYTES, DataFile
from tfgraph.backends.onnx.lower import CONSTANT_KEY
from tfgraph.backends.onnx.open_ahead import open_ahead
from tfgraph.ir.blocks import Matrix
from tfgraph.ir.constant import Constant, constant_key

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir

INLINE_BYTES: Final = 1024
"""Tensors up to this size stay in the model's file, where shape inference of runtimes finds them."""

_PAGE: Final = 4096
_PAGED_BYTES: Final = 2**20  # larger tensors begin at a page
_ALIGNMENT: Final = 64  # of the others
_PANEL_ROWS: Final = 128  # a multiple of them, where a panel holds so many: transposing goes by units of a few rows


@dataclass(frozen=True)
class Placed:
    """A tensor in the file, and the initializers that have it as their value."""

    tensor: onnx_ir.TensorProtocol
    values: tuple[onnx_ir.Value, ...]
    offset: int


def place(models: Iterable[onnx_ir.Model]) -> list[Placed]:
    """The tensors of all models that go to external data, one after the other, with their places in the file."""
    import onnx_ir as ir

    same: dict[object, list[onnx_ir.Value]] = {}
    for model in models:
        for graph in model.graphs():
            for value in graph.initializers.values():
                tensor = value.const_value
                if tensor is not None and tensor.nbytes > INLINE_BYTES and tensor.dtype != ir.DataType.STRING:
                    constant = tensor.meta.get(CONSTANT_KEY)
                    same.setdefault(id(tensor) if constant is None else constant_key(constant), []).append(value)
    placed, end = [], 0
    for values in same.values():
        tensor = values[0].const_value
        if tensor is not None:
            start = _aligned(end, _PAGE if tensor.nbytes > _PAGED_BYTES else _ALIGNMENT)
            placed.append(Placed(tensor, tuple(values), start))
            end = start + tensor.nbytes
    return placed


def size_of(placed: list[Placed]) -> int:
    """The bytes of the file that they lie in."""
    return placed[-1].offset + placed[-1].tensor.nbytes if placed else 0


def write_data(placed: list[Placed], path: Path, on_written: Callable[[int], None]) -> None:
    """Write the tensors into a new file; `on_written` is called with numbers of bytes that add up to theirs.

    Raises:
        OSError: the file cannot be written, or the disk is full.
        CheckpointError: the file of a weight cannot be read any more.
    """
    constants = [each.tensor.meta.get(CONSTANT_KEY) for each in placed]
    plain = [constant for constant in constants if _is_plain(constant)]
    with DataFile(path, size_of(placed), on_written) as file, open_ahead(plain) as matrices:
        for each, constant in zip(placed, constants, strict=True):
            if _is_plain(constant):
                _write_rows(next(matrices), constant.dtype.numpy(), file, each.offset)
            else:
                _write_bytes(each.tensor.tobytes(), file, each.offset)


@contextmanager
def referring_to(placed: list[Placed], file: str) -> Iterator[None]:
    """Let the initializers refer to their places in the file of that name, beside the model, for a while."""
    import onnx_ir as ir

    tensors = [(value, value.const_value) for each in placed for value in each.values]
    try:
        for each in placed:
            for value in each.values:
                value.const_value = ir.ExternalTensor(
                    file, each.offset, each.tensor.nbytes, ir.DataType(each.tensor.dtype),
                    shape=ir.Shape(each.tensor.shape.numpy()), name=value.name or "", base_dir="",
                )  # fmt: skip
        yield
    finally:
        for value, tensor in tensors:
            value.const_value = tensor


def _aligned(offset: int, to: int) -> int:
    return -(-offset // to) * to


def _is_plain(constant: Constant | None) -> TypeGuard[Constant]:
    """Whether the elements are known to lie in the file as they do in memory."""
    return constant is not None and constant.dtype.bits >= 8 and sys.byteorder == "little"


def _write_rows(matrix: Matrix, dtype: np.dtype[Any], file: DataFile, offset: int) -> None:
    for rows, columns in _panels(matrix.shape, dtype.itemsize):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        nbytes = height * width * dtype.itemsize
        panel = file.panel(nbytes)
        matrix.read(rows, columns, panel[:nbytes].view(dtype).reshape(height, width))
        file.write(panel, nbytes, offset + (rows.start * matrix.shape[1] + columns.start) * dtype.itemsize)


def _panels(shape: tuple[int, int], itemsize: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of one panel after the other: several rows, or a part of one row that is longer than a panel."""
    height, width = shape
    height_step, width_step = max(1, PANEL_BYTES // (width * itemsize)), min(width, PANEL_BYTES // itemsize)
    if height_step > _PANEL_ROWS:
        height_step -= height_step % _PANEL_ROWS
    for top in range(0, height, height_step):
        for left in range(0, width, width_step):
            yield slice(top, min(top + height_step, height)), slice(left, min(left + width_step, width))


def _write_bytes(content: bytes, file: DataFile, offset: int) -> None:
    for start in range(0, len(content), PANEL_BYTES):
        piece = np.frombuffer(content, np.uint8, min(PANEL_BYTES, len(content) - start), start)
        panel = file.panel(piece.nbytes)
        panel[: piece.nbytes] = piece
        file.write(panel, piece.nbytes, offset + start)
