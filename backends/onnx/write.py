"""Writing ONNX models: one to a file, all or nothing; several that share weights; or to bytes for a session in memory.

Making the model is the work of `lower.py`, and the file of weights beside it that of `external_data.py`.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tfgraph.backends.onnx.external_data import Placed, place, referring_to, size_of, write_data
from tfgraph.backends.onnx.lower import CONSTANT_KEY
from tfgraph.backends.onnx.model_file import decode_error
from tfgraph.errors import CheckpointError, ExportError, TFGraphError
from tfgraph.ir.constant import Constant

if TYPE_CHECKING:
    import onnx_ir

Progress = Callable[[int, int], None]
"""Called with the bytes of weights written so far and their total."""

_EMBEDDED_LIMIT: Final = (
    128 * 2**20
)  # more weights than this go beside the file: a message is held in memory three times
_PROTOBUF_LIMIT: Final = 2**31 - 1


def save_model(
    model: onnx_ir.Model,
    path: str | os.PathLike[str],
    *,
    external_data: bool | None = None,
    on_progress: Progress | None = None,
    check: Callable[[Path], None] | None = None,
) -> None:
    """Write a model to `path`, its weights in `<path>.data` if `external_data` says so or they are more than 128 MB.

    The files are written beside the old ones and take their place only when they are complete: whatever stops the
    export, what was there before is left whole, and nothing is left over. Weights are read and written a part at a
    time. The same model gives the same bytes. The `<path>.data` of the file that is replaced goes with it.

    `check` is called with the path of the complete new file before it takes the old one's place: what it raises stops
    the export, and the old file stays.

    Raises:
        ExportError: the folder cannot be written, or the disk is full.
        CheckpointError: the model has weights without values, or their file cannot be read any more.
    """
    target = Path(path)
    total = _check_weights(model, f"write {target}")
    placed = place([model]) if external_data or (external_data is None and total > _EMBEDDED_LIMIT) else []
    if not placed and total > _PROTOBUF_LIMIT:
        raise ExportError(
            f"cannot write {target}: an ONNX file holds at most 2 GB, and the weights are {total} bytes: "
            "use external data"
        )
    try:
        with _staging(target) as folder:
            if placed:
                _write_weights(placed, folder / _data_name(target), on_progress)
            with _unwrapped(), referring_to(placed, _data_name(target)):
                (folder / target.name).write_bytes(_content(model))
            if check is not None:
                check(folder / target.name)
            _replace(folder, target)
    except ExportError:
        raise
    except OSError as error:
        raise ExportError(f"cannot write {target}: {error.strerror or error}") from None
    if on_progress is not None and not placed:
        on_progress(total, total)


def save_models(
    models: Mapping[str, onnx_ir.Model], folder: Path, data_file: str, *, on_progress: Progress | None = None
) -> None:
    """Write models into `folder`, each to the file that it is named by, and their weights to one file, `data_file`.

    Weights known to be the same are written once, whichever models use them. Small ones stay in the models' files. What
    stops the writing leaves files behind: the folder should be one that can be thrown away.

    Raises:
        ExportError: the folder cannot be written, or the disk is full.
        CheckpointError: a model has weights without values, or their file cannot be read any more.
    """
    for file, model in models.items():
        _check_weights(model, f"write {folder / file}")
    placed = place(models.values())
    try:
        _write_weights(placed, folder / data_file, on_progress)
        with _unwrapped(), referring_to(placed, data_file):
            for file, model in models.items():
                (folder / file).write_bytes(_content(model))
    except OSError as error:
        raise ExportError(f"cannot write into {folder}: {error.strerror or error}") from None


def to_bytes(model: onnx_ir.Model) -> bytes:
    """The model as the bytes of an ONNX file with its weights inside, for a session in memory.

    Raises:
        CheckpointError: the model has weights without values, or their file cannot be read any more.
        ExportError: the model has more than 2 GB of weights.
    """
    total = _check_weights(model, "serialise the model")
    if total > _PROTOBUF_LIMIT:
        raise ExportError(
            f"cannot serialise the model: an ONNX message holds at most 2 GB, and the weights are {total} bytes: "
            "save it to a file with external data"
        )
    with _unwrapped():
        return _content(model)


def _content(model: onnx_ir.Model) -> bytes:
    """The message that the model is in a file."""
    import onnx_ir as ir

    return bytes(ir.serde.serialize_model(model).SerializeToString(deterministic=True))


def _write_weights(placed: list[Placed], path: Path, on_progress: Progress | None) -> None:
    """Write a file of weights, and tell how far it is.

    Raises:
        OSError: there is no room for it.
    """
    total, done = sum(each.tensor.nbytes for each in placed), 0
    free = shutil.disk_usage(path.parent).free
    if free < size_of(placed):
        raise OSError(errno.ENOSPC, f"the weights take {size_of(placed):,} bytes, and the disk has {free:,} left")

    def written(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        if on_progress is not None:
            on_progress(done, total)

    written(0)
    with _unwrapped():
        write_data(placed, path, written)


def _check_weights(model: onnx_ir.Model, what: str) -> int:
    """The bytes of all weights.

    Raises:
        CheckpointError: some have no values.
    """
    tensors = [(value.name, tensor) for value, tensor in _initializers(model)]
    constants = [(name, tensor.meta.get(CONSTANT_KEY)) for name, tensor in tensors]
    absent = [name for name, constant in constants if isinstance(constant, Constant) and not constant.has_data]
    if absent:
        listed = ", ".join(f"'{name}'" for name in absent[:3]) + (", …" if len(absent) > 3 else "")
        raise CheckpointError(
            f"cannot {what}: {len(absent)} of {len(tensors)} weights have no values ({listed}): "
            "load a checkpoint, or call `init_weights()`, first"
        )
    return sum(tensor.nbytes for _, tensor in tensors)


def _initializers(model: onnx_ir.Model) -> list[tuple[onnx_ir.Value, onnx_ir.TensorProtocol]]:
    """The weights of a model, with the values that stand for them."""
    values = [value for graph in model.graphs() for value in graph.initializers.values()]
    return [(value, value.const_value) for value in values if value.const_value is not None]


@contextmanager
def _unwrapped() -> Iterator[None]:
    """Let errors of reading weights through as they are, where the writer wraps them in its own."""
    import onnx_ir as ir

    try:
        yield
    except ir.serde.SerdeError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, TFGraphError | OSError | MemoryError):
                raise cause from None
            cause = cause.__cause__
        raise ExportError(f"cannot serialise the model: {error}") from None


def _data_name(path: Path) -> str:
    return f"{path.name}.data"


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A folder beside `target`, on the same file system, that is gone afterwards whatever happens."""
    if target.is_dir():
        raise ExportError(f"cannot write {target}: it is a folder")
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replace(folder: Path, target: Path) -> None:
    """Move the files written in `folder` to their places: both, or neither."""
    new_model, new_data, kept = folder / target.name, folder / _data_name(target), folder / "replaced.data"
    data = target.parent / _data_name(target)
    has_data = new_data.exists()
    for path in (new_data, new_model) if has_data else (new_model,):
        _flush(path)
    try:
        if data.exists() and (has_data or _refers_to(target, data.name)):
            os.replace(data, kept)
        if has_data:
            os.replace(new_data, data)
        os.replace(new_model, target)
    except BaseException:
        if new_model.exists():  # else the new pair is complete, and only what came after was interrupted
            if kept.exists():
                os.replace(kept, data)
            elif has_data and not new_data.exists():
                data.unlink(missing_ok=True)
        raise
    _flush_folder(target.parent)


def _flush(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the new names durable, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refers_to(model: Path, data: str) -> bool:
    """Whether the ONNX file at `model` keeps weights in the file `data` beside it."""
    import onnx

    try:
        proto = onnx.load(model, load_external_data=False)
    except (OSError, decode_error()):
        return False
    return any(
        entry.key == "location" and entry.value == data
        for tensor in proto.graph.initializer
        for entry in tensor.external_data
    )
