"""Attention: first ONNX's operator over separate heads, then ONNX Runtime's over folded ones, built from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tfgraph.dsl.functions import attention, multi_head_attention, packed_attention
from tfgraph.dsl.trace import TensorSpec
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import broadcast_equal, symbol
from tfgraph.ir.dtypes import DType
from tfgraph.passes.bindings import Bindings
from tfgraph.passes.fusion import Fusion
from tfgraph.passes.pattern import ANY, Pattern, Variant, dims, floats

_GROUP = symbol("group") * symbol("k")


def _attention_variants() -> Iterator[Variant]:
    """Every combination of mask, grouping, past, soft cap, causality and scale; the most specific first."""
    for past in (True, False):
        for grouped in (True, False):  # else repeated heads would be taken for heads
            heads, kv_heads = (_GROUP, "k") if grouped else ("n", "n")
            keys = "t"
            inputs = {
                "q": floats("b", heads, "s", "d"),
                "k": floats("b", kv_heads, keys, "d"),
                "v": floats("b", kv_heads, keys, "e"),
            }
            if past:
                inputs["past_key"] = floats("b", kv_heads, "past", "d")
                inputs["past_value"] = floats("b", kv_heads, "past", "e")
            total = symbol("past") + symbol("t") if past else symbol("t")
            for mask in (None, DType.FLOAT32, DType.BOOL):
                masked = dict(inputs)
                if mask is not None:
                    masked["attn_mask"] = TensorSpec(mask, dims(1, 1, "s", total))
                for causal in (0, 1):
                    for softcap in (0.0, ANY):
                        for scale in (ANY, 1.0):
                            attributes: dict[str, Any] = {"is_causal": causal, "scale": scale}
                            if softcap:
                                attributes["softcap"] = softcap
                            broadcast = frozenset({"attn_mask"} & set(masked))
                            yield Variant(masked, attributes, (0, 1, 2) if past else (0,), broadcast)


def _mask_rank(pattern: Pattern, bindings: Bindings) -> str | None:
    """ONNX asks for a mask of rank 2 to 4."""
    mask = pattern.inputs.get("attn_mask")
    if mask is None:
        return None
    rank = bindings.values[mask].type.rank
    return None if 2 <= rank <= 4 else f"its mask has rank {rank}, and 2 to 4 are expected"


ATTENTION = Fusion("Attention", attention, tuple(_attention_variants()), witness="Softmax", extra_check=_mask_rank)


def _folded_attention_variants() -> Iterator[Variant]:
    """Attention over [batch, seq, heads * head_dim]: the definition splits the heads and calls itself."""
    for past in (True, False):
        for grouped in (True, False):  # else repeated heads would be taken for heads
            heads, kv_heads = (_GROUP, symbol("k")) if grouped else (symbol("n"), symbol("n"))
            inputs = {
                "q": floats("b", "s", heads * symbol("d")),
                "k": floats("b", "t", kv_heads * symbol("d")),
                "v": floats("b", "t", kv_heads * symbol("e")),
            }
            if past:
                inputs["past_key"] = floats("b", kv_heads, "past", "d")
                inputs["past_value"] = floats("b", kv_heads, "past", "e")
            total = symbol("past") + symbol("t") if past else symbol("t")
            for mask in (False, True):
                masked = {**inputs, "attn_mask": floats(1, 1, "s", total)} if mask else inputs
                for causal in (0, 1):
                    attributes = {
                        "q_num_heads": heads,
                        "kv_num_heads": kv_heads,
                        "is_causal": causal,
                        "scale": ANY,
                        "softcap": ANY,
                    }
                    broadcast = frozenset({"attn_mask"} & set(masked))
                    yield Variant(masked, attributes, (0, 1, 2) if past else (0,), broadcast)


FOLDED_ATTENTION = Fusion("Attention", attention, tuple(_folded_attention_variants()))

_HIDDEN = symbol("n") * symbol("d")
_FOLDED = {
    "query": floats("b", "s", _HIDDEN),
    "key": floats("b", "t", _HIDDEN),
    "value": floats("b", "t", symbol("n") * symbol("e")),
}
_BIAS = frozenset({"attention_bias"})
_PADDING = TensorSpec(DType.INT32, dims("b", "t"))


def _folded_variants() -> Iterator[Variant]:
    for unidirectional in (0, 1):
        attributes = {"num_heads": symbol("n"), "scale": ANY, "unidirectional": unidirectional}
        yield Variant(
            {**_FOLDED, "key_padding_mask": _PADDING},
            {**attributes, "mask_filter_value": ANY},
            shared=frozenset({"key_padding_mask"}),
        )
        yield Variant({**_FOLDED, "attention_bias": floats(1, 1, "s", "t")}, attributes, broadcast=_BIAS)
        yield Variant(_FOLDED, attributes)


def _kernel_limits(pattern: Pattern, bindings: Bindings) -> str | None:
    """The kernels take a bias of [batch or 1, heads or 1, queries, keys], the last two written out.

    MultiHeadAttention is causal only where there are as many keys as queries (checked with ONNX Runtime 1.31).
    """
    if pattern.variant.attributes["unidirectional"] and bindings.sizes["s"] != bindings.sizes.get(
        "t", bindings.sizes["s"]
    ):
        return "it is causal over other keys than queries, which the kernel does not align"
    bias = pattern.inputs.get("attention_bias")
    if bias is None:
        return None
    shape = bindings.values[bias].type.shape
    queries, keys = bindings.sizes["s"], bindings.sizes.get("t", bindings.sizes["s"])
    fits = (
        len(shape) == 4
        and shape[0] in (1, bindings.sizes["b"])
        and shape[1] in (1, bindings.sizes["n"])
        and all(
            given == wanted or broadcast_equal(given, wanted) is not None
            for given, wanted in zip(shape[2:], (queries, keys), strict=True)
        )
    )
    return None if fits else f"its bias has shape {format_shape(shape)}, which the kernel does not broadcast"


MULTI_HEAD_ATTENTION = Fusion(
    "com.microsoft::MultiHeadAttention", multi_head_attention, tuple(_folded_variants()), extra_check=_kernel_limits
)

_PACKED = {
    "input": floats("b", "s", "h"),
    "weights": floats("h", 3 * _HIDDEN),
    "bias": floats(3 * _HIDDEN),
}


def _packed_variants() -> Iterator[Variant]:
    for unidirectional in (0, 1):
        attributes = {"num_heads": symbol("n"), "scale": ANY, "unidirectional": unidirectional}
        mask = {"mask_index": TensorSpec(DType.INT32, dims("b", "s"))}
        yield Variant({**_PACKED, **mask}, {**attributes, "mask_filter_value": ANY}, shared=frozenset(mask))
        yield Variant({**_PACKED, "attention_bias": floats(1, 1, "s", "s")}, attributes, broadcast=_BIAS)
        yield Variant(_PACKED, attributes)


PACKED_ATTENTION = Fusion(
    "com.microsoft::Attention", packed_attention, tuple(_packed_variants()), extra_check=_kernel_limits
)
