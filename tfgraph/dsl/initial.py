"""The weights of a model that was declared and not loaded: they have the numbers that training would start from.

They are made when they are read, so that a model of any size can be declared, traced and lowered without them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from tfgraph.ir.constant import Array, Constant
from tfgraph.ir.dtypes import DType

SCALE = 0.02
"""Standard deviation of normal initial weights, as in GPT-2 and BERT."""


class InitialConstant(Constant):
    """A weight that nobody has given: ones, zeros, or numbers from N(0, `SCALE`^2) that depend on its path alone."""

    __slots__ = ("kind", "path")

    def __init__(self, path: str, dtype: DType, shape: Sequence[int], kind: str) -> None:
        super().__init__(dtype, shape)
        self.path = path
        self.kind = kind

    def numpy(self) -> Array:
        return initial_array(
            self.shape, self.kind, np.random.default_rng(zlib.crc32(self.path.encode())), SCALE
        ).astype(self.dtype.numpy())


def initial_array(shape: Sequence[int], kind: str, generator: np.random.Generator, scale: float) -> Array:
    """A float32 array of ones, zeros, or normal numbers of standard deviation `scale`."""
    if kind == "normal":
        return generator.standard_normal(shape, np.float32) * np.float32(scale)
    return np.full(shape, 1.0 if kind == "ones" else 0.0, np.float32)
