"""The GELU family and SiLU, alone and with the bias of the linear layer before them inside."""

from __future__ import annotations

from tfgraph.dsl.functions import bias_gelu, fast_gelu, gelu, quick_gelu
from tfgraph.passes.fusion import Fusion
from tfgraph.passes.pattern import ANY, Variant, floats

_X = floats("...", "h")

STANDARD_ACTIVATIONS = (
    Fusion("Gelu", gelu, (Variant({"x": _X}, {"approximate": "none"}),), witness="Erf"),
    Fusion("Gelu", gelu, (Variant({"x": _X}, {"approximate": "tanh"}),)),
    Fusion(
        "com.microsoft::QuickGelu",
        quick_gelu,
        (Variant({"x": _X}, {"alpha": 1.0}), Variant({"x": _X}, {"alpha": ANY})),
    ),
)

BIASED_ACTIVATIONS = (
    Fusion("com.microsoft::BiasGelu", bias_gelu, (Variant({"a": _X, "b": floats("h")}),)),
    Fusion("com.microsoft::FastGelu", fast_gelu, (Variant({"x": _X, "bias": floats("h")}), Variant({"x": _X}))),
)
