"""Reading the protobuf message of an ONNX model: from a path, from bytes, or as given; and checking what it claims.

What the message means is read in `read.py`.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from tfgraph.backends.onnx.file_texts import check_texts
from tfgraph.errors import OnnxError

if TYPE_CHECKING:
    import onnx

    OnnxSource: TypeAlias = str | os.PathLike[str] | bytes | onnx.ModelProto

OLDEST_OPSET: Final = 7
"""The oldest opset that is read in full; of those before it, what opset 7 left as it was (`application.py`)."""
NEWEST_OPSET: Final = 28
_PROTOBUF_LIMIT: Final = 2**31 - 1


def load_model(source: OnnxSource) -> tuple[onnx.ModelProto, str]:
    """The message, and how errors call it: the path, or "the model".

    Raises:
        OnnxError: the file cannot be read, or is damaged, or is no ONNX model.
    """
    import onnx

    if isinstance(source, onnx.ModelProto):
        label, model = "the model", source
    else:
        label = "the model" if isinstance(source, bytes) else os.fspath(source)
        model = _parse(source if isinstance(source, bytes) else _read(Path(source)), label)
    if not model.HasField("graph") or not (model.graph.output or model.graph.node):
        raise OnnxError(f"{label} holds no graph: it is damaged, or is no ONNX model")
    check_texts(model, label)
    return model, label


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _PROTOBUF_LIMIT:
            raise OnnxError(f"{path} is larger than 2 GB, which no ONNX file can be: keep its weights in external data")
        return path.read_bytes()
    except OSError as error:
        raise OnnxError(f"cannot read {path}: {error.strerror or error}") from None


def _parse(data: bytes, label: str) -> onnx.ModelProto:
    import onnx

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (decode_error(), UnicodeDecodeError, RecursionError) as error:
        raise OnnxError(f"{label} is damaged, or is no ONNX model: {str(error) or type(error).__name__}") from None
    return model


def decode_error() -> type[Exception]:
    """What protobuf raises for damaged bytes. (Its package has no types of its own, hence the import by name.)"""
    error: type[Exception] = import_module("google.protobuf.message").DecodeError
    return error


def read_opsets(model: onnx.ModelProto, label: str) -> dict[str, int]:
    """The version of each operator domain that the model uses, the ONNX domain under its name in the IR, "".

    Raises:
        OnnxError: there is none, a domain has two, or the ONNX opset is one that tfgraph does not read.
    """
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if versions.setdefault(domain, entry.version) != entry.version:
            raise OnnxError(
                f"{label} names two versions of the domain '{domain}': {versions[domain]} and {entry.version}"
            )
    if not versions:
        raise OnnxError(f"{label} does not say which opset it uses: it is damaged, or older than ONNX 1.0")
    if "" in versions:
        check_opset(versions[""], label)
    return versions


def check_opset(opset: int, label: str) -> None:
    """Refuse an ONNX opset that tfgraph does not read.

    Raises:
        OnnxError: it is too old or too new.
    """
    if not 1 <= opset <= NEWEST_OPSET:
        raise OnnxError(
            f"{label} uses ONNX opset {opset}, and tfgraph reads {OLDEST_OPSET} to {NEWEST_OPSET}: "
            "export it again with one of those"
        )
