"""Decoders of the GPT line in plain numpy, written from the equations of their papers: what tests compare with.

Nothing here comes from tfgraph. Everything is float64, a batch is a loop over its texts, and matrices are [out, in].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

Weights = Mapping[str, np.ndarray]


def linear(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    """`x W^T + b`."""
    return x @ weights[f"{name}.weight"].astype(np.float64).T + weights[f"{name}.bias"].astype(np.float64)


def layer_norm(x: np.ndarray, weights: Weights, name: str, eps: float = 1e-5) -> np.ndarray:
    """Ba et al., "Layer Normalization", 2016, over the features."""
    centred = x - x.mean(-1, keepdims=True)
    normalised = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return normalised * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    """`x` times the probability that a normal variable is below it: Hendrycks and Gimpel, 2016, section 2."""
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    """Their approximation of it."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def attend(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, heads: int, mask: np.ndarray, window: int | None = None
) -> np.ndarray:
    """Causal attention of one text, [S, heads * D] each: to tokens (`mask` [S]), and to the last `window` positions."""
    length, width = query.shape
    size = width // heads
    result = np.zeros((length, width))
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for position in range(length):
            first = 0 if window is None else max(0, position - window + 1)
            seen = [other for other in range(first, position + 1) if mask[other]]
            if not seen:
                continue  # padding before all tokens, whose result nobody reads
            scores = key[seen, part] @ query[position, part] / math.sqrt(size)
            exponents = np.exp(scores - scores.max())
            result[position, part] = exponents @ value[seen, part] / exponents.sum()
    return result


def pre_norm_block(
    x: np.ndarray,
    weights: Weights,
    names: Mapping[str, str],
    heads: int,
    mask: np.ndarray,
    *,
    activation: Callable[[np.ndarray], np.ndarray] = gelu_tanh,
    window: int | None = None,
    queries: np.ndarray | None = None,
) -> np.ndarray:
    """`x + attention(LN(x))`, then `x + FFN(LN(x))`; `queries` [S, H] are what queries are made of, if not `LN(x)`.

    `names` says what norm1, norm2, query, key, value, output, up and down are called.
    """
    inner = layer_norm(x, weights, names["norm1"])
    query = linear(inner if queries is None else queries, weights, names["query"])
    key, value = linear(inner, weights, names["key"]), linear(inner, weights, names["value"])
    x = x + linear(attend(query, key, value, heads, mask, window), weights, names["output"])
    inner = layer_norm(x, weights, names["norm2"])
    return x + linear(activation(linear(inner, weights, names["up"])), weights, names["down"])


def positions_of(mask: np.ndarray) -> np.ndarray:
    """The position of each token of a text among its tokens."""
    return np.maximum(mask.cumsum() - 1, 0)


def for_each_text(
    logits_of: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """From a function of the ids and mask [S] of one text to one of those of a batch [B, S]."""
    return lambda ids, mask: np.stack([logits_of(*text) for text in zip(ids, mask, strict=True)])


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int = 11) -> dict[str, np.ndarray]:
    """Random float32 weights of these shapes, the scales of normalisations around 1."""
    generator = np.random.default_rng(seed)
    return {
        name: (
            generator.standard_normal(shape) * 0.2 + (1.0 if len(shape) == 1 and name.endswith("weight") else 0.0)
        ).astype(np.float32)
        for name, shape in shapes.items()
    }
