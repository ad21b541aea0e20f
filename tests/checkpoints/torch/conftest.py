"""Torch files made by hand, so that they can be wrong: pickles, zip files with false sizes, the legacy form."""

from __future__ import annotations

import collections
import io
import pickle
import struct
import sys
import zlib
from dataclasses import dataclass
from types import ModuleType

import pytest
import torch


class Storage:
    """Pickled as torch pickles a storage: a persistent identifier."""

    def __init__(self, key, size, kind=torch.FloatStorage, location="cpu", tag="storage", rest=()):
        self.identifier = (tag, kind, key, location, size, *rest)


class Tensor:
    """Pickled as torch pickles a tensor, with whatever shape and strides."""

    def __init__(self, storage, shape, strides, offset=0, rest=(False, collections.OrderedDict())):
        self.arguments = (storage, offset, tuple(shape), tuple(strides), *rest)

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.arguments


class Call:
    """Pickled as a call of `function`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def pickled(value, protocol=2):
    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            return item.identifier if isinstance(item, Storage) else None

    buffer = io.BytesIO()
    Pickler(buffer, protocol).dump(value)
    return buffer.getvalue()


@dataclass
class Entry:
    """An entry of a zip file. What is None is as it should be; `hole` is a number of zeros that take no disk."""

    name: str
    content: bytes = b""
    deflated: bool = False
    hole: int = 0
    size: int | None = None
    stored_size: int | None = None
    method: int | None = None
    flags: int = 0x800
    header: int | None = None


def write_zip(path, entries, *, comment=b"", zip64_end=True, **end):
    """A zip file with zip64 fields throughout; `end` overrides `count`, `size` and `start` of the directory."""
    directory = b""
    with path.open("wb") as file:
        for entry in entries:
            content = zlib.compress(entry.content, wbits=-15) if entry.deflated else entry.content
            size = len(entry.content) + entry.hole if entry.size is None else entry.size
            stored_size = len(content) + entry.hole if entry.stored_size is None else entry.stored_size
            method = (8 if entry.deflated else 0) if entry.method is None else entry.method
            header = file.tell() if entry.header is None else entry.header
            name = entry.name.encode("utf-8", "surrogateescape")
            extra = struct.pack("<2H3Q", 1, 24, size, stored_size, header)
            common = (45, entry.flags, method, 0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), len(extra))
            directory += struct.pack("<4sH5H3L2H", b"PK\1\2", 45, *common) + struct.pack(
                "<3H2L", 0, 0, 0, 0, 0xFFFFFFFF
            )
            directory += name + extra
            file.write(struct.pack("<4s5H3L2H", b"PK\3\4", *common) + name + extra + content)
            if entry.hole:
                file.truncate(file.tell() + entry.hole)
                file.seek(0, io.SEEK_END)
        here = file.tell()
        count, size, start = (
            end.get(*item) for item in (("count", len(entries)), ("size", len(directory)), ("start", here))
        )
        file.write(directory)
        if zip64_end:
            end64 = file.tell()
            file.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start))
            file.write(struct.pack("<4sLQL", b"PK\6\7", 0, end64, 1))
            count, size, start = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, start, len(comment)) + comment)
    return path


def zip_file(path, content, storages=(), **entries):
    """A zip checkpoint of a pickle, given as bytes or as what is pickled, and the bytes of storages "0", "1", ..."""
    content = content if isinstance(content, bytes) else pickled(content)
    data = [Entry(f"archive/data/{key}", storage) for key, storage in enumerate(storages)]
    data.append(Entry("archive/version", b"3\n"))
    return write_zip(path, [Entry("archive/data.pkl", content), *data], **entries)


def legacy_file(path, content, storages=None, *, magic=0x1950A86A20F9469CFC6C, version=1001, keys=None, counts=None):
    """A legacy checkpoint; `storages` are bytes by key, and the elements are of 4 bytes unless `counts` says so."""
    storages = storages or {}
    content = content if isinstance(content, bytes) else pickled(content)
    parts = [pickled(magic), pickled(version), pickled({"little_endian": True}), content]
    parts.append(pickled(list(storages) if keys is None else keys))
    for key, data in storages.items():
        parts += [struct.pack("<q", (counts or {}).get(key, len(data) // 4)), data]
    path.write_bytes(b"".join(parts))
    return path


@pytest.fixture(scope="session")
def files() -> ModuleType:
    """This module, with its functions."""
    return sys.modules[__name__]
