"""ONNX Runtime's attention operators, defined by ONNX's own.

They differ from it in layout: heads stay folded in the last axis, a padding mask is one number a key, and the projection
of query, key and value may be inside.
"""

from __future__ import annotations

from tfgraph.dsl import functional as F
from tfgraph.dsl.definition import definition
from tfgraph.dsl.functions.attention import attention, merge_heads, split_heads
from tfgraph.dsl.tensor import Tensor


def _padding_bias(mask: Tensor, dtype: object, filter_value: float) -> Tensor:
    """[B, T] of 1 (token) and 0 (padding) -> [B, 1, 1, T], 0 or `filter_value`, added to the scores."""
    padded = F.unsqueeze(F.equal(mask, 0), (1, 2))
    return F.cast(F.where(padded, filter_value, 0.0), dtype)


@definition("com.microsoft::MultiHeadAttention", outputs=("output",))
def multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    attention_bias: Tensor | None = None,
    *,
    num_heads: int,
    mask_filter_value: float = -10000.0,
    scale: float | None = None,
    unidirectional: int = 0,
) -> Tensor:
    """Attention over [batch, seq, heads * head_dim] operands, with the projections' bias inside if it is given.

    Args:
        query: [batch, seq, heads * head_dim]; key, value: [batch, keys, heads * head_dim].
        bias: [3 * heads * head_dim], of query, key and value in this order.
        key_padding_mask: [batch, keys], int32, 0 for padding.
        attention_bias: [batch or 1, heads or 1, seq, keys], added to the scores.

    Source: ONNX Runtime's contrib operator MultiHeadAttention.
    """
    batch, seq, hidden = F.unpack_shape(query, "batch seq hidden")
    if bias is not None:
        query = query + bias[:hidden]
        key = key + bias[hidden : 2 * hidden]
        value = value + bias[2 * hidden :]
    mask = attention_bias
    if key_padding_mask is not None:
        padding = _padding_bias(key_padding_mask, query.dtype, mask_filter_value)
        mask = padding if mask is None else padding + mask
    result = attention(
        split_heads(query, num_heads),
        split_heads(key, num_heads),
        split_heads(value, num_heads),
        mask,
        is_causal=unidirectional,
        scale=scale,
    )
    return merge_heads(result if isinstance(result, Tensor) else result[0], batch, seq)


@definition("com.microsoft::Attention", outputs=("output",))
def packed_attention(
    input: Tensor,
    weights: Tensor,
    bias: Tensor | None = None,
    mask_index: Tensor | None = None,
    past: Tensor | None = None,
    attention_bias: Tensor | None = None,
    *,
    num_heads: int,
    mask_filter_value: float = -10000.0,
    scale: float | None = None,
    unidirectional: int = 0,
) -> Tensor:
    """Self-attention with the projections of query, key and value, in one weight matrix, inside.

    Args:
        input: [batch, seq, hidden]; weights: [hidden, 3 * heads * head_dim]; bias: [3 * heads * head_dim].
        mask_index: [batch, seq], int32, 0 for padding.
        attention_bias: [batch or 1, heads or 1, seq, seq], added to the scores.

    Source: ONNX Runtime's contrib operator Attention.
    """
    projected = F.matmul(input, weights)
    if bias is not None:
        projected = projected + bias
    size = projected.shape[-1] // 3
    query, key, value = F.split(projected, (size, size, size), -1)
    return multi_head_attention(
        query,
        key,
        value,
        None,
        mask_index,
        attention_bias,
        num_heads=num_heads,
        mask_filter_value=mask_filter_value,
        scale=scale,
        unidirectional=unidirectional,
    )
