"""The zip form of a torch checkpoint: `torch.save` since 1.6.

    NAME/data.pkl     the object as a pickle, in which a storage is named by its key
    NAME/data/KEY     the bytes of a storage, as a rule stored uncompressed
    NAME/byteorder    b"little" or b"big"; little where there is none

NAME is the same in all. Source: `torch.serialization._save`. The directory of a zip file is read in `zip_directory.py`,
the pickle in `pickle_machine.py`.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tfgraph.checkpoints.torch.allowed import CONVERT, find_global, find_storage, set_state
from tfgraph.checkpoints.torch.pickle_machine import MAX_PICKLE_BYTES, read_pickle
from tfgraph.checkpoints.torch.values import TorchStorage
from tfgraph.checkpoints.torch.zip_directory import DEFLATED, ZipEntry, data_offset, read_directory, read_entry
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import Array, Constant, FileConstant
from tfgraph.ir.dtypes import DType
from tfgraph.ir.transforms import folded

_PICKLE = "/data.pkl"
_CHUNK = 2**20


def read_zip(file: BinaryIO, file_size: int, path: Path) -> tuple[object, ZipStorages]:
    """The object that a zip checkpoint holds, its tensors not yet constants, and the storages that they view.

    Raises:
        CheckpointError: the file is damaged, is another kind of zip file, or asks for what is refused.
    """
    entries = read_directory(file, file_size, path)
    pickles = [name for name in entries if name.endswith(_PICKLE) and name.count("/") == 1]
    if len(pickles) != 1:
        raise CheckpointError(
            f"{path} is a zip file, but not of torch.save: it has {len(pickles)} entries NAME{_PICKLE}, expected one. "
            f"It begins with {', '.join(list(entries)[:5]) or 'nothing'}"
        )
    root = pickles[0].removesuffix(_PICKLE)
    if f"{root}/constants.pkl" in entries:
        raise CheckpointError(f"{path} holds a TorchScript program, not weights alone. {CONVERT}")
    entry = entries[pickles[0]]
    limit = min(MAX_PICKLE_BYTES, 2**20 + 4 * file_size)  # what a file can ask for goes with its own size
    content = read_entry(file, file_size, entry, path, limit)
    where = f"{path} ({entry.name})"
    result = read_pickle(io.BytesIO(content), len(content), find_global, find_storage, set_state, where)
    return result, ZipStorages(file, file_size, path, entries, root)


class ZipStorages:
    """The storages of an open zip file; the handles it gives out outlive it."""

    def __init__(self, file: BinaryIO, file_size: int, path: Path, entries: dict[str, ZipEntry], root: str) -> None:
        self.file, self.file_size, self.path = file, file_size, path
        self.entries, self.root = entries, root
        self.offsets: dict[str, int] = {}
        self.swapped = self._byte_order() == "big"

    def nbytes(self, storage: TorchStorage) -> int:
        """How many bytes the file holds of a storage."""
        return self._entry(storage).size

    def handle(self, storage: TorchStorage, begin: int, dtype: DType, shape: Sequence[int]) -> Constant:
        """The elements from byte `begin` of a storage on."""
        entry = self._entry(storage)
        if entry.name not in self.offsets:
            self.offsets[entry.name] = data_offset(self.file, self.file_size, entry, self.path)
        start = self.offsets[entry.name]
        constant: Constant
        if entry.method == DEFLATED:
            constant = DeflatedConstant(self.path, start, entry.stored_size, begin, dtype, shape)
        else:
            constant = FileConstant(self.path, start + begin, dtype, shape)
        if self.swapped and dtype.bits > 8:
            return folded(partial(_swap, dtype=dtype), [constant], ("byte_swapped",), dtype, shape)
        return constant

    def _entry(self, storage: TorchStorage) -> ZipEntry:
        name = f"{self.root}/data/{storage.key}"
        if name not in self.entries:
            raise CheckpointError(
                f"{self.path} has no entry {name[:200]!r}, which a tensor needs: it is damaged. Download it again"
            )
        return self.entries[name]

    def _byte_order(self) -> str:
        entry = self.entries.get(f"{self.root}/byteorder")
        if entry is None:
            return "little"
        order = read_entry(self.file, self.file_size, entry, self.path, 100)
        if order not in (b"little", b"big"):
            raise CheckpointError(f"{self.path}: entry {entry.name!r} is {order!r}; expected b'little' or b'big'")
        return order.decode("ascii")


class DeflatedConstant(Constant):
    """A constant that is a run of little-endian bytes of a deflated zip entry.

    Reading it unpacks the entry from its beginning, a megabyte at a time, and keeps the run.

    Raises:
        CheckpointError: (from `numpy`) the file is gone, was changed, or does not unpack.
    """

    __slots__ = ("begin", "offset", "path", "stored_size")

    def __init__(
        self, path: Path, offset: int, stored_size: int, begin: int, dtype: DType, shape: Sequence[int]
    ) -> None:
        super().__init__(dtype, shape)
        self.path = path
        self.offset = offset
        self.stored_size = stored_size
        self.begin = begin

    def numpy(self) -> Array:
        content = bytearray()
        skipped = 0
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                unpacker, left = zlib.decompressobj(-zlib.MAX_WBITS), self.stored_size
                while len(content) < self.nbytes and not unpacker.eof:
                    packed = unpacker.unconsumed_tail
                    if not packed:
                        packed = file.read(min(_CHUNK, left))
                        left -= len(packed)
                    chunk = unpacker.decompress(packed, _CHUNK)
                    if not packed and not chunk:
                        break  # the entry is over, and its stream is not
                    dropped = min(len(chunk), self.begin - skipped)
                    skipped += dropped
                    content += chunk[dropped : dropped + self.nbytes - len(content)]
        except OSError as error:
            raise CheckpointError(f"cannot read the weights in {self.path}: {error.strerror or error}") from error
        except zlib.error as error:
            raise CheckpointError(f"the weights in {self.path} do not unpack: {error}. Download it again") from error
        if len(content) != self.nbytes:
            raise CheckpointError(
                f"{self.path} ends early: {self.nbytes} bytes expected in the entry at offset {self.offset}, "
                f"{len(content)} found. The file is damaged"
            )
        return np.frombuffer(content, self.dtype.numpy()).reshape(self.shape)


def _swap(array: Array, dtype: DType) -> Array:
    """The elements with their bytes reversed; through integers, since numpy does not know how bfloat16 is stored."""
    swapped: Array = np.ascontiguousarray(array).view(f"u{dtype.bits // 8}").byteswap()
    return swapped.view(dtype.numpy()).reshape(array.shape)
