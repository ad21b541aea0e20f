"""Masks: from what a user passes as `attention_mask` to the one tensor that the operator Attention takes.

Attention takes either a bool tensor (true: may attend) or a float one (added to the scores), that broadcasts to
[batch, heads, queries, keys]. `combine_masks` makes it; the rest says what each part means.
"""

from __future__ import annotations

from tfgraph.dsl import functional as F
from tfgraph.dsl.functions.attention import causal_keep, lowest_of
from tfgraph.dsl.layers.position_bias import key_distances
from tfgraph.dsl.tensor import Tensor
from tfgraph.dsl.trace import current_trace
from tfgraph.errors import ShapeError
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Dim, Expr, Shape
from tfgraph.ir.dtypes import DType


def combine_masks(
    attention_mask: Tensor | None,
    *,
    queries: Dim,
    keys: Dim,
    past: Dim | Tensor = 0,
    causal: bool = False,
    window: int | None = None,
    position_bias: Tensor | None = None,
) -> Tensor | None:
    """Everything that limits or biases attention, in one tensor, or None where nothing does.

    Args:
        attention_mask: one of
            int or bool [batch, keys]: a padding mask, 1 or true for tokens;
            int or bool [batch, queries, keys] or [batch, heads, queries, keys]: 1 or true where a query may attend;
            float of the same two shapes: added to the scores. Any axis but the last may be 1.
        queries, keys: sizes; `keys` includes `past`, the ones in the cache.
        past: how many keys are before the first query; int64 [batch] where sequences differ in it.
        causal: query i attends to keys up to i + past.
        window: a key is seen if it is less than `window` before its query; not causal, also if less than that after.
        position_bias: float [1 or batch, heads, queries, keys], added to the scores.

    Returns bool if all there is are limits; else float, the sum of the biases, with the lowest finite number where a
    limit forbids to attend.

    Raises:
        ShapeError: a mask of another rank, or for another number of queries or keys.
        DTypeError: biases of different dtypes.
    """
    keep: Tensor | None = None
    bias = position_bias
    if attention_mask is not None:
        if attention_mask.dtype.is_float:
            mask = _with_heads(attention_mask, queries, keys, attention_mask.dtype)
            bias = mask if bias is None else bias + mask
        else:
            keep = keep_mask(attention_mask, queries, keys)
    limit = position_limit(queries, keys, past, causal, window)
    if limit is not None:
        keep = limit if keep is None else keep & limit
    if bias is None or keep is None:
        return keep if bias is None else bias
    return F.where(keep, bias, lowest_of(bias.dtype))


def keep_mask(attention_mask: Tensor, queries: Dim, keys: Dim) -> Tensor:
    """An int or bool mask of any of its forms as bool, broadcasting to [batch, heads, queries, keys]."""
    if attention_mask.rank != 2:
        return _with_heads(attention_mask, queries, keys, DType.BOOL)
    _require_sizes(attention_mask, (keys,))
    return F.unsqueeze(F.cast(attention_mask, DType.BOOL), (1, 2))


def position_limit(queries: Dim, keys: Dim, past: Dim | Tensor, causal: bool, window: int | None) -> Tensor | None:
    """Which keys a query may see by their positions alone, as bool [queries, keys]; None for all.

    With a `past` for each sequence, [batch, 1, queries, keys].
    """
    if window is None and not isinstance(past, Tensor):
        return causal_keep(queries, keys, past) if causal else None
    distances = key_distances(queries, keys, past)
    if window is None:
        return distances <= 0 if causal else None
    near = distances > -window
    return near & (distances <= 0 if causal else distances < window)


def _with_heads(mask: Tensor, queries: Dim, keys: Dim, dtype: DType) -> Tensor:
    """[batch, queries, keys] -> [batch, 1, queries, keys], in `dtype`; a mask of rank 4 keeps its shape."""
    if mask.rank not in (3, 4):
        wanted = "[batch, queries, keys] or [batch, heads, queries, keys]"
        hint = ", or a padding mask [batch, keys] of int or bool"
        message = f"attention_mask is {mask.dtype}{format_shape(mask.shape)}: expected {wanted}{hint}"
        raise ShapeError(current_trace().locate(message))
    _require_sizes(mask, (queries, keys))
    cast = F.cast(mask, dtype)
    return cast if mask.rank == 4 else F.unsqueeze(cast, (1,))


def _require_sizes(mask: Tensor, expected: Shape) -> None:
    """Refuse a mask whose last axes cannot be those of the scores, before a broadcast says so less clearly."""
    given = mask.shape[-len(expected) :]
    if all(_may_broadcast(*pair) for pair in zip(given, expected, strict=True)):
        return
    names = ("keys",) if len(expected) == 1 else ("queries", "keys")
    sizes = " and ".join(f"{size} {name}" for size, name in zip(expected, names, strict=True))
    axes = "axis" if len(expected) == 1 else "axes"
    message = (
        f"attention_mask is {mask.dtype}{format_shape(mask.shape)}, and attention is over {sizes}: "
        f"expected its last {axes} to be {format_shape(expected)}, cached keys included"
    )
    raise ShapeError(current_trace().locate(message))


def _may_broadcast(given: Dim, expected: Dim) -> bool:
    if isinstance(given, Expr) and isinstance(expected, Expr):
        return given == expected
    return given in (1, expected) or isinstance(given, Expr) or isinstance(expected, Expr)
