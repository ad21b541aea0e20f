"""Scaled dot-product attention, ONNX's operator Attention."""

from __future__ import annotations

import math

from tfgraph.dsl import functional as F
from tfgraph.dsl.definition import definition
from tfgraph.dsl.tensor import Tensor
from tfgraph.dsl.trace import current_trace
from tfgraph.errors import DTypeError, ShapeError
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Dim, exact_div
from tfgraph.ir.dtypes import DType

LOWEST = {
    DType.FLOAT32: -3.4028234663852886e38,
    DType.FLOAT16: -65504.0,
    DType.BFLOAT16: -3.3895313892515355e38,
    DType.FLOAT64: -1.7976931348623157e308,
}
"""The lowest finite number of a dtype: what a masked score becomes, so that a row masked throughout is no NaN."""


def repeat_heads(x: Tensor, times: Dim) -> Tensor:
    """Each head of `x` `times` times in a row: [B, K, T, D] -> [B, K * times, T, D] (grouped-query attention)."""
    if times == 1:
        return x
    batch, heads, seq, size = x.shape
    spread = F.expand(F.unsqueeze(x, (2,)), (batch, heads, times, seq, size))
    return F.reshape(spread, (batch, heads * times, seq, size))


def causal_keep(queries: Dim, keys: Dim, past: Dim = 0) -> Tensor:
    """Which key each query may see: bool [queries, keys], true where key <= query + past."""
    rows = F.unsqueeze(F.arange(0, queries), (1,))
    columns = F.unsqueeze(F.arange(0, keys), (0,))
    return columns <= (rows if past == 0 else rows + past)


@definition("Attention", since=23, outputs=("Y", "present_key", "present_value"))
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int = 0,
    q_num_heads: int = 0,
    qk_matmul_output_mode: int = 0,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """`softmax(q k^T * scale + mask) v`, each head for itself.

    Args:
        q: [batch, heads, seq, head_dim], or [batch, seq, heads * head_dim] with `q_num_heads`.
        k, v: [batch, kv_heads, keys, head_dim]; kv_heads divides heads (grouped-query attention).
        attn_mask: bool (true: may attend) or the dtype of q (added to the scores), broadcast to
            [batch, heads, seq, keys].
        past_key, past_value: [batch, kv_heads, past, head_dim], put before k and v.
        is_causal: query i sees keys up to i + past.
        scale: 1 / sqrt(head_dim) if not given.
        softcap: if not 0, scores become `softcap * tanh(scores / softcap)` before the mask.
        softmax_precision: the ONNX code of the dtype in which the softmax is computed; that of q if not given.

    Returns the result in the layout of q; with a past, also the present key and value.

    Source: Vaswani et al., "Attention Is All You Need", 2017, equation 1; ONNX operator Attention-23.
    """
    if q.rank == 3:
        over_heads = attention(
            split_heads(q, q_num_heads),
            split_heads(k, kv_num_heads),
            split_heads(v, kv_num_heads),
            attn_mask,
            past_key,
            past_value,
            is_causal=is_causal,
            scale=scale,
            softcap=softcap,
            softmax_precision=softmax_precision,
        )
        result, *presents = over_heads if isinstance(over_heads, tuple) else (over_heads,)
        merged = merge_heads(result, q.shape[0], q.shape[1])
        return (merged, *presents) if presents else merged
    _, heads, seq, head_dim = F.unpack_shape(q, "batch heads seq head_dim")
    _, kv_heads, _, _ = F.unpack_shape(k, "batch kv_heads keys head_dim")
    past: Dim = 0
    if past_key is not None and past_value is not None:
        past = past_key.shape[2]
        k, v = F.concat([past_key, k], 2), F.concat([past_value, v], 2)
    present = (k, v)
    group = _group(heads, kv_heads)
    keys, values = repeat_heads(k, group), repeat_heads(v, group)

    factor = scale if scale is not None else 1.0 / math.sqrt(_fixed(head_dim))
    scores = F.matmul(q, F.swap_axes(keys, -1, -2)) * factor  # [B, H, S, T]
    if softcap:
        scores = F.tanh(scores / softcap) * softcap
    lowest = lowest_of(q.dtype)
    if attn_mask is not None and attn_mask.dtype is DType.BOOL:
        scores = F.where(attn_mask, scores, lowest)
    elif attn_mask is not None:
        scores = scores + attn_mask
    if is_causal:
        scores = F.where(causal_keep(seq, keys.shape[2], past), scores, lowest)
    if softmax_precision is not None:
        scores = F.cast(scores, softmax_precision)
    result = F.matmul(F.cast(F.softmax(scores), v.dtype), values)
    return (result, *present) if past_key is not None else result


def lowest_of(dtype: DType) -> float:
    """The number in `LOWEST` for a dtype.

    Raises:
        DTypeError: attention is not computed in it.
    """
    if dtype not in LOWEST:
        message = f"attention cannot be computed in {dtype}: expected one of {', '.join(map(str, LOWEST))}"
        raise DTypeError(current_trace().locate(message))
    return LOWEST[dtype]


def split_heads(x: Tensor, heads: Dim) -> Tensor:
    """[B, S, H * D] -> [B, H, S, D]."""
    batch, seq, hidden = F.unpack_shape(x, "batch seq hidden")
    if heads == 0:
        message = f"{format_shape(x.shape)} cannot be split into heads: the number of heads is not given"
        raise ShapeError(current_trace().locate(message))
    return F.transpose(F.reshape(x, (batch, seq, heads, hidden // heads)), (0, 2, 1, 3))


def merge_heads(x: Tensor, batch: Dim, seq: Dim) -> Tensor:
    """[B, H, S, D] -> [B, S, H * D]."""
    return F.reshape(F.transpose(x, (0, 2, 1, 3)), (batch, seq, x.shape[1] * x.shape[3]))


def _group(heads: Dim, kv_heads: Dim) -> Dim:
    """How many heads share a key."""
    group = exact_div(heads, kv_heads)
    if group is None:
        message = f"{heads} heads cannot share {kv_heads} key heads: expected a number that divides {heads}"
        raise ShapeError(current_trace().locate(message))
    return group


def _fixed(size: Dim) -> int:
    if isinstance(size, int):
        return size
    message = f"attention needs a fixed head size, or its scale given; the head size is {size}"
    raise ShapeError(current_trace().locate(message))
