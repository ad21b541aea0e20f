"""From a torch tensor, a view of a storage with strides, to a constant that is read when it is needed.

A view that is one run of elements becomes a handle to that run, a permuted one a transposed handle, and any other a
handle to the span it covers, picked from when it is read. Where the storages lie in a file is said by whoever read it,
`zip_form.py` or `legacy_form.py`, through `Storages`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Protocol

import numpy as np

from tfgraph.checkpoints.torch.values import TorchStorage, TorchTensor
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import Array, ArrayConstant, Constant
from tfgraph.ir.dtypes import DType
from tfgraph.ir.transforms import folded, transposed

MAX_EXPANDED_BYTES = 2**30  # a tensor may repeat elements (strides of 0), and so be larger than the file


class Storages(Protocol):
    """The storages of one file."""

    def nbytes(self, storage: TorchStorage) -> int:
        """How many bytes the file holds of a storage.

        Raises:
            CheckpointError: it holds no such storage.
        """

    def handle(self, storage: TorchStorage, begin: int, dtype: DType, shape: Sequence[int]) -> Constant:
        """The elements from byte `begin` of a storage on. The caller has seen to it that they are within it."""


class TensorReader:
    """Makes each view of a file's storages once: tensors that are the same view are the same constant."""

    def __init__(self, storages: Storages, where: str) -> None:
        self.storages = storages
        self.where = where
        self.made: dict[TorchTensor, Constant] = {}

    def constant(self, tensor: TorchTensor) -> Constant:
        """The constant of a tensor. No element is read.

        Raises:
            CheckpointError: the tensor reaches beyond its storage, the storage beyond the file, or the tensor repeats
                elements until it is absurdly large.
        """
        if tensor not in self.made:
            self.made[tensor] = self._make(tensor)
        return self.made[tensor]

    def _make(self, tensor: TorchTensor) -> Constant:
        storage, shape, itemsize = tensor.storage, tensor.shape, tensor.dtype.bits // 8
        what = f"{self.where}: a tensor {tensor.dtype}{list(shape)} of storage {storage.key[:100]!r}"
        if math.prod(max(size, 1) for size in shape) * itemsize >= 2**62:
            raise CheckpointError(f"{what} is too large for any machine. The file is damaged")
        held = self.storages.nbytes(storage)
        if storage.size * storage.dtype.bits // 8 > held:
            raise CheckpointError(
                f"{what} needs {storage.size} elements of {storage.dtype} there, and the file holds {held} bytes: the "
                "file is incomplete or damaged. Download it again"
            )
        if 0 in shape:
            return ArrayConstant(np.zeros(shape, tensor.dtype.numpy()))
        span = 1 + sum((size - 1) * step for size, step in zip(shape, tensor.strides, strict=True))
        if (tensor.offset + span) * itemsize > held:
            raise CheckpointError(
                f"{what} with strides {list(tensor.strides)} from element {tensor.offset} on reaches "
                f"{(tensor.offset + span) * itemsize} bytes into it, and it has {held}. The file is damaged"
            )
        if math.prod(shape) * itemsize > max(held, MAX_EXPANDED_BYTES):
            raise CheckpointError(f"{what} repeats its {held} bytes until they are more than {MAX_EXPANDED_BYTES}")
        return self._view(tensor, tensor.offset * itemsize, span)

    def _view(self, tensor: TorchTensor, begin: int, span: int) -> Constant:
        shape, strides = tensor.shape, tensor.strides
        if _is_run(shape, strides):
            return self.storages.handle(tensor.storage, begin, tensor.dtype, shape)
        order = sorted(range(len(shape)), key=lambda axis: -strides[axis] if shape[axis] > 1 else 0)
        sizes = [shape[axis] for axis in order]
        if _is_run(sizes, [strides[axis] for axis in order]):
            whole = self.storages.handle(tensor.storage, begin, tensor.dtype, sizes)
            return transposed(whole, [order.index(axis) for axis in range(len(order))])
        run = self.storages.handle(tensor.storage, begin, tensor.dtype, (span,))
        pick = partial(_pick, shape=shape, strides=strides)
        return folded(pick, [run], ("torch_strides", shape, strides), tensor.dtype, shape)


def _is_run(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether the elements lie one after the other in row-major order; an axis of size 1 may have any stride."""
    expected = 1
    for size, step in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and step != expected:
            return False
        expected *= size
    return True


def _pick(run: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    steps = [step * run.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(run, shape, steps, writeable=False)
