"""`EncoderBlock` and `DecoderBlock`: attention and MLP with residual sums and normalisations, variously arranged."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from tfgraph.dsl.layers.attention import KeyValue, MultiHeadAttention
from tfgraph.dsl.layers.choices import choose
from tfgraph.dsl.layers.long_rotary import LongRotaryPositions
from tfgraph.dsl.layers.mlp import MLP
from tfgraph.dsl.layers.moe import ExpertOptions, MixtureOfExperts
from tfgraph.dsl.layers.norms import Norm, make_norm
from tfgraph.dsl.layers.rotary import RotaryPositions
from tfgraph.dsl.module import Module
from tfgraph.dsl.tensor import Tensor
from tfgraph.dsl.trace import current_trace
from tfgraph.errors import ConfigError, TraceError

ARRANGEMENTS = {
    "pre": "x + f(norm(x))",
    "post": "norm(x + f(x))",
    "sandwich": "x + norm'(f(norm(x)))",
    "parallel": "x + attention(norm(x)) + mlp(norm(x))",
    "parallel-separate": "x + attention(norm(x)) + mlp(norm'(x))",
}
"""Where a block normalises, with f its attention and then its MLP: GPT-2 and LLaMA; BERT; Gemma 2; GPT-J; GPT-NeoX."""


@dataclass(frozen=True)
class BlockOptions:
    """What blocks of one size may differ in.

    Attributes:
        norm: one of `ARRANGEMENTS`.
        norm_type: one of `norms.NORMS`.
        eps: what the normalisations add to the variance.
        activation, gated: of the MLP.
        bias: whether the projections of attention and MLP have a bias; `out_bias` is for the last one of attention, and
            `mlp_bias` for the MLP, where they differ.
        num_kv_heads, head_dim, window, rotary, scale, softcap, qk_norm: of the attention; see `MultiHeadAttention`.
        experts: if given, there is a `MixtureOfExperts` in the place of the MLP.
    """

    norm: str = "pre"
    norm_type: str = "layer"
    eps: float = 1e-5
    activation: str = "gelu"
    gated: bool = False
    bias: bool = True
    out_bias: bool | None = None
    mlp_bias: bool | None = None
    num_kv_heads: int | None = None
    head_dim: int | None = None
    window: int | None = None
    rotary: RotaryPositions | LongRotaryPositions | None = None
    scale: float | None = None
    softcap: float = 0.0
    qk_norm: str | None = None
    experts: ExpertOptions | None = None

    def attention(self, hidden_size: int, num_heads: int, causal: bool) -> MultiHeadAttention:
        """The self-attention of a block."""
        return MultiHeadAttention(
            hidden_size,
            num_heads,
            num_kv_heads=self.num_kv_heads,
            head_dim=self.head_dim,
            bias=self.bias,
            out_bias=self.out_bias,
            causal=causal,
            window=self.window,
            rotary=self.rotary,
            scale=self.scale,
            softcap=self.softcap,
            qk_norm=self.qk_norm,
            qk_norm_eps=self.eps,
        )

    def mlp(self, hidden_size: int, intermediate_size: int) -> MLP | MixtureOfExperts:
        """The MLP of a block, or what is in its place."""
        bias = self.bias if self.mlp_bias is None else self.mlp_bias
        if self.experts is not None:
            return MixtureOfExperts(hidden_size, intermediate_size, self.experts, self.activation, self.gated, bias)
        return MLP(hidden_size, intermediate_size, self.activation, self.gated, bias)


def _settle(options: BlockOptions | None, changes: dict[str, Any]) -> BlockOptions:
    """`options`, or the defaults, with `changes` made."""
    for name in changes:
        choose("option of a block", name, {field.name: field for field in fields(BlockOptions)})
    chosen = replace(options or BlockOptions(), **changes)
    choose("arrangement of a block", chosen.norm, ARRANGEMENTS)
    return chosen


class _Block(Module):
    """What encoder and decoder blocks share: the parts, and where they are normalised."""

    def __init__(
        self, hidden_size: int, num_heads: int, intermediate_size: int, chosen: BlockOptions, causal: bool
    ) -> None:
        def norm() -> Norm:
            return make_norm(chosen.norm_type, hidden_size, chosen.eps)

        self.arrangement = chosen.norm
        self.norm1 = norm()
        self.attention = chosen.attention(hidden_size, num_heads, causal)
        self.post_norm1 = norm() if chosen.norm == "sandwich" else None
        self.norm2 = None if chosen.norm == "parallel" else norm()
        self.mlp = chosen.mlp(hidden_size, intermediate_size)
        self.post_norm2 = norm() if chosen.norm == "sandwich" else None

    @property
    def parallel(self) -> bool:
        """Whether attention and MLP are given the same `x`."""
        return self.arrangement.startswith("parallel")

    def _before(self, x: Tensor, norm: Module) -> Tensor:
        """What a part is given."""
        return x if self.arrangement == "post" else norm(x)

    def _after(self, x: Tensor, made: Tensor, norm: Module, post_norm: Module | None = None) -> Tensor:
        """The residual sum of `x` and what a part made of it, and what follows the sum."""
        total = x + (made if post_norm is None else post_norm(made))
        return norm(total) if self.arrangement == "post" else total

    def _add(self, x: Tensor, inner: Tensor, attended: Tensor, norm: Module | None = None) -> Tensor:
        """`x` plus what attention made of `inner`, then plus the MLP; `norm` is that of the attention."""
        if self.parallel or self.norm2 is None:
            made: Tensor = self.mlp(inner if self.norm2 is None else self.norm2(x))
            return x + attended + made
        x = self._after(x, attended, norm or self.norm1, self.post_norm1)
        return self._after(x, self.mlp(self._before(x, self.norm2)), self.norm2, self.post_norm2)


class EncoderBlock(_Block):
    """Self-attention in both directions, then an MLP: [batch, seq, hidden_size] -> the same shape.

    What blocks may differ in is given as `BlockOptions`, or by name: `EncoderBlock(768, 12, 3072, norm="post")`.

    Raises:
        ConfigError: an unknown option, arrangement, normalisation or activation; sizes that do not divide.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        intermediate_size: int,
        options: BlockOptions | None = None,
        **changes: Any,
    ) -> None:
        super().__init__(hidden_size, num_heads, intermediate_size, _settle(options, changes), causal=False)

    def forward(
        self,
        x: Tensor,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """[batch, seq, hidden_size] -> the same shape; the other arguments are those of `MultiHeadAttention`."""
        inner = self._before(x, self.norm1)
        attended = self.attention(
            inner, attention_mask=attention_mask, position_bias=position_bias, position_ids=position_ids
        )
        return self._add(x, inner, attended)


class DecoderBlock(_Block):
    """Causal self-attention, attention to a context if there is `cross_attention`, then an MLP; with a cache.

    What blocks may differ in is given as `BlockOptions`, or by name: `DecoderBlock(768, 12, 3072, norm_type="rms")`.

    Raises:
        ConfigError: an unknown option, arrangement, normalisation or activation; sizes that do not divide; cross
            attention in a parallel block.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        intermediate_size: int,
        options: BlockOptions | None = None,
        *,
        cross_attention: bool = False,
        **changes: Any,
    ) -> None:
        chosen = _settle(options, changes)
        super().__init__(hidden_size, num_heads, intermediate_size, chosen, causal=True)
        if cross_attention and self.parallel:
            raise ConfigError("a parallel block has no place for cross attention: expected norm='pre' or norm='post'")
        self.cross_norm = make_norm(chosen.norm_type, hidden_size, chosen.eps) if cross_attention else None
        self.cross_attention = chosen.attention(hidden_size, num_heads, causal=False) if cross_attention else None

    def forward(
        self,
        x: Tensor,
        context: Tensor | KeyValue | None = None,
        attention_mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_value: KeyValue | None = None,
        use_cache: bool = False,
        cache_lengths: Tensor | None = None,
        queries: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, KeyValue]:
        """[batch, seq, hidden_size] -> the same shape; with `use_cache`, also the key and value of the self-attention.

        `context` and `context_mask` are for the cross attention, the other arguments for the self-attention; see
        `MultiHeadAttention`.

        Raises:
            TraceError: cross attention without a context, or a context without cross attention.
        """
        if (context is None) != (self.cross_attention is None):
            given, made = ("no context", "with") if context is None else ("a context", "without")
            message = f"{given} for a block made {made} cross_attention: pass both, or none"
            raise TraceError(current_trace().locate(message))
        inner = self._before(x, self.norm1)
        attended, present = self.attention(
            inner,
            attention_mask=attention_mask,
            position_bias=position_bias,
            position_ids=position_ids,
            past_key_value=past_key_value,
            use_cache=True,
            cache_lengths=cache_lengths,
            queries=queries,
        )
        if self.cross_attention is not None and self.cross_norm is not None:
            x = self._after(x, attended, self.norm1, self.post_norm1)
            inner = self._before(x, self.cross_norm)
            attended = self.cross_attention(inner, context, attention_mask=context_mask)
            result = self._add(x, inner, attended, self.cross_norm)
        else:
            result = self._add(x, inner, attended)
        return (result, present) if use_cache else result
