"""Positions as biases of attention scores: `RelativeBias` (T5) and `AlibiBias`.

Both give a float tensor [1, heads, queries, keys] that attention adds to its scores, as `position_bias`.
"""

from __future__ import annotations

import math

import numpy as np

from tfgraph.dsl import functional as F
from tfgraph.dsl.layers.choices import require_positive
from tfgraph.dsl.module import Buffer, Module, Parameter
from tfgraph.dsl.tensor import Tensor
from tfgraph.errors import ConfigError
from tfgraph.ir.constant import Array, ArrayConstant
from tfgraph.ir.dims import Dim


def key_distances(queries: Dim, keys: Dim, past: Dim | Tensor = 0) -> Tensor:
    """How far each key is after each query: int64 [queries, keys], `key - (query + past)`.

    Where sequences differ in what is cached, `past` is int64 [batch], and the result [batch, 1, queries, keys].
    """
    columns = F.unsqueeze(F.arange(0, keys), (0,))
    if isinstance(past, Tensor):
        return columns - (F.unsqueeze(F.arange(0, queries), (1,)) + F.unsqueeze(past, (1, 2, 3)))
    return columns - F.unsqueeze(F.arange(past, past + queries), (1,))


def relative_buckets(distances: Array, num_buckets: int, max_distance: int, bidirectional: bool) -> Array:
    """The bucket of each distance `key - query`: int64, of the shape of `distances`.

    Half of the buckets are for one distance each, the rest for ranges that grow logarithmically up to `max_distance`,
    and the last for everything beyond. Bidirectional, half of all buckets are for keys after the query; otherwise such
    keys share the bucket of distance 0.

    Source: Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020,
    section 2.1, and the T5 models' own rounding, in float32.
    """
    first = np.zeros_like(distances)
    if bidirectional:
        num_buckets //= 2
        first = np.where(distances > 0, num_buckets, 0)
        back = np.abs(distances)
    else:
        back = np.maximum(-distances, 0)
    exact = num_buckets // 2
    ratio = np.log(np.maximum(back, 1).astype(np.float32) / np.float32(exact))
    growth = ratio / np.float32(math.log(max_distance / exact)) * np.float32(num_buckets - exact)
    far = np.minimum(exact + np.trunc(growth).astype(np.int64), num_buckets - 1)
    buckets: Array = (first + np.where(back < exact, back, far)).astype(np.int64)
    return buckets


class RelativeBias(Module):
    """A learned bias for each head and bucket of distances (T5): the weight is [num_buckets, num_heads].

    Raises:
        ConfigError: sizes below 1, or so few buckets, or so small a `max_distance`, that none is left for a range.
    """

    def __init__(
        self, num_heads: int, num_buckets: int = 32, max_distance: int = 128, bidirectional: bool = True
    ) -> None:
        require_positive(num_heads=num_heads, num_buckets=num_buckets, max_distance=max_distance)
        exact = num_buckets // 4 if bidirectional else num_buckets // 2
        if exact < 1 or max_distance <= exact:
            raise ConfigError(
                f"num_buckets={num_buckets} and max_distance={max_distance}: expected at least "
                f"{4 if bidirectional else 2} buckets, and a distance above {exact}, since all up to it have their own"
            )
        self.weight = Parameter((num_buckets, num_heads))
        self.max_distance = max_distance
        # Beyond max_distance nothing changes, so that a table over [-max_distance, max_distance] says everything.
        distances = np.arange(-max_distance, max_distance + 1)
        self.buckets = Buffer(ArrayConstant(relative_buckets(distances, num_buckets, max_distance, bidirectional)))

    def forward(self, queries: Dim, keys: Dim, past: Dim = 0) -> Tensor:
        """The bias of all keys for queries that follow `past` cached positions: [1, num_heads, queries, keys]."""
        farthest = self.max_distance
        distances = F.minimum(F.maximum(key_distances(queries, keys, past), -farthest), farthest)
        by_distance = F.gather(self.weight, self.buckets)  # [2 * farthest + 1, H]; folded when the model is compiled
        bias = F.gather(by_distance, distances + farthest)  # [Q, K, H]
        return F.unsqueeze(F.transpose(bias, (2, 0, 1)), (0,))


def alibi_slopes(num_heads: int) -> Array:
    """The slope of each head, `2^(-8 (h + 1) / num_heads)`: float32 [num_heads].

    Where the number of heads is no power of two, the slopes of the power below come first, then every other one of
    those of the power above.

    Source: Press, Smith, Lewis, "Train Short, Test Long: Attention with Linear Biases Enables Input Length
    Extrapolation", 2021, section 3 and the authors' code for other numbers of heads.
    """
    power = 2 ** (num_heads.bit_length() - 1)

    def geometric(heads: int) -> list[float]:
        return [2.0 ** (-8.0 * (head + 1) / heads) for head in range(heads)]

    slopes = geometric(power) + geometric(2 * power)[0::2][: num_heads - power]
    return np.asarray(slopes, np.float32)


class AlibiBias(Module):
    """A bias that falls linearly with the distance, by a slope for each head (ALiBi). It has no weights.

    Causal, the bias is `slope * (key - query)`; bidirectional, `-slope * |key - query|`. A row of scores may be shifted
    by any number without changing its softmax, so that the bias by absolute key positions (BLOOM) is the same; this
    one is more exact, being small where scores matter.

    Raises:
        ConfigError: `num_heads` is not at least 1.
    """

    def __init__(self, num_heads: int, bidirectional: bool = False) -> None:
        require_positive(num_heads=num_heads)
        self.slopes = Buffer(ArrayConstant(alibi_slopes(num_heads).reshape(num_heads, 1, 1)))
        self.bidirectional = bidirectional

    def forward(self, queries: Dim, keys: Dim, past: Dim | Tensor = 0, positions: Tensor | None = None) -> Tensor:
        """The bias of all keys for queries that follow `past` cached positions: [1 or batch, num_heads, queries, keys].

        `positions`, int64 [batch, keys], are those of the keys, the last `queries` of them being those of the queries;
        they are 0, 1, … if not given.
        """
        if isinstance(past, Tensor):
            distances = key_distances(queries, keys, past)  # [B, 1, Q, K]
        elif positions is None:
            distances = F.unsqueeze(key_distances(queries, keys, past), (0, 1))  # [1, 1, Q, K]
        else:
            own = positions if past == 0 else positions[:, past:]
            distances = F.unsqueeze(positions, (1, 2)) - F.unsqueeze(own, (1, 3))  # [B, 1, Q, K]
        signed = -F.absolute(distances) if self.bidirectional else distances
        return F.cast(signed, self.slopes.dtype) * self.slopes
