"""`MultiHeadAttention`: projections around the operator Attention, with any mask, positions and a cache.

What attention computes is defined in `dsl.functions.attention`; how masks combine is in `masks.py`.
"""

from __future__ import annotations

from typing import TypeAlias

from tfgraph.dsl import functional as F
from tfgraph.dsl.functions.attention import attention, merge_heads, split_heads
from tfgraph.dsl.layers.choices import require_divides, require_positive
from tfgraph.dsl.layers.linear import Linear
from tfgraph.dsl.layers.long_rotary import LongRotaryPositions
from tfgraph.dsl.layers.masks import combine_masks
from tfgraph.dsl.layers.norms import make_norm
from tfgraph.dsl.layers.positions import sequence_positions
from tfgraph.dsl.layers.rotary import RotaryPositions
from tfgraph.dsl.module import Module
from tfgraph.dsl.tensor import Tensor
from tfgraph.dsl.trace import current_trace
from tfgraph.errors import ConfigError, TraceError
from tfgraph.ir.dims import Dim

KeyValue: TypeAlias = tuple[Tensor, Tensor]
"""Keys and values, each [batch, kv_heads, keys, head_dim]: a cache, or a projected context."""


class MultiHeadAttention(Module):
    """Attention of several heads over the sequence itself, or over a context: [batch, seq, hidden_size] -> the same.

    Args:
        hidden_size: features of the input and of the result.
        num_heads: heads of the query.
        num_kv_heads: heads of key and value, each shared by `num_heads / num_kv_heads` query heads; `num_heads` if not
            given (grouped-query attention, Ainslie et al. 2023; 1: multi-query attention, Shazeer 2019).
        head_dim: features of a head; `hidden_size / num_heads` if not given.
        bias, out_bias: whether the projections of query, key and value, and that of the result, have a bias; `out_bias`
            is as `bias` if not given.
        causal: each position attends to itself and those before it.
        window: a position attends to the last `window` positions, itself included; not causal, to as many after it too.
        rotary: positions as rotations of query and key; one instance may serve many layers.
        scale: what scores are multiplied by; `1 / sqrt(head_dim)` if not given.
        softcap: if not 0, scores become `softcap * tanh(scores / softcap)` before masks (Gemma 2).
        qk_norm: the normalisation of each head of query and key, before rotary positions: one of `norms.NORMS`, or None
            (Henry et al., "Query-Key Normalization for Transformers", 2020; in this form Qwen3 and Gemma 3).
        qk_norm_eps: what that normalisation adds to the variance.
        kv_hidden_size: features of the context, if not `hidden_size`.

    Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.2.2.

    Raises:
        ConfigError: heads that do not divide the hidden size, key heads that do not divide the heads, a size below 1,
            or rotary positions for another head size.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        bias: bool = True,
        out_bias: bool | None = None,
        causal: bool = False,
        window: int | None = None,
        rotary: RotaryPositions | LongRotaryPositions | None = None,
        scale: float | None = None,
        softcap: float = 0.0,
        qk_norm: str | None = None,
        qk_norm_eps: float = 1e-6,
        kv_hidden_size: int | None = None,
    ) -> None:
        require_positive(
            hidden_size=hidden_size, num_heads=num_heads, num_kv_heads=num_kv_heads, head_dim=head_dim, window=window,
            kv_hidden_size=kv_hidden_size,
        )  # fmt: skip
        if head_dim is None:
            require_divides("num_heads", num_heads, "hidden_size", hidden_size, advice=", or head_dim given")
            head_dim = hidden_size // num_heads
        kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        require_divides("num_kv_heads", kv_heads, "num_heads", num_heads)
        if rotary is not None and rotary.head_dim != head_dim:
            raise ConfigError(
                f"rotary positions for heads of {rotary.head_dim} features do not fit attention with "
                f"head_dim={head_dim}: expected RotaryPositions({head_dim})"
            )
        self.num_heads, self.num_kv_heads, self.head_dim = num_heads, kv_heads, head_dim
        self.causal, self.window, self.scale, self.softcap = causal, window, scale, softcap
        source_size = hidden_size if kv_hidden_size is None else kv_hidden_size
        self.query = Linear(hidden_size, num_heads * head_dim, bias)
        self.key = Linear(source_size, kv_heads * head_dim, bias)
        self.value = Linear(source_size, kv_heads * head_dim, bias)
        self.output = Linear(num_heads * head_dim, hidden_size, bias if out_bias is None else out_bias)
        self.query_norm = None if qk_norm is None else make_norm(qk_norm, head_dim, qk_norm_eps)
        self.key_norm = None if qk_norm is None else make_norm(qk_norm, head_dim, qk_norm_eps)
        self.rotary = rotary

    def forward(
        self,
        x: Tensor,
        context: Tensor | KeyValue | None = None,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_value: KeyValue | None = None,
        use_cache: bool = False,
        cache_lengths: Tensor | None = None,
        queries: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, KeyValue]:
        """Attend.

        Args:
            x: [batch, seq, hidden_size].
            context: what to attend to instead of `x`: [batch, keys, kv_hidden_size], or the keys and values that
                `project_context` made of it, so that a decoder projects its context once.
            attention_mask: which keys count, the cached ones included; see `masks.combine_masks` for its forms.
            position_bias: [1 or batch, num_heads, seq, keys], added to the scores.
            position_ids: [batch, seq], int64, for rotary positions; those after the cached ones if not given.
            past_key_value: keys and values of earlier positions, each [batch, num_kv_heads, past, head_dim].
            use_cache: also return keys and values, those of the past included.
            cache_lengths: [batch], int64: how much of each sequence a cache of fixed length holds. `past_key_value` is
                then [batch, num_kv_heads, capacity, head_dim], and new keys and values are written into it at these
                positions; what is behind the newest is never attended to.
            queries: [batch, seq, hidden_size], what queries are made of instead of `x` (PanGu-alpha).

        Returns [batch, seq, hidden_size]; with `use_cache`, also the key and value to pass the next time.

        Raises:
            ShapeError: sizes that do not fit; the message opens with the user's line.
            TraceError: a past together with a context, whose keys do not grow.
        """
        batch, seq, _ = F.unpack_shape(x, "batch seq hidden")
        query = split_heads(self.query(x if queries is None else queries), self.num_heads)  # [B, H, S, D]
        if self.query_norm is not None:
            query = self.query_norm(query)
        if context is None:
            key, value = self.project_context(x)
            query, key = self._rotate(query, key, position_ids, batch, seq, past_key_value)
        else:
            if past_key_value is not None:
                message = "past_key_value with a context: the keys of a context do not grow; pass them as context"
                raise TraceError(current_trace().locate(message))
            key, value = context if isinstance(context, tuple) else self.project_context(context)
        cached = _length(past_key_value)
        past: Dim | Tensor = cached
        keys = cached + key.shape[2]
        if cache_lengths is not None and past_key_value is not None:
            key, value = (
                F.tensor_scatter(cache, new, cache_lengths)
                for cache, new in zip(past_key_value, (key, value), strict=True)
            )
            past, keys, past_key_value = cache_lengths, key.shape[2], None
        causal = self.causal and context is None
        window = self.window if context is None else None
        by_mask = window is not None or isinstance(past, Tensor)  # whether `causal` is said by the mask
        mask = combine_masks(
            attention_mask,
            queries=seq,
            keys=keys,
            past=past,
            causal=causal and by_mask,
            window=window,
            position_bias=position_bias,
        )
        past_key, past_value = past_key_value or (None, None)
        result = attention(
            query, key, value, mask, past_key, past_value,
            is_causal=int(causal and not by_mask), scale=self.scale, softcap=self.softcap,
        )  # fmt: skip
        if isinstance(result, tuple):
            result, key, value = result
        output: Tensor = self.output(merge_heads(result, batch, seq))
        return (output, (key, value)) if use_cache else output

    def project_context(self, context: Tensor) -> KeyValue:
        """The keys and values of [batch, keys, kv_hidden_size], each [batch, num_kv_heads, keys, head_dim]."""
        key = split_heads(self.key(context), self.num_kv_heads)
        if self.key_norm is not None:
            key = self.key_norm(key)
        return key, split_heads(self.value(context), self.num_kv_heads)

    def _rotate(
        self, query: Tensor, key: Tensor, position_ids: Tensor | None, batch: Dim, seq: Dim, past: KeyValue | None
    ) -> tuple[Tensor, Tensor]:
        if self.rotary is None:
            return query, key
        if position_ids is None:
            position_ids = sequence_positions(batch, seq, _length(past))
        return self.rotary(query, position_ids), self.rotary(key, position_ids)


def _length(cache: KeyValue | None) -> Dim:
    """How many positions a cache holds."""
    return 0 if cache is None else F.unpack_shape(cache[0], "batch kv_heads past head_dim")[2]
