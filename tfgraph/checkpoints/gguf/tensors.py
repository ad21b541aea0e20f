"""Tensors of a GGUF file as lazy constants: plain ones as runs of bytes, quantised ones as float32.

A quantised tensor is read some rows at a time, so that little more than its float32 elements is ever in memory. The
arithmetic of the blocks is that of the `gguf` package, which ggml's authors keep in step with their own kernels; it is
an optional dependency, needed for quantised types alone. The header is read in `tfgraph.checkpoints.gguf.header`.
"""

from __future__ import annotations

import importlib.util
import math
from functools import partial
from pathlib import Path

import numpy as np

from tfgraph.checkpoints.gguf.ggml_types import GgmlType
from tfgraph.checkpoints.gguf.header import TensorInfo
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import Array, Constant, Derived, FileConstant
from tfgraph.ir.dtypes import DType

_INSTALL = "Install it with `pip install 'tfgraph-onnx[gguf]'`"
_ELEMENTS_AT_ONCE = 2**21  # 8 MiB of float32


def constant_of(info: TensorInfo) -> Constant:
    """The tensor as a handle; no element is read.

    Its dtype is the file's for F16, BF16, F32, F64 and integers, and float32 for a quantised type.

    Raises:
        CheckpointError: the type is quantised and the `gguf` package is not installed. From `numpy()` of the handle:
            the file is gone, or shorter than it was.
    """
    if info.type.dtype is not None:
        return FileConstant(info.path, info.offset, info.type.dtype, info.shape)
    if importlib.util.find_spec("gguf") is None:
        raise CheckpointError(
            f"{info.path}: tensor {info.name!r} is quantised as {info.type.name}, which takes the gguf package to "
            f"read. {_INSTALL}"
        )
    read = partial(dequantised, info.path, info.offset, info.type, info.shape)
    return Derived(read, (), ("gguf", info.path, info.offset, info.type.name), DType.FLOAT32, info.shape)


def slice_of(info: TensorInfo, index: int) -> TensorInfo:
    """Slice number `index` along the first axis, as a tensor of its own: one expert of a stack of them."""
    shape = info.shape[1:]
    return info._replace(shape=shape, offset=info.offset + index * info.type.nbytes(math.prod(shape)))


def dequantised(path: Path, offset: int, kind: GgmlType, shape: tuple[int, ...]) -> Array:
    """The float32 elements, of `shape`, of the tensor of a quantised type that begins at byte `offset`.

    Raises:
        CheckpointError: the file is gone, or shorter than it was, or the `gguf` package cannot be imported.
    """
    try:
        from gguf.constants import GGMLQuantizationType
        from gguf.quants import dequantize
    except ImportError as error:
        raise CheckpointError(f"cannot read the {kind.name} weights in {path}: {error}. {_INSTALL}") from error

    quantisation = GGMLQuantizationType[kind.name]
    result = np.empty((math.prod(shape[:-1]), shape[-1]), dtype=np.float32)
    row_bytes = kind.nbytes(shape[-1])
    rows_at_once = max(1, _ELEMENTS_AT_ONCE // shape[-1])
    try:
        with path.open("rb") as file:
            file.seek(offset)
            for begin in range(0, len(result), rows_at_once):
                rows = result[begin : begin + rows_at_once]
                packed = np.fromfile(file, dtype=np.uint8, count=len(rows) * row_bytes)
                if packed.size < len(rows) * row_bytes:
                    raise CheckpointError(
                        f"{path} ends early: {kind.name}{list(shape)} expected at offset {offset}. Was the file "
                        "replaced while it was in use?"
                    )
                with np.errstate(all="ignore"):  # a damaged scale is infinity, not a warning
                    rows[...] = dequantize(packed.reshape(len(rows), row_bytes), quantisation)
    except OSError as error:
        raise CheckpointError(f"cannot read the weights in {path}: {error.strerror or error}") from error
    return result.reshape(shape)
