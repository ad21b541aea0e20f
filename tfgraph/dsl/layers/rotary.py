"""`RotaryPositions`: positions as rotations of queries and keys. The rotation is defined in `dsl.functions.rotary`."""

from __future__ import annotations

from functools import partial

import numpy as np

from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import rotary_embedding
from tfgraph.dsl.layers.choices import require_positive
from tfgraph.dsl.module import Buffer, Module
from tfgraph.dsl.tensor import Tensor
from tfgraph.errors import ConfigError
from tfgraph.ir.constant import Array
from tfgraph.ir.dtypes import DType
from tfgraph.ir.transforms import folded


def rotary_angles(positions: int, rotary_dim: int, base: float) -> Array:
    """The angle of pair i at position p, `p / base^(2i / rotary_dim)`: float32 [positions, rotary_dim / 2].

    Frequencies are rounded to float32 before they are multiplied, as in the models that were trained with them.

    Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, section 3.2.2.
    """
    exponents = np.arange(0, rotary_dim, 2, dtype=np.float64) / rotary_dim
    frequencies = (1.0 / base**exponents).astype(np.float32)
    return np.outer(np.arange(positions, dtype=np.float32), frequencies)


def _cosines(positions: int, rotary_dim: int, base: float) -> Array:
    return np.cos(rotary_angles(positions, rotary_dim, base).astype(np.float64)).astype(np.float32)


def _sines(positions: int, rotary_dim: int, base: float) -> Array:
    return np.sin(rotary_angles(positions, rotary_dim, base).astype(np.float64)).astype(np.float32)


class RotaryPositions(Module):
    """Turns pairs of features of queries and keys by an angle that grows with the position.

    One instance serves all layers of a model, so that its tables, `cos` and `sin` [max_positions, rotary_dim / 2], are
    in the graph once. They are no weights, and are computed when the model is written or run.

    Args:
        head_dim: features of a head.
        base: the longest wavelength is about `2 pi base`.
        max_positions: positions that the tables hold.
        interleaved: pairs are features 2i and 2i + 1 (GPT-J); else i and i + rotary_dim / 2 (GPT-NeoX, LLaMA).
        rotary_dim: features of a head that are turned, from the first on; all if not given.

    Raises:
        ConfigError: `rotary_dim` is odd, or larger than `head_dim`; a size that is not at least 1.
    """

    def __init__(
        self,
        head_dim: int,
        base: float = 10000.0,
        max_positions: int = 2048,
        interleaved: bool = False,
        rotary_dim: int | None = None,
    ) -> None:
        require_positive(head_dim=head_dim, max_positions=max_positions, rotary_dim=rotary_dim)
        self.head_dim = head_dim
        self.rotary_dim = head_dim if rotary_dim is None else rotary_dim
        self.interleaved = interleaved
        if self.rotary_dim > head_dim or self.rotary_dim % 2:
            name = "head_dim" if rotary_dim is None else "rotary_dim"
            raise ConfigError(
                f"{name}={self.rotary_dim}: rotary positions turn pairs of features: "
                f"expected an even number up to {head_dim}"
            )
        settings = (max_positions, self.rotary_dim, base)
        shape = (max_positions, self.rotary_dim // 2)
        self.cos = Buffer(folded(partial(_cosines, *settings), (), ("rotary_cos", *settings), DType.FLOAT32, shape))
        self.sin = Buffer(folded(partial(_sines, *settings), (), ("rotary_sin", *settings), DType.FLOAT32, shape))

    def forward(self, x: Tensor, position_ids: Tensor) -> Tensor:
        """Turn queries or keys.

        Args:
            x: [batch, heads, seq, head_dim].
            position_ids: [batch, seq], int64; `sequence_positions` makes them.
        """
        return rotary_embedding(
            x,
            F.as_tensor(self.cos),
            F.as_tensor(self.sin),
            position_ids,
            interleaved=int(self.interleaved),
            rotary_embedding_dim=0 if self.rotary_dim == self.head_dim else self.rotary_dim,
        )
