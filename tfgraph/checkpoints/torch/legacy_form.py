"""The older form of a torch checkpoint: `torch.save` from 0.1.10 to 1.5, and since then on request.

    four pickles        a magic number; the version 1001; facts about the machine, which do not matter; the object
    a pickle            the keys of the storages, in the order in which they follow
    for each storage    its number of elements in 8 bytes, and the elements, little-endian on every machine

Source: `torch.serialization._legacy_save`. The form before that, a tar file, is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from tfgraph.checkpoints.torch.allowed import CONVERT, find_global, find_storage, set_state
from tfgraph.checkpoints.torch.pickle_machine import MAX_PICKLE_BYTES, read_pickle
from tfgraph.checkpoints.torch.values import TorchStorage
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import Constant, FileConstant
from tfgraph.ir.dtypes import DType

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001


def read_legacy(file: BinaryIO, file_size: int, path: Path) -> tuple[object, LegacyStorages]:
    """The object that a legacy checkpoint holds, its tensors not yet constants, and the storages that they view.

    Raises:
        CheckpointError: the file is damaged, is another kind of pickle, or asks for what is refused.
    """
    storages: dict[str, TorchStorage] = {}

    def persistent(identifier: object) -> TorchStorage:
        storage = find_storage(identifier)
        if storages.setdefault(storage.key, storage) != storage:
            raise ValueError(f"it gives storage {storage.key[:100]!r} two sizes or two types")
        return storage

    def pickled() -> object:
        window = _Window(file, min(MAX_PICKLE_BYTES, file_size - file.tell()))
        return read_pickle(window, window.left, find_global, persistent, set_state, str(path))

    file.seek(0)
    if pickled() != _MAGIC:
        raise CheckpointError(f"{path} is a pickle, but not of torch.save: it does not begin with its magic number")
    version = pickled()
    if version != _VERSION:
        raise CheckpointError(f"{path} is of version {str(version)[:50]} of torch's older form; expected {_VERSION}")
    pickled()
    result = pickled()
    keys = _names(pickled())
    if len(set(keys)) != len(keys) or set(storages) - set(keys):
        raise CheckpointError(f"{path} does not list the storages that its tensors need. The file is damaged")
    places: dict[str, int] = {}
    for key in keys:
        if key not in storages:
            raise CheckpointError(f"{path} holds a storage {key[:100]!r} that no tensor uses. {CONVERT}")
        storage = storages[key]
        count = int.from_bytes(file.read(8), "little")
        places[key] = file.tell()
        end = places[key] + count * storage.dtype.bits // 8
        if count != storage.size or end > file_size:
            raise CheckpointError(
                f"{path}: storage {key[:100]!r} should have {storage.size} elements of {storage.dtype}; the file says "
                f"{count} at byte {places[key] - 8}, and ends at byte {file_size}. It is incomplete: download it again"
            )
        file.seek(end)
    return result, LegacyStorages(path, places)


def _names(keys: object) -> list[str]:
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


class LegacyStorages:
    """Where the storages of a legacy file lie."""

    def __init__(self, path: Path, places: dict[str, int]) -> None:
        self.path = path
        self.places = places

    def nbytes(self, storage: TorchStorage) -> int:
        """How many bytes the file holds of a storage: what the pickle said, which was compared with the file."""
        return storage.size * storage.dtype.bits // 8

    def handle(self, storage: TorchStorage, begin: int, dtype: DType, shape: Sequence[int]) -> Constant:
        """The elements from byte `begin` of a storage on."""
        return FileConstant(self.path, self.places[storage.key] + begin, dtype, shape)


class _Window:
    """The next bytes of a file, up to a limit: what is asked for beyond it is not there, and not allocated."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        self.file = file
        self.left = left

    def read(self, size: int) -> bytes:
        """Up to `size` bytes."""
        content = self.file.read(max(0, min(size, self.left)))
        self.left -= len(content)
        return content

    def readline(self) -> bytes:
        """Up to and including the next line feed."""
        content = self.file.readline(self.left)
        self.left -= len(content)
        return content
