"""`RotaryPositions`: positions as rotations of queries and keys.

The rotation is defined in `dsl.functions.rotary`; how it is stretched to longer texts, in `rotary_scaling.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import rotary_embedding
from tfgraph.dsl.layers.choices import require_positive
from tfgraph.dsl.layers.rotary_scaling import RotaryScaling
from tfgraph.dsl.module import Buffer, Module
from tfgraph.dsl.tensor import Tensor
from tfgraph.errors import ConfigError
from tfgraph.ir.constant import Array, ArrayConstant
from tfgraph.ir.dtypes import DType
from tfgraph.ir.transforms import folded

LARGEST_TABLES = 2**22
"""Bytes that the tables of sines and cosines may have together: those of LLaMA 3.1 would have 67 MB."""


def rotary_angles(positions: int, frequencies: Array) -> Array:
    """The angle of each pair at each position, their product: float32 [positions, pairs].

    Frequencies are rounded to float32 before they are multiplied, as in the models that were trained with them.
    """
    return np.outer(np.arange(positions, dtype=np.float32), frequencies.astype(np.float32))


class RotaryPositions(Module):
    """Turns pairs of features of queries and keys by an angle that grows with the position.

    It has no weights, and one instance may serve all layers of a model. Cosines and sines are tables, `cos` and `sin`
    [max_positions, rotary_dim / 2], which are computed when the model is written or run; where they would be larger
    than `LARGEST_TABLES`, the graph computes the rows that it needs, once for all layers, from the `frequencies`.

    Args:
        head_dim: features of a head.
        base: the longest wavelength is about `2 pi base`.
        max_positions: positions that the tables hold.
        interleaved: pairs are features 2i and 2i + 1 (GPT-J); else i and i + rotary_dim / 2 (GPT-NeoX, LLaMA).
        rotary_dim: features of a head that are turned, from the first on; all if not given.
        scaling: a rule that stretches positions.

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
        scaling: RotaryScaling | None = None,
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
        scaling = scaling or RotaryScaling()
        self.magnitude = scaling.magnitude
        frequencies = scaling.frequencies(self.rotary_dim, base)
        self.cos = self.sin = self.frequencies = None
        shape = (max_positions, self.rotary_dim // 2)
        if 2 * 4 * shape[0] * shape[1] > LARGEST_TABLES:
            self.frequencies = Buffer(ArrayConstant(frequencies.astype(np.float32)))
        else:
            settings = (max_positions, self.rotary_dim, base, scaling)

            def table(function: Callable[[Array], Array]) -> Buffer:
                fill = partial(_table, function, max_positions, frequencies, self.magnitude)
                return Buffer(folded(fill, (), (f"rotary {function.__name__}", *settings), DType.FLOAT32, shape))

            self.cos, self.sin = table(np.cos), table(np.sin)

    def forward(self, x: Tensor, position_ids: Tensor) -> Tensor:
        """Turn queries or keys.

        Args:
            x: [batch, heads, seq, head_dim].
            position_ids: [batch, seq], int64; `sequence_positions` makes them.
        """
        cos, sin = self._computed(position_ids) if self.cos is None else (F.as_tensor(self.cos), F.as_tensor(self.sin))
        return rotary_embedding(
            x,
            F.cast(cos, x.dtype),
            F.cast(sin, x.dtype),
            None if self.cos is None else position_ids,
            interleaved=int(self.interleaved),
            rotary_embedding_dim=0 if self.rotary_dim == self.head_dim else self.rotary_dim,
        )

    def _computed(self, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines at the positions, each float32 [batch, seq, rotary_dim / 2]."""
        angles = F.unsqueeze(F.cast(position_ids, DType.FLOAT32), (2,)) * F.as_tensor(self.frequencies)
        cos, sin = F.cos(angles), F.sin(angles)
        return (cos, sin) if self.magnitude == 1 else (cos * self.magnitude, sin * self.magnitude)


def _table(function: Callable[[Array], Array], positions: int, frequencies: Array, magnitude: float) -> Array:
    angles = rotary_angles(positions, frequencies).astype(np.float64)
    return (function(angles) * magnitude).astype(np.float32)
