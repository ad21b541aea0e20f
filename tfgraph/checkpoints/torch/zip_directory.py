"""The table of contents of a zip file: which entries it has, and where the bytes of each lie.

Python's `zipfile` reads entries but does not say where their bytes begin, which a lazy `FileConstant` needs, and trusts
what a hostile file says about sizes. What a torch checkpoint keeps in its entries is in `zip_form.py`.

Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 (records), 4.5.3 (zip64). Multi-part and encrypted archives are
refused. Names are UTF-8, as torch writes them.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tfgraph.errors import CheckpointError

STORED, DEFLATED = 0, 8
MAX_ENTRIES = 200_000
MAX_DIRECTORY_BYTES = 64 * 2**20

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENCRYPTED = 1
_MOST_DEFLATED = 1032  # deflate makes n bytes of no fewer than n / 1032
_INCOMPLETE = "The file is incomplete: download it again"


class ZipEntry(NamedTuple):
    """One line of the directory. `header` is where its local header begins; its bytes follow that."""

    name: str
    method: int
    stored_size: int  # bytes in the file
    size: int  # bytes of the content
    header: int


def read_directory(file: BinaryIO, file_size: int, path: Path) -> dict[str, ZipEntry]:
    """The entries of a zip file, by name. No entry is read.

    Raises:
        CheckpointError: the file is cut short or damaged, or its directory claims what cannot be: sizes beyond the
            file, more than deflate can pack, two entries of a name, or a name that leads out of the archive.
    """
    count, size, start = _find_directory(file, file_size, path)
    if count > MAX_ENTRIES or size > MAX_DIRECTORY_BYTES:
        raise CheckpointError(
            f"the directory of {path} claims {count} entries in {size} bytes; expected at most {MAX_ENTRIES} in "
            f"{MAX_DIRECTORY_BYTES}. The file is damaged"
        )
    file.seek(start)
    content = file.read(size)
    entries: dict[str, ZipEntry] = {}
    position = 0
    for _ in range(count):
        if position + _CENTRAL.size > len(content):
            raise CheckpointError(
                f"the directory of {path} ends after {len(entries)} of {count} entries. {_INCOMPLETE}"
            )
        entry, position = _entry(content, position, path)
        if entry.name in entries:
            raise CheckpointError(f"{path} holds two entries {entry.name!r}: which one is meant cannot be told")
        if entry.header + _LOCAL.size + entry.stored_size > file_size:
            raise CheckpointError(
                f"{path} is cut short: entry {entry.name!r} has {entry.stored_size} bytes from {entry.header} on, and "
                f"the file {file_size} in all. {_INCOMPLETE}"
            )
        entries[entry.name] = entry
    return entries


def data_offset(file: BinaryIO, file_size: int, entry: ZipEntry, path: Path) -> int:
    """Where the bytes of an entry begin in the file.

    Raises:
        CheckpointError: there is no local header where the directory says, or the bytes reach beyond the file.
    """
    file.seek(entry.header)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size or not header.startswith(b"PK\x03\x04"):
        raise CheckpointError(f"{path} has no entry {entry.name!r} where its directory says. The file is damaged")
    name_size, extra_size = _LOCAL.unpack(header)[-2:]
    start: int = entry.header + _LOCAL.size + name_size + extra_size
    if start + entry.stored_size > file_size:
        raise CheckpointError(f"{path} is cut short inside entry {entry.name!r}. {_INCOMPLETE}")
    return start


def read_entry(file: BinaryIO, file_size: int, entry: ZipEntry, path: Path, limit: int) -> bytes:
    """The content of an entry, which may have up to `limit` bytes.

    Raises:
        CheckpointError: it has more, or is damaged.
    """
    if entry.size > limit:
        raise CheckpointError(f"{path}: entry {entry.name!r} has {entry.size} bytes; expected at most {limit}")
    file.seek(data_offset(file, file_size, entry, path))
    content = file.read(entry.stored_size)
    if entry.method == DEFLATED:
        try:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, entry.size + 1)
        except zlib.error as error:
            raise CheckpointError(f"{path}: entry {entry.name!r} does not unpack: {error}. {_INCOMPLETE}") from error
    if len(content) != entry.size:
        raise CheckpointError(
            f"{path}: entry {entry.name!r} holds another number of bytes than the {entry.size} that the directory says"
        )
    return content


def _find_directory(file: BinaryIO, file_size: int, path: Path) -> tuple[int, int, int]:
    """How many entries the directory has, how many bytes, and where it begins."""
    tail_start = max(0, file_size - _END.size - 0xFFFF)
    file.seek(tail_start)
    tail = file.read(file_size - tail_start)
    place = tail.rfind(b"PK\x05\x06")
    while place >= 0:
        if place + _END.size <= len(tail):
            fields = _END.unpack_from(tail, place)
            if place + _END.size + fields[-1] == len(tail):
                break
        place = tail.rfind(b"PK\x05\x06", 0, place)
    if place < 0:
        raise CheckpointError(f"{path} begins as a zip file and ends without its directory. {_INCOMPLETE}")
    end = tail_start + place
    disk, directory_disk, here, count, size, start, _ = fields[1:]
    locator_start = end - _END64_LOCATOR.size
    file.seek(max(0, locator_start))
    locator = file.read(_END64_LOCATOR.size)
    if locator_start >= 0 and locator.startswith(b"PK\x06\x07"):
        end = _END64_LOCATOR.unpack(locator)[2]
        if end + _END64.size > locator_start:
            raise CheckpointError(f"{path} has a directory that begins beyond its end. The file is damaged")
        file.seek(end)
        record = file.read(_END64.size)
        if not record.startswith(b"PK\x06\x06"):
            raise CheckpointError(f"{path} has no directory where its end says. The file is damaged")
        disk, directory_disk, here, count, size, start = _END64.unpack(record)[4:]
    if disk or directory_disk or here != count:
        raise CheckpointError(f"{path} is one part of a zip file in several: expected one file")
    if start + size > end:
        raise CheckpointError(f"{path} has a directory that reaches beyond its end. The file is damaged")
    return count, size, start


def _entry(content: bytes, position: int, path: Path) -> tuple[ZipEntry, int]:
    """The entry of the directory at `position`, and the position after it."""
    fields = _CENTRAL.unpack_from(content, position)
    signature, flags, method = fields[0], fields[3], fields[4]
    stored_size, size, name_size, extra_size, comment_size = fields[8:13]
    header = fields[-1]
    start = position + _CENTRAL.size
    name_bytes = content[start : start + name_size]
    after = start + name_size + extra_size + comment_size
    if signature != b"PK\x01\x02" or after > len(content):
        raise CheckpointError(f"the directory of {path} is damaged at its byte {position}. {_INCOMPLETE}")
    try:
        name = name_bytes.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} names an entry {name_bytes[:100]!r}, which is not UTF-8") from error
    extra = content[start + name_size : start + name_size + extra_size]
    size, stored_size, header = _with_zip64(extra, [size, stored_size, header], path)
    entry = ZipEntry(name, method, stored_size, size, header)
    _check(entry, flags, path)
    return entry, after


def _with_zip64(extra: bytes, fields: list[int], path: Path) -> list[int]:
    """`fields` with those that do not fit in 32 bits taken from the extra field of zip64, which holds only those."""
    wide = [index for index, value in enumerate(fields) if value == 0xFFFFFFFF]
    position = 0
    while wide and position + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, position)
        position += 4
        if kind == 1:
            if size < 8 * len(wide) or position + size > len(extra):
                raise CheckpointError(f"the directory of {path} has a damaged zip64 field. {_INCOMPLETE}")
            values = struct.unpack_from(f"<{len(wide)}Q", extra, position)
            for index, value in zip(wide, values, strict=True):
                fields[index] = value
            break
        position += size
    return fields


def _check(entry: ZipEntry, flags: int, path: Path) -> None:
    where = f"{path}: entry {entry.name[:200]!r}"
    parts = entry.name.replace("\\", "/").split("/")  # as POSIX and as Windows read it
    if not parts[0] or parts[0][1:2] == ":" or ".." in parts or "\0" in entry.name:
        raise CheckpointError(f"{where} leads out of the archive: no checkpoint has such a name. Do not use the file")
    if flags & _ENCRYPTED:
        raise CheckpointError(f"{where} is encrypted: unpack it and pack it again without a password")
    if entry.method not in (STORED, DEFLATED):
        raise CheckpointError(f"{where} is packed by method {entry.method}; expected 0 (stored) or 8 (deflated)")
    if entry.method == STORED and entry.size != entry.stored_size:
        raise CheckpointError(f"{where} is stored and has two sizes, {entry.stored_size} and {entry.size}")
    if entry.size > _MOST_DEFLATED * (entry.stored_size + 1):
        raise CheckpointError(
            f"{where} claims to unpack {entry.stored_size} bytes to {entry.size}, more than deflate can: a zip bomb"
        )
