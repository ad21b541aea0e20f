"""Rotary position embedding."""

from __future__ import annotations

from tfgraph.dsl import functional as F
from tfgraph.dsl.definition import definition
from tfgraph.dsl.functions.attention import split_heads
from tfgraph.dsl.tensor import Tensor


@definition("RotaryEmbedding", since=23, outputs=("Y",))
def rotary_embedding(
    x: Tensor,
    cos_cache: Tensor,
    sin_cache: Tensor,
    position_ids: Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    """Rotate pairs of features by an angle that grows with the position.

    Args:
        x: [batch, heads, seq, head_dim], or [batch, seq, heads * head_dim] with `num_heads` given.
        cos_cache, sin_cache: [positions, rotary_dim / 2] with `position_ids`, else [batch, seq, rotary_dim / 2].
        position_ids: [batch, seq], int64.
        interleaved: 0 pairs feature i with i + rotary_dim / 2 (GPT-NeoX, LLaMA); 1 pairs 2i with 2i + 1 (GPT-J).
        rotary_embedding_dim: features that are rotated, from the first on; 0 for all.

    Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, equation 34; ONNX operator
    RotaryEmbedding-23.
    """
    packed = x.rank == 3
    heads = split_heads(x, num_heads) if packed else x
    _, _, _, head_dim = F.unpack_shape(heads, "batch heads seq head_dim")
    rotary_dim = rotary_embedding_dim or head_dim
    cos = cos_cache if position_ids is None else F.gather(cos_cache, position_ids)
    sin = sin_cache if position_ids is None else F.gather(sin_cache, position_ids)
    cos, sin = F.unsqueeze(cos, (1,)), F.unsqueeze(sin, (1,))  # [B, 1, S, R/2]
    rotated = heads if rotary_dim == head_dim else heads[..., :rotary_dim]
    half = rotary_dim // 2
    if interleaved:
        first, second = rotated[..., 0::2], rotated[..., 1::2]
        parts = [F.unsqueeze(first * cos - second * sin, (-1,)), F.unsqueeze(first * sin + second * cos, (-1,))]
        turned = F.reshape(F.concat(parts, -1), rotated.shape)
    else:
        first, second = rotated[..., :half], rotated[..., half:]
        turned = F.concat([first * cos - second * sin, first * sin + second * cos], -1)
    if rotary_dim != head_dim:
        turned = F.concat([turned, heads[..., rotary_dim:]], -1)
    if packed:
        turned = F.reshape(F.transpose(turned, (0, 2, 1, 3)), x.shape)
    return turned
