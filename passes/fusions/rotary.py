"""Rotary position embedding over [batch, heads, seq, head_dim]."""

from __future__ import annotations

from tfgraph.dsl.functions import rotary_embedding
from tfgraph.dsl.trace import TensorSpec
from tfgraph.ir.dtypes import DType
from tfgraph.passes.fusion import Fusion
from tfgraph.passes.pattern import Variant, dims, floats

_WHOLE = floats("b", "n", "s", "2*r")
_ANGLES = {"cos_cache": floats("b", "s", "r"), "sin_cache": floats("b", "s", "r")}
_TABLES = {
    "cos_cache": floats("positions", "r"),
    "sin_cache": floats("positions", "r"),
    "position_ids": TensorSpec(DType.INT64, dims("b", "s")),
}


def _variants() -> tuple[Variant, ...]:
    made = []
    for angles in (_TABLES, _ANGLES):
        for interleaved in (0, 1):
            made.append(Variant({"x": _WHOLE, **angles}, {"interleaved": interleaved}, shared=frozenset(angles)))
    return tuple(made)


ROTARY = (Fusion("RotaryEmbedding", rotary_embedding, _variants()),)
