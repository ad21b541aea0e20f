"""The largest of many numbers without sorting them: what sampling, beam search and log-probabilities have in common."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tfgraph.generation.decoder import Ids

Number = TypeVar("Number", bound=np.floating[Any])
_LANES = 4  # for each number wanted: more make a closer bound, fewer a cheaper one


def kth_largest(values: NDArray[Number], count: int) -> Number:
    """The `count`-th largest of the values [N], 1 <= count <= N, none of them NaN.

    The values are dealt out to lanes; the `count`-th largest of the lanes' maxima is a lower bound, which few values
    reach. For 50 of 50,000 that is ten times as fast as partitioning all of them.
    """
    lanes = _LANES * count
    if values.size >= 4 * lanes:
        maxima = values[: values.size - values.size % lanes].reshape(-1, lanes).max(axis=0)
        values = values[values >= np.partition(maxima, lanes - count)[lanes - count]]
    kth: Number = np.partition(values, values.size - count)[values.size - count]
    return kth


def likeliest(scores: NDArray[Number], count: int) -> Ids:
    """The places of the `count` largest scores of [N], largest first, the lower place first if tied.

    At most as many as there are scores; those of minus infinity, which stand for what is ruled out, are left out.
    """
    count = min(count, scores.size)
    if count == 0:
        return np.empty(0, dtype=np.int64)
    smallest = kth_largest(scores, count)
    places = np.flatnonzero(scores >= smallest if smallest > -np.inf else scores > smallest)  # ascending
    return places[np.argsort(-scores[places], kind="stable")][:count]
