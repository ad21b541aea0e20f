"""Attention over a cache of fixed length, written into in place: what decoders with `cache_lengths` are made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tfgraph.dsl.functions import cached_attention
from tfgraph.dsl.trace import TensorSpec
from tfgraph.ir.dims import symbol
from tfgraph.ir.dtypes import DType
from tfgraph.passes.fusion import Fusion
from tfgraph.passes.pattern import ANY, Variant, dims, floats

_RESULTS = (0, 1, 2)


def _variants() -> Iterator[Variant]:
    """Grouped or not, and with rotary positions of whole heads, from tables or computed, or none."""
    for heads, kv_heads in ((symbol("group") * symbol("k"), symbol("k")), (symbol("n"), symbol("n"))):
        size = symbol("d")
        inputs = {
            "query": floats("b", "s", heads * size),
            "key": floats("b", "s", kv_heads * size),
            "value": floats("b", "s", kv_heads * size),
            "past_key": floats("b", kv_heads, "capacity", size),
            "past_value": floats("b", kv_heads, "capacity", size),
            "cache_lengths": TensorSpec(DType.INT64, dims("b")),
        }
        tables = dict.fromkeys(("cos_cache", "sin_cache"), floats("positions", "r"))
        angles = dict.fromkeys(("cos_cache", "sin_cache"), floats("b", "s", "r"))
        rotations: list[tuple[dict[str, TensorSpec], dict[str, Any]]] = [
            ({**inputs, **given}, {"rotary_interleaved": interleaved})
            for given in (tables, angles)
            for interleaved in (0, 1)
        ]
        for operands, rotation in (*rotations, (inputs, {})):
            attributes = {"num_heads": heads, "kv_num_heads": kv_heads, "scale": ANY, "softcap": ANY, **rotation}
            shared = frozenset({"cache_lengths", "cos_cache", "sin_cache"} & set(operands))
            yield Variant(operands, attributes, _RESULTS, shared=shared)


CACHED_ATTENTION = Fusion("tfgraph::CachedAttention", cached_attention, tuple(_variants()))
