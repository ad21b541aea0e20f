"""A GGUF file as it stands: its metadata, and its tensors as lazy handles, under its own names.

A large model comes as several files, `name-00001-of-00003.gguf`; they are read as one. What the names and numbers mean
for a model is in `tfgraph.checkpoints.gguf.checkpoint`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfgraph.checkpoints.gguf.header import TensorInfo, read_header
from tfgraph.checkpoints.gguf.settings import Settings
from tfgraph.checkpoints.gguf.tensors import constant_of
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import Constant

SUFFIX = ".gguf"

_PART = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<total>\d{5})\.gguf", re.DOTALL)
_MOST_PARTS = 99_999


@dataclass(frozen=True, eq=False)
class GgufFile:
    """What a GGUF file, or a series of them, holds.

    Attributes:
        path: the file, or the first of the series; absolute.
        metadata: key to value: an integer, a float, a boolean, a text, a list of texts, or an array of numbers.
        tensors: what each tensor is and where it lies, by its name in the file, in the file's order.
    """

    path: Path
    metadata: Mapping[str, Any] = field(repr=False)
    tensors: Mapping[str, TensorInfo] = field(repr=False)

    def constants(self) -> dict[str, Constant]:
        """The tensors as lazy handles, by their names in the file: quantised ones read as float32.

        Raises:
            CheckpointError: a tensor is quantised and the `gguf` package is not installed.
        """
        return {name: constant_of(info) for name, info in self.tensors.items()}


def read_gguf(path: str | Path) -> GgufFile:
    """The metadata and the tensors of a GGUF file. No element is read.

    For a file of a series, `name-00001-of-00003.gguf`, any of them, the tensors of all.

    Raises:
        CheckpointError: the file cannot be read, is no GGUF file, is cut short, breaks the format, holds a tensor of an
            unknown type, or is of a series that is not complete.
    """
    path = Path(path)
    header = read_header(path)
    total = Settings(header.metadata, path).integer("split.count") or 1
    if total > 1:
        return _read_series(path, total)
    return GgufFile(path.absolute(), header.metadata, header.tensors)


def _read_series(path: Path, total: int) -> GgufFile:
    """All files of a series; the first has the metadata."""
    match = _PART.fullmatch(path.name)
    if match is None or int(match["total"]) != total:
        raise CheckpointError(
            f"{path} is one of {total} files and must be named like the others, "
            f"name-00001-of-{min(total, _MOST_PARTS):05d}{SUFFIX} and so on: give the files their original names"
        )
    names = [f"{match['stem']}-{number:05d}-of-{total:05d}{SUFFIX}" for number in range(1, total + 1)]
    missing = [name for name in names if not path.with_name(name).is_file()]
    if missing:
        raise CheckpointError(
            f"{path.parent} lacks {len(missing)} of {total} files: {', '.join(missing[:8])}: download the rest"
        )
    first: Mapping[str, Any] = {}
    tensors: dict[str, TensorInfo] = {}
    for name in names:
        part = path.with_name(name)
        header = read_header(part)
        found = Settings(header.metadata, part).integer("split.count")
        if found != total:
            raise CheckpointError(
                f"{part} says that it is one of {found or 1} files, and its name that it is of {total}"
            )
        first = first or header.metadata
        twice = next((each for each in header.tensors if each in tensors), None)
        if twice is not None:
            raise CheckpointError(
                f"tensor {twice!r} is in both {tensors[twice].path.name} and {name}: download them again"
            )
        tensors.update(header.tensors)
    return GgufFile(path.with_name(names[0]).absolute(), first, tensors)
