"""A torch checkpoint as plain Python.

Here the form of the file is told, and what its pickle holds becomes plain Python: dicts, lists, numbers, text, and
constants in place of tensors. The two forms are read in `zip_form.py` and `legacy_form.py`; which globals a pickle
may name is listed in `allowed.py`; which files make up a checkpoint is decided in `tfgraph.checkpoints.folder`.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from tfgraph.checkpoints.torch.legacy_form import read_legacy
from tfgraph.checkpoints.torch.numpy_objects import NumpyDType
from tfgraph.checkpoints.torch.tensors import Storages, TensorReader
from tfgraph.checkpoints.torch.values import Attributes, Global, TorchStorage, TorchTensor
from tfgraph.checkpoints.torch.zip_form import read_zip
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import Constant

MAX_DEPTH = 64
MAX_NAME_CHARACTERS = 2**25  # of all names together: a dict that is shared may be reached by many names

_OTHER_FORMS = [
    (0, b"version ", "looks like a Git LFS pointer to one: run `git lfs pull`, or download the file itself"),
    (0, b"GGUF", "is a GGUF file"),
    (0, b"\x89HDF", "is an HDF5 file, as Keras writes them"),
    (8, b"{", "looks like a safetensors file: call it *.safetensors"),
    (257, b"ustar", "is a tar file, as torch before 0.1.10 wrote them: load it with torch and save it again"),
    (0, b"\x1f\x8b", "is packed with gzip: unpack it first"),
]


def read_torch(path: str | Path) -> dict[str, Constant]:
    """The tensors of a torch checkpoint, by name, in the order of the file. No element is read.

    Dicts and lists within dicts are flattened: `{"model": {"layers": [x]}}` gives `model.layers.0`. What is not a
    tensor is left out. Tensors that are the same view of the same storage, such as tied weights, are one constant.

    Raises:
        CheckpointError: as `read_torch_object`; or the file holds no dict with a tensor in it, or two tensors that
            would get the same name.
    """
    return flatten_tensors(read_torch_object(path), str(path))


def flatten_tensors(found: object, where: str) -> dict[str, Constant]:
    """The tensors of (a part of) what `read_torch_object` gave, by their dotted names; `where` is for messages.

    Raises:
        CheckpointError: `found` is no dict, or holds no tensor, or two that would get the same name.
    """
    if not isinstance(found, dict):
        raise CheckpointError(f"{where} holds a {_kind(found)}; expected a dict of tensors, as `model.state_dict()`")
    weights: dict[str, Constant] = {}
    characters = 0
    waiting: list[tuple[str, object]] = [("", found)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, (dict, list)):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            named = [(f"{name}.{key}" if name else str(key), item) for key, item in items]
            characters += sum(len(longer) for longer, _ in named)
            if characters > MAX_NAME_CHARACTERS:
                raise CheckpointError(f"{where} has names of more than {MAX_NAME_CHARACTERS} characters. It is damaged")
            waiting += reversed(named)
        elif isinstance(value, Constant) and weights.setdefault(name, value) is not value:
            raise CheckpointError(f"{where} holds two tensors that are both called {name[:200]!r}")
    if not weights:
        raise CheckpointError(f"{where} holds no tensors; expected a dict of them, as `model.state_dict()`")
    return weights


def read_torch_object(path: str | Path) -> object:
    """What a torch checkpoint holds, as plain values. No element is read.

    The result is made of dicts, lists, tuples, numbers, text, bytes, None and `Constant`s. An `OrderedDict` is a dict,
    a set a list, a parameter its tensor, a storage a constant of one axis, a dtype or a class its name (such as
    "torch.float16"), a numpy array a constant in memory, and a namespace, or an object of Megatron-LM, `Attributes`: a
    dict of its attributes. It has no cycles and at most 64 levels.

    Raises:
        CheckpointError: the file cannot be read, is no torch checkpoint, is cut short or damaged, holds tensors that
            are not read (sparse, quantised, complex), or is a pickle that asks for a global that has no place in a
            checkpoint. The message names the file, and the global. Nothing in the file is ever run.
    """
    path = Path(path)
    place = path.absolute()  # a later change of the working directory must not move the weights
    try:
        with _opened(path) as file:
            file_size = os.fstat(file.fileno()).st_size
            start = file.read(512)
            storages: Storages
            if start.startswith(b"PK\x03\x04"):
                found, storages = read_zip(file, file_size, place)
            elif start.startswith(b"\x80"):
                found, storages = read_legacy(file, file_size, place)
            else:
                raise _form_error(path, start)
            return _Plain(TensorReader(storages, str(path)), path).convert(found)[0]
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error


def _opened(path: Path) -> BinaryIO:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for a writer
            raise CheckpointError(f"{path} is not a file; expected a torch checkpoint")
        return path.open("rb")
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except ValueError as error:  # a path with a null character
        raise CheckpointError(f"cannot read {str(path)!r}: {error}") from error


class _Plain:
    """Turns the values of a pickle into plain ones. What is shared stays shared, which also bounds the work."""

    def __init__(self, tensors: TensorReader, path: Path) -> None:
        self.tensors = tensors
        self.path = path
        self.done: dict[int, tuple[object, int, object]] = {}  # id -> (plain, levels, the value, kept for its id)
        self.under_way: set[int] = set()

    def convert(self, value: object, depth: int = 0) -> tuple[object, int]:
        """The plain form of a value, and how many levels it has."""
        if isinstance(value, (str, int, float, bytes, Constant)) or value is None:
            return value, 0
        if isinstance(value, TorchTensor):
            return self.tensors.constant(value), 0
        if isinstance(value, TorchStorage):
            return self.tensors.constant(TorchTensor(value, 0, (value.size,), (1,), value.dtype)), 0
        if isinstance(value, Global):
            return value.name, 0
        if isinstance(value, NumpyDType):
            return value.numpy().name, 0
        if id(value) in self.done:
            plain, levels, _ = self.done[id(value)]
        else:
            if id(value) in self.under_way:
                raise CheckpointError(f"{self.path} holds a {_kind(value)} that contains itself. The file is damaged")
            self._check_depth(depth)
            self.under_way.add(id(value))
            plain, levels = self._convert_items(value, depth)
            self.under_way.discard(id(value))
            self.done[id(value)] = (plain, levels, value)
        self._check_depth(depth + levels)
        return plain, levels

    def _convert_items(self, value: object, depth: int) -> tuple[object, int]:
        if not isinstance(value, (dict, list, tuple)):
            raise CheckpointError(f"{self.path} holds a {_kind(value)}, which is no part of a checkpoint")
        levels = 0
        items = list(value.values()) if isinstance(value, dict) else list(value)
        if isinstance(value, Attributes):
            items.append(value.arguments)
        for index, item in enumerate(items):
            items[index], below = self.convert(item, depth + 1)
            levels = max(levels, below)
        plain: object
        if isinstance(value, Attributes):
            plain = Attributes(value.type_name, items.pop())
            plain.update(zip(value, items, strict=True))
        elif isinstance(value, dict):
            plain = dict(zip(value, items, strict=True))
        else:
            plain = tuple(items) if isinstance(value, tuple) else items
        return plain, levels + 1

    def _check_depth(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise CheckpointError(f"{self.path} nests its values more than {MAX_DEPTH} levels deep. It is damaged")


def _form_error(path: Path, start: bytes) -> CheckpointError:
    """What is wrong with a file that begins like no torch checkpoint."""
    if not start:
        return CheckpointError(f"{path} is empty; expected a torch checkpoint. Download it again")
    for offset, magic, verdict in _OTHER_FORMS:
        if start[offset : offset + len(magic)] == magic:
            return CheckpointError(f"{path} is not a torch checkpoint that tfgraph reads: it {verdict}")
    return CheckpointError(
        f"{path} is not a torch checkpoint: it begins with {start[:8]!r}; expected a zip file (PK) or a pickle (0x80)"
    )


def _kind(value: object) -> str:
    return "tensor" if isinstance(value, Constant) else type(value).__name__
