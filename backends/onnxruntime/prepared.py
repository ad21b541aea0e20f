"""A start-up cache: a model as ONNX Runtime has optimised it and laid its weights out for this processor, in files.

Loading such a file optimises and lays out nothing: the weights are mapped into memory, not copied, and every session
and process that runs the model shares them. It is good for one version of ONNX Runtime on one kind of processor only,
so that these are in its name, and what it is made from is as well.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tfgraph.errors import ExportError

_MODEL: Final = "model.onnx"
_WEIGHTS: Final = "model.onnx.data"
_SMALLEST_EXTERNAL: Final = "1024"  # bytes; what is smaller stays in the model's own file
_CPU_INFO: Final = Path("/proc/cpuinfo")


def prepared_model(model: Path, cache: Path, make: Callable[[Path, dict[str, str]], object]) -> Path:
    """The prepared form of `model` in the folder `cache`, made if it is not there.

    Entries are never taken away: an entry may be deleted at any time, and is made again when it is needed.

    Args:
        model: the ONNX file.
        cache: the folder of all entries; it is made if its parent exists.
        make: called as `make(path, config)` when there is no entry: loads `model` in ONNX Runtime with the entries
            `config` of the session's configuration and has the optimised model written to `path`.

    Raises:
        ExportError: the cache cannot be written.
    """
    entry = cache / f"{model.stem}-{_key(model)}"
    if (entry / _MODEL).is_file():
        return entry / _MODEL
    try:
        cache.mkdir(exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f"{entry.name}.", dir=cache))
    except OSError as error:
        raise ExportError(f"cannot write the start-up cache {cache}: {error.strerror or error}") from None
    try:
        make(
            made / _MODEL,
            {
                "session.optimized_model_external_initializers_file_name": _WEIGHTS,
                "session.optimized_model_external_initializers_min_size_in_bytes": _SMALLEST_EXTERNAL,
                "session.save_external_prepacked_constant_initializers": "1",
            },
        )
        try:
            os.rename(made, entry)
        except OSError as error:
            if not (entry / _MODEL).is_file():  # else another process was first, and made the same
                raise ExportError(f"cannot write the start-up cache {entry}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return entry / _MODEL


def _key(model: Path) -> str:
    """A name for the model's contents, the version of ONNX Runtime and the kind of processor.

    Of data files, which may be larger than memory, size and time stand for the contents.
    """
    import onnxruntime

    found = hashlib.sha256()
    for fact in (onnxruntime.__version__, platform.machine(), _processor()):
        found.update(fact.encode() + b"\0")
    with model.open("rb") as file:
        while block := file.read(1 << 24):
            found.update(block)
    for path in sorted(model.parent.iterdir()):
        if path.suffix == ".data":
            state = path.stat()
            found.update(f"{path.name}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
    return found.hexdigest()[:16]


def _processor() -> str:
    """The processor's name and the instructions that it has: they decide how weights are laid out."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags", "Features")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))
