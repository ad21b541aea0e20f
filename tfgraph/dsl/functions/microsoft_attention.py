"""ONNX Runtime's attention operators, defined by ONNX's own.

They differ from it in layout: heads stay folded in the last axis, a padding mask is one number a key, and the
projection of query, key and value may be inside.
"""

from __future__ import annotations

from tfgraph.dsl import functional as F
from tfgraph.dsl.definition import definition
from tfgraph.dsl.functions.attention import attention, merge_heads, split_heads
from tfgraph.dsl.tensor import Tensor
from tfgraph.dsl.trace import current_trace
from tfgraph.errors import ShapeError
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Dim


def _padding_bias(mask: Tensor, keys: Dim, dtype: object, filter_value: float) -> Tensor:
    """Padding, 0 in [B, T] or [B, S, T], or beyond the number of tokens [B], as `filter_value` in [B, 1, S or 1, T]."""
    if mask.rank == 1:
        padded = F.unsqueeze(F.arange(0, keys), (0,)) >= F.unsqueeze(F.cast(mask, "int64"), (1,))  # [B, T]
    else:
        padded = F.equal(mask, 0)
    if padded.rank not in (2, 3):
        message = (
            f"expected a padding mask [batch, keys], [batch, seq, keys] or [batch], and got {format_shape(mask.shape)}"
        )
        raise ShapeError(current_trace().locate(message))
    padded = F.unsqueeze(padded, (1, 2) if padded.rank == 2 else (1,))
    return F.cast(F.where(padded, filter_value, 0.0), dtype)


@definition("com.microsoft::MultiHeadAttention", outputs=("output", "present_key", "present_value"))
def multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    attention_bias: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    *,
    num_heads: int,
    mask_filter_value: float = -10000.0,
    scale: float | None = None,
    unidirectional: int = 0,
) -> Tensor | tuple[Tensor, ...]:
    """Attention over [batch, seq, heads * head_dim] operands, with the projections' bias inside if it is given.

    Args:
        query: [batch, seq, heads * head_dim]; key, value: [batch, keys, heads * head_dim].
        bias: [3 * heads * head_dim], of query, key and value in this order.
        key_padding_mask: int32 [batch, keys] or [batch, seq, keys], 0 for padding; or the number of tokens [batch].
        attention_bias: [batch or 1, heads or 1, seq, keys], added to the scores.
        past_key, past_value: [batch, heads, past, head_dim], put before key and value, and counted in `keys` above.

    Returns [batch, seq, heads * head_dim]; with a past, also the present key and value.

    Source: ONNX Runtime's contrib operator MultiHeadAttention.
    """
    batch, seq, hidden = F.unpack_shape(query, "batch seq hidden")
    if bias is not None:
        query = query + bias[:hidden]
        key = key + bias[hidden : 2 * hidden]
        value = value + bias[2 * hidden :]
    mask = attention_bias
    if key_padding_mask is not None:
        keys = key.shape[1] if past_key is None else past_key.shape[2] + key.shape[1]
        padding = _padding_bias(key_padding_mask, keys, query.dtype, mask_filter_value)
        mask = padding if mask is None else padding + mask
    result = attention(
        split_heads(query, num_heads),
        split_heads(key, num_heads),
        split_heads(value, num_heads),
        mask,
        past_key,
        past_value,
        is_causal=unidirectional,
        scale=scale,
    )
    if isinstance(result, tuple):
        return merge_heads(result[0], batch, seq), *result[1:]
    return merge_heads(result, batch, seq)


@definition("com.microsoft::Attention", outputs=("output", "present"))
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
) -> Tensor | tuple[Tensor, ...]:
    """Self-attention with the projections of query, key and value, in one weight matrix, inside.

    Args:
        input: [batch, seq, hidden]; weights: [hidden, 3 * heads * head_dim]; bias: [3 * heads * head_dim].
        mask_index: int32 [batch, keys] or [batch, seq, keys], 0 for padding; or the number of tokens [batch].
        past: [2, batch, heads, past, head_dim], keys and values put before those of the input.
        attention_bias: [batch or 1, heads or 1, seq, keys], added to the scores.

    Returns [batch, seq, heads * head_dim]; with a past, also the present keys and values, in one tensor as the past.

    Source: ONNX Runtime's contrib operator Attention.
    """
    projected = F.matmul(input, weights)
    if bias is not None:
        projected = projected + bias
    size = projected.shape[-1] // 3
    query, key, value = F.split(projected, (size, size, size), -1)
    result = multi_head_attention(
        query,
        key,
        value,
        None,
        mask_index,
        attention_bias,
        None if past is None else past[0],
        None if past is None else past[1],
        num_heads=num_heads,
        mask_filter_value=mask_filter_value,
        scale=scale,
        unidirectional=unidirectional,
    )
    if isinstance(result, tuple):
        return result[0], F.concat([F.unsqueeze(present, (0,)) for present in result[1:]], 0)
    return result
