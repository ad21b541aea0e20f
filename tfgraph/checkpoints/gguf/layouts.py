"""What conversion to GGUF does to the elements of a tensor, undone: rows in another order, weights of another meaning.

The converter of llama.cpp (convert_hf_to_gguf.py) rewrites some tensors for the sake of its kernels. Each function here
takes a tensor as it lies in the file and returns what the Hugging Face checkpoint held, as a lazy handle. Which tensor
of which architecture needs which is in `tfgraph.checkpoints.gguf.architectures`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import Array, Constant
from tfgraph.ir.transforms import folded, reshaped, transposed


class Heads(NamedTuple):
    """How many heads a layer has."""

    query: int
    key_value: int


Layout = Callable[[Constant, Heads], Constant]


def query_rows(constant: Constant, heads: Heads) -> Constant:
    """The rows of a query projection, [heads * head_dim, hidden] or [heads * head_dim], back in half-split order."""
    return _half_split(constant, heads.query)


def key_rows(constant: Constant, heads: Heads) -> Constant:
    """The rows of a key projection, as `query_rows`."""
    return _half_split(constant, heads.key_value)


def fused_by_head(constant: Constant, heads: Heads) -> Constant:
    """A fused projection whose rows are all queries, all keys, all values, back to the three of one head after another.

    GPT-NeoX and BLOOM order theirs so, [3 * heads * head_dim, ...]; both have as many key and value heads as queries.
    """
    head_dim = _divided(constant, 3 * heads.query)
    rest = constant.shape[1:]
    split = reshaped(constant, (3, heads.query, head_dim, *rest))
    order = (1, 0, *range(2, len(split.shape)))
    return reshaped(transposed(split, order), constant.shape)


def transposed_matrix(constant: Constant, heads: Heads) -> Constant:
    """GPT-2's matrices, which its checkpoints hold as [in, out] and GGUF as [out, in]; vectors stay as they are."""
    return transposed(constant, (1, 0)) if len(constant.shape) == 2 else constant


def minus_one(constant: Constant, heads: Heads) -> Constant:
    """Gemma's norms multiply by 1 + weight; GGUF holds the sum."""
    return folded(_subtract_one, [constant], ("minus one",), constant.dtype, constant.shape)


def _subtract_one(array: Array) -> Array:
    result: Array = array - np.ones((), dtype=array.dtype)
    return result


def _half_split(constant: Constant, num_heads: int) -> Constant:
    """Rows that a rotary embedding pairs: i and i + head_dim / 2 in Hugging Face's LLaMA, 2i and 2i + 1 in GGUF."""
    head_dim = _divided(constant, num_heads)
    if head_dim % 2:
        raise CheckpointError(f"{constant!r} has heads of {head_dim} rows; rotary embeddings need an even number")
    rest = constant.shape[1:]
    pairs = reshaped(constant, (num_heads, head_dim // 2, 2, *rest))
    order = (0, 2, 1, *range(3, len(pairs.shape)))
    return reshaped(transposed(pairs, order), constant.shape)


def _divided(constant: Constant, parts: int) -> int:
    """Rows of each of `parts` equal parts of the first axis."""
    if not constant.shape or constant.shape[0] % parts:
        raise CheckpointError(f"{constant!r} cannot be split into {parts} equal parts: the head counts do not fit it")
    return constant.shape[0] // parts
