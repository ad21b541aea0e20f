"""Attention over a cache of fixed length that new keys and values are written into, by ONNX's operators.

`cached_attention` is the meaning that decoders, fusions and ONNX Runtime's GroupQueryAttention have in common: the last
says how much of the cache is in use by other numbers, and runs in place where its past and its present are one buffer.
"""

from __future__ import annotations

from tfgraph.dsl import functional as F
from tfgraph.dsl.definition import definition
from tfgraph.dsl.functions.attention import attention, merge_heads, split_heads
from tfgraph.dsl.functions.rotary import rotary_embedding
from tfgraph.dsl.tensor import Tensor
from tfgraph.dsl.trace import current_trace
from tfgraph.errors import ShapeError
from tfgraph.ir.dim_text import format_shape

_PRESENTS = ("output", "present_key", "present_value")


@definition("tfgraph::CachedAttention", outputs=_PRESENTS)
def cached_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    past_key: Tensor,
    past_value: Tensor,
    cache_lengths: Tensor,
    cos_cache: Tensor | None = None,
    sin_cache: Tensor | None = None,
    *,
    num_heads: int,
    kv_num_heads: int,
    rotary_interleaved: int = 0,
    rotary_dim: int = 0,
    scale: float | None = None,
    softcap: float = 0.0,
    local_window_size: int = -1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Causal attention to what a cache holds and to the new keys, which are written behind it.

    Args:
        query: [batch, seq, heads * head_dim]; key, value: [batch, seq, kv_heads * head_dim].
        past_key, past_value: [batch, kv_heads, capacity, head_dim].
        cache_lengths: int64 [batch], how many positions of each row are in use.
        cos_cache, sin_cache: [positions, rotary_dim / 2], for rotary positions that are counted from the row's first;
            or [batch, seq, rotary_dim / 2], of the new positions.
        rotary_interleaved: how features are paired; see `rotary_embedding`.
        rotary_dim: features of a head that are turned; 0 for all.
        scale: what scores are multiplied by; 1 / sqrt(head_dim) if not given.
        softcap: if not 0, scores become `softcap * tanh(scores / softcap)`.
        local_window_size: how many positions, itself included, a query attends to; -1 for all.

    Returns the result [batch, seq, heads * head_dim], and the cache with the new keys and values.

    Source: Shazeer, "Fast Transformer Decoding: One Write-Head is All You Need", 2019, section 2.4; Ainslie et al.,
    "GQA", 2023.
    """
    batch, seq, _ = F.unpack_shape(query, "batch seq hidden")
    queries, keys = split_heads(query, num_heads), split_heads(key, kv_num_heads)
    rows = F.arange(0, seq)
    if cos_cache is not None and sin_cache is not None:
        positions = F.unsqueeze(cache_lengths, (1,)) + rows if cos_cache.rank == 2 else None  # [B, S]
        queries, keys = (
            rotary_embedding(
                x,
                cos_cache,
                sin_cache,
                positions,
                interleaved=rotary_interleaved,
                rotary_embedding_dim=rotary_dim,
            )
            for x in (queries, keys)
        )
    present_key = F.tensor_scatter(past_key, keys, cache_lengths)
    present_value = F.tensor_scatter(past_value, split_heads(value, kv_num_heads), cache_lengths)
    columns = F.unsqueeze(F.arange(0, present_key.shape[2]), (0,))
    distances = columns - (F.unsqueeze(rows, (1,)) + F.unsqueeze(cache_lengths, (1, 2, 3)))  # [B, 1, S, capacity]
    seen = distances <= 0
    if local_window_size != -1:
        seen = (distances > -local_window_size) & seen
    result = attention(queries, present_key, present_value, seen, scale=scale, softcap=softcap)
    if isinstance(result, tuple):
        result = result[0]
    return merge_heads(result, batch, seq), present_key, present_value


@definition("com.microsoft::GroupQueryAttention", outputs=_PRESENTS)
def group_query_attention(
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    seqlens_k: Tensor | None = None,
    total_sequence_length: Tensor | None = None,
    cos_cache: Tensor | None = None,
    sin_cache: Tensor | None = None,
    *,
    num_heads: int,
    kv_num_heads: int,
    do_rotary: int = 0,
    rotary_interleaved: int = 0,
    scale: float | None = None,
    softcap: float = 0.0,
    local_window_size: int = -1,
) -> tuple[Tensor, Tensor, Tensor]:
    """`cached_attention` as ONNX Runtime has it, over a cache that is long enough for the new keys.

    Args:
        query: [batch, seq, heads * head_dim], or, without key and value, the three side by side.
        key, value: [batch, seq, kv_heads * head_dim].
        past_key, past_value: [batch, kv_heads, capacity, head_dim].
        seqlens_k: int32 [batch], the number of keys that each row has with the new ones, less 1.
        total_sequence_length: int32, the largest number of keys of a row: nothing is computed from it, the kernel
            tells by it whether there is a past, and with one takes several new tokens of one row only.
        cos_cache, sin_cache: [positions, rotary_dim / 2], used with `do_rotary`.
        local_window_size: how many positions, itself included, a query attends to; -1 for all.

    Returns the result [batch, seq, heads * head_dim], and the cache with the new keys and values.

    Source: ONNX Runtime's contrib operator GroupQueryAttention, without quantised caches, biases and sinks.
    """
    if past_key is None or past_value is None or seqlens_k is None:
        message = "GroupQueryAttention is defined over a cache: expected past_key, past_value and seqlens_k"
        raise ShapeError(current_trace().locate(message))
    _, seq, features = F.unpack_shape(query, "batch seq hidden")
    if key is None or value is None:
        size = past_key.shape[3]
        heads = num_heads + 2 * kv_num_heads
        if features != heads * size:
            message = (
                f"GroupQueryAttention has packed operands {format_shape(query.shape)}: expected {heads} heads of {size}"
            )
            raise ShapeError(current_trace().locate(message))
        query, key, value = F.split(query, (num_heads * size, kv_num_heads * size, kv_num_heads * size), -1)
    lengths = F.cast(seqlens_k, "int64") + 1 - F.as_tensor(seq)
    rotary = (cos_cache, sin_cache) if do_rotary and cos_cache is not None and sin_cache is not None else (None, None)
    width = None if rotary[0] is None else rotary[0].shape[1]
    turned = 2 * width if isinstance(width, int) and 2 * width != past_key.shape[3] else 0
    return cached_attention(
        query, key, value, past_key, past_value, lengths, *rotary,
        num_heads=num_heads, kv_num_heads=kv_num_heads, rotary_interleaved=rotary_interleaved, rotary_dim=turned,
        scale=scale, softcap=softcap, local_window_size=local_window_size,
    )  # fmt: skip
