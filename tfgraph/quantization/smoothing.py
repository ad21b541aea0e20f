"""How strongly to smooth: the exponent of SmoothQuant, chosen for each activation by the error of its own products.

    s_k = max|x_k|^a / max|W_k|^(1 - a)

The activation is divided by s, the weights' rows are multiplied by it. What carries it out is
`tfgraph.passes.quantise.smoothing`.

Source: Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models", 2023,
equation 4; they use one exponent for a whole model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from tfgraph.ir.constant import Array

_EXPONENTS: Final = (0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
_WORTH: Final = 0.8
"""Smoothing costs a product an activation: it is used where the squared error falls below this share."""


def smoothing_vector(largest: Array, weights: Sequence[Array], exponent: float) -> Array:
    """The vector s, float32 [K], of geometric mean 1, for largest magnitudes [K] and the matrices [K, N] they meet.

    Features that are always 0 or meet no weight get 1.
    """
    rows = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0).astype(np.float64)  # [K]
    seen = largest.astype(np.float64)
    counts = (seen > 0) & (rows > 0)
    logs = np.zeros(seen.shape)
    logs[counts] = exponent * np.log(seen[counts]) - (1 - exponent) * np.log(rows[counts])
    if counts.any():
        logs[counts] -= logs[counts].mean()
    return np.asarray(np.exp(np.clip(logs, -12.0, 12.0)).astype(np.float32))


def best_smoothing(
    largest: Array, weights: Sequence[Array], error: Callable[[Array | None], float]
) -> tuple[Array | None, float, float]:
    """The vector whose error is least, that error, and its exponent; (None, error, 0) where none is worth its product.

    `error` gives the error of the products with a vector, or without one.
    """
    plain = error(None)
    best: tuple[Array | None, float, float] = (None, plain * _WORTH, 0.0)
    for exponent in _EXPONENTS:
        vector = smoothing_vector(largest, weights, exponent)
        found = error(vector)
        if found < best[1]:
            best = vector, found, exponent
    return best if best[0] is not None else (None, plain, 0.0)
