"""`LongRotaryPositions`: rotary positions with one set of wavelengths for short texts and another for long ones.

Rotary positions whose wavelengths never change are in `rotary.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import rotary_embedding
from tfgraph.dsl.layers.choices import require_positive
from tfgraph.dsl.layers.rotary_scaling import rotary_frequencies
from tfgraph.dsl.module import Buffer, Module
from tfgraph.dsl.tensor import Tensor
from tfgraph.errors import ConfigError
from tfgraph.ir.constant import ArrayConstant
from tfgraph.ir.dtypes import DType


def extension_scale(extension: float, original_positions: int) -> float:
    """What sines and cosines are multiplied by in a model whose texts became `extension` times as long.

    It is `sqrt(1 + ln(extension) / ln(original_positions))`, and 1 for a model that was not extended.

    Source: Abdin et al., "Phi-3 Technical Report", 2024, and the models released with it.
    """
    if extension <= 1 or original_positions <= 1:
        return 1.0
    return math.sqrt(1 + math.log(extension) / math.log(original_positions))


class LongRotaryPositions(Module):
    """Turns pairs of features of queries and keys, at other speeds once a text is longer than those first trained on.

    Pairs are features i and i + rotary_dim / 2, and pair i turns by `1 / (factor_i * base^(2i / rotary_dim))` from one
    position to the next. Once the last position of a batch passes the limit, the long factors are those of all
    positions of all its texts. Keys in a cache stay as they were turned: a text that grows past the limit is to be run
    again from its beginning. Angles are computed from the positions when the model is run.

    Args:
        head_dim: features of a head.
        short_factors, long_factors: what each pair's wavelength is multiplied by. There are as many as pairs that are
            turned, which are of the first features of a head.
        original_positions: the length up to which the short factors hold.
        base: from which the wavelengths are computed.
        scale: what sines and cosines are multiplied by; see `extension_scale`.

    Source: Ding et al., "LongRoPE: Extending LLM Context Window Beyond 2 Million Tokens", 2024, section 3.

    Raises:
        ConfigError: the two lists differ in length, are of more pairs than a head has, or have a factor that is not
            positive; a size below 1.
    """

    def __init__(
        self,
        head_dim: int,
        short_factors: Sequence[float],
        long_factors: Sequence[float],
        original_positions: int,
        base: float = 10000.0,
        scale: float = 1.0,
    ) -> None:
        require_positive(head_dim=head_dim, original_positions=original_positions)
        pairs = len(short_factors)
        if not 1 <= pairs <= head_dim // 2 or len(long_factors) != pairs:
            raise ConfigError(
                f"{pairs} short factors and {len(long_factors)} long factors for heads of {head_dim} features: "
                f"expected as many of both, one for each pair of features that is turned, up to {head_dim // 2}"
            )
        self.head_dim = head_dim
        self.rotary_dim = 2 * pairs
        self.original_positions = original_positions
        self.scale = scale

        def frequencies(factors: Sequence[float]) -> Buffer:
            for factor in factors:
                if not 0 < factor < math.inf:
                    raise ConfigError(f"a factor of rotary positions is {factor!r}: expected a number above 0")
            stretched = rotary_frequencies(self.rotary_dim, base) / np.asarray(factors, np.float64)
            return Buffer(ArrayConstant(stretched.astype(np.float32)))

        self.short, self.long = frequencies(short_factors), frequencies(long_factors)

    def forward(self, x: Tensor, position_ids: Tensor) -> Tensor:
        """Turn queries or keys.

        Args:
            x: [batch, heads, seq, head_dim].
            position_ids: [batch, seq], int64; `sequence_positions` makes them.
        """
        is_long = F.reduce_max(position_ids, (0, 1), keepdims=False) >= self.original_positions
        frequencies = F.where(is_long, self.long, self.short)  # [R/2]
        angles = F.unsqueeze(F.cast(position_ids, DType.FLOAT32), (2,)) * frequencies  # [B, S, R/2]
        return rotary_embedding(
            x,
            F.cast(F.cos(angles) * self.scale, x.dtype),
            F.cast(F.sin(angles) * self.scale, x.dtype),
            rotary_embedding_dim=0 if self.rotary_dim == self.head_dim else self.rotary_dim,
        )
