"""The table of contents of a safetensors file: names, dtypes, shapes, and where each tensor's bytes lie.

The `safetensors` package hands out tensors but not their places in the file, which a lazy `FileConstant` needs, so the
documented format (https://huggingface.co/docs/safetensors, "Format") is parsed here:

    8 bytes     N, an unsigned little-endian integer
    N bytes     a JSON object that begins with "{" and may end in spaces:
                name -> {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, and optionally
                "__metadata__" -> {text: text}
    the rest    the tensors, row-major and little-endian, with neither gaps nor overlaps; offsets count from here

Nothing but the first 8 + N bytes is read. Which files make up a checkpoint is decided in `tfgraph.checkpoints.folder`.
"""

from __future__ import annotations

import json
import os
import reprlib
import stat
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import FileConstant
from tfgraph.ir.dtypes import DType

MAX_HEADER_BYTES = 100_000_000  # the format's own limit

_DTYPES = {
    "F64": DType.FLOAT64,
    "F32": DType.FLOAT32,
    "F16": DType.FLOAT16,
    "BF16": DType.BFLOAT16,
    "F8_E4M3": DType.FLOAT8_E4M3FN,
    "F8_E5M2": DType.FLOAT8_E5M2,
    "F8_E4M3FNUZ": DType.FLOAT8_E4M3FNUZ,
    "F8_E5M2FNUZ": DType.FLOAT8_E5M2FNUZ,
    "I64": DType.INT64,
    "I32": DType.INT32,
    "I16": DType.INT16,
    "I8": DType.INT8,
    "U64": DType.UINT64,
    "U32": DType.UINT32,
    "U16": DType.UINT16,
    "U8": DType.UINT8,
    "BOOL": DType.BOOL,
}
_LARGEST = 2**63 - 1
_DOWNLOAD_AGAIN = "The file is incomplete: download it again."


class _Entry(NamedTuple):
    """One tensor of the header; `begin` and `end` count from the first byte after the header."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    begin: int
    end: int


def read_safetensors(path: str | Path) -> dict[str, FileConstant]:
    """The tensors of a safetensors file, by name, in the order of its header. No element is read.

    Raises:
        CheckpointError: the file cannot be read, is cut short, or breaks the format. The message names the file, the
            tensor where there is one, what was found and what was expected.
    """
    path = Path(path)
    header, data_start, data_size = _read_header(path)
    entries = [_entry(path, name, fields) for name, fields in _tensors(path, header)]
    _check_layout(path, entries, data_size)
    place = path.absolute()  # a later change of the working directory must not move the weights
    return {entry.name: FileConstant(place, data_start + entry.begin, entry.dtype, entry.shape) for entry in entries}


def _read_header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The header's object, the offset of the first byte after it, and how many bytes follow it."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for a writer
            raise CheckpointError(f"{path} is not a file; expected a safetensors file")
        with path.open("rb") as file:
            file_size = os.fstat(file.fileno()).st_size
            prefix = file.read(8)
            length = int.from_bytes(prefix, "little")
            if len(prefix) < 8 or length > min(MAX_HEADER_BYTES, file_size - 8):
                raise _length_error(path, prefix, file_size)
            text = file.read(length)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # a path with a null character
        raise CheckpointError(f"cannot read {str(path)!r}: {error}") from error
    return _parse_header(path, text), 8 + length, file_size - 8 - length


def _length_error(path: Path, prefix: bytes, file_size: int) -> CheckpointError:
    """What is wrong with a file whose first bytes, `prefix`, do not give a usable length of its header."""
    if len(prefix) < 8:
        return CheckpointError(
            f"{path} has {len(prefix)} bytes; a safetensors file has at least 8, its header's length. {_DOWNLOAD_AGAIN}"
        )
    if prefix == b"version ":
        return CheckpointError(
            f"{path} is not a safetensors file but looks like a Git LFS pointer to one: run `git lfs pull` in its "
            "repository, or download the file itself"
        )
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        return CheckpointError(
            f"{path} is not a safetensors file, or is damaged: its first 8 bytes give a header of {length} bytes, and "
            f"the format allows {MAX_HEADER_BYTES}"
        )
    return CheckpointError(
        f"{path} ends inside its header: {length} bytes of header expected, {file_size - 8} found, at least "
        f"{length - (file_size - 8)} missing. {_DOWNLOAD_AGAIN}"
    )


def _parse_header(path: Path, text: bytes) -> dict[str, Any]:
    if not text.startswith(b"{"):
        raise CheckpointError(
            f"{path} is not a safetensors file, or is damaged: its header begins with {text[:1]!r}, expected {b'{'!r}"
        )
    try:
        # utf-8 alone: left to itself, `json` would also guess UTF-16 and UTF-32
        header: dict[str, Any] = json.loads(
            text.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"the header of {path} is damaged: {error}") from error
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the name {_short(key)} appears twice")
            seen.add(key)
    return result


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _tensors(path: Path, header: dict[str, Any]) -> list[tuple[str, Any]]:
    """The header's items without its metadata, which is checked and dropped."""
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(
            f"the header of {path} is damaged: '__metadata__' must map text to text, found {_short(metadata)}"
        )
    return [(name, fields) for name, fields in header.items() if name != "__metadata__"]


def _entry(path: Path, name: str, fields: object) -> _Entry:
    """One validated line of the table of contents."""
    where = f"{path}, tensor {_short(name)}"
    if not name.isascii() and any("\ud800" <= character <= "\udfff" for character in name):
        raise CheckpointError(f"{where}: a name must be valid Unicode, found half of a surrogate pair")
    if not isinstance(fields, dict) or not {"dtype", "shape", "data_offsets"} <= fields.keys():
        raise CheckpointError(f"{where}: expected an object with dtype, shape and data_offsets, found {_short(fields)}")
    code = fields["dtype"]
    if not isinstance(code, str) or code not in _DTYPES:
        raise CheckpointError(f"{where}: dtype {_short(code)} is not one of {', '.join(_DTYPES)}")
    dtype = _DTYPES[code]
    shape = fields["shape"]
    if not isinstance(shape, list) or not all(_is_size(dim) for dim in shape):
        raise CheckpointError(f"{where}: shape must be a list of integers >= 0, found {_short(shape)}")
    offsets = fields["data_offsets"]
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_size(offset) for offset in offsets):
        raise CheckpointError(f"{where}: data_offsets must be two integers >= 0, found {_short(offsets)}")
    begin, end = offsets
    if begin > end:
        raise CheckpointError(f"{where}: data_offsets [{begin}, {end}] end before they begin")
    num_elements = 1
    for dim in shape:
        num_elements *= dim
        if num_elements > _LARGEST:
            raise CheckpointError(f"{where}: shape {_short(shape)} has more than 2**63 elements")
    if end - begin != dtype.nbytes(num_elements):
        raise CheckpointError(
            f"{where}: data_offsets [{begin}, {end}] span {end - begin} bytes, expected {dtype.nbytes(num_elements)} "
            f"for {dtype}{_short(shape)}"
        )
    return _Entry(name, dtype, tuple(shape), begin, end)


def _is_size(given: object) -> bool:
    return type(given) is int and 0 <= given <= _LARGEST  # bool is an int to isinstance


def _check_layout(path: Path, entries: list[_Entry], data_size: int) -> None:
    """The tensors must cover the bytes after the header exactly, each byte once."""
    position, previous = 0, ""
    in_order = sorted(entries, key=lambda entry: (entry.begin, entry.end))
    for entry in in_order:
        if entry.begin < position:
            raise CheckpointError(
                f"{path}, tensor {_short(entry.name)}: begins at byte {entry.begin}, inside tensor "
                f"{_short(previous)}, which ends at byte {position}; tensors must not overlap"
            )
        if entry.begin > position:
            raise CheckpointError(
                f"{path}, tensor {_short(entry.name)}: begins at byte {entry.begin}, expected {position}; the bytes "
                "between belong to no tensor. The file is damaged"
            )
        position, previous = entry.end, entry.name
    if position > data_size:
        first = next(entry for entry in in_order if entry.end > data_size)
        raise CheckpointError(
            f"{path} is cut short, from tensor {_short(first.name)} on: {position} bytes of tensors expected, "
            f"{data_size} found, {position - data_size} missing. {_DOWNLOAD_AGAIN}"
        )
    if position < data_size:
        raise CheckpointError(
            f"{path} has {data_size - position} bytes that belong to no tensor: {position} bytes of tensors expected, "
            f"{data_size} found. The file is damaged"
        )


def _short(given: object) -> str:
    """What was found, cut to a length that fits in a message however deep or long it is."""
    return _SHORT_REPR.repr(given)


_SHORT_REPR = reprlib.Repr()
_SHORT_REPR.maxlevel = 3
_SHORT_REPR.maxlist = 8
_SHORT_REPR.maxstring = 200
