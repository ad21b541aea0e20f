"""LayerNorm and RMSNorm, and their forms with the residual sum inside."""

from __future__ import annotations

from tfgraph.dsl.functions import layer_norm, rms_norm, skip_layer_norm, skip_rms_norm
from tfgraph.dsl.trace import TensorSpec
from tfgraph.ir.dtypes import DType
from tfgraph.passes.fusion import Fusion
from tfgraph.passes.pattern import ANY, Variant, floats

_X = floats("...", "h")
_VECTOR = floats("h")
_OF_X = frozenset({"x"})
"""Norms of one input, as in blocks with parallel branches, have all in common but their weights."""


def _norm(*choices: tuple[str, ...]) -> tuple[Variant, ...]:
    """For each choice of vectors, a variant in one dtype throughout, and one with its statistics in float32.

    In the second, float16 stands for the other dtype, whatever it is.
    """
    return tuple(
        Variant(
            {"x": TensorSpec(dtype, _X.shape), **dict.fromkeys(vectors, TensorSpec(dtype, _VECTOR.shape))},
            {"epsilon": ANY},
            shared=_OF_X,
        )
        for dtype in (DType.FLOAT32, DType.FLOAT16)
        for vectors in choices
    )


NORMS = (
    Fusion("LayerNormalization", layer_norm, _norm(("scale", "bias"), ("scale",)), witness="ReduceMean"),
    Fusion("RMSNormalization", rms_norm, _norm(("scale",)), witness="ReduceMean"),
)

_OUTPUT_AND_SUM = (0, 3)
_LEADING = (("b", "s"), ("n",))


def _skip(*choices: tuple[str, ...]) -> tuple[Variant, ...]:
    """A variant for each choice of vectors, over [batch, seq, hidden] and over [tokens, hidden]."""
    variants = []
    for vectors in choices:
        for leading in _LEADING:
            x = floats(*leading, "h")
            inputs = {"input": x, "skip": x, **dict.fromkeys(vectors, _VECTOR)}
            variants.append(Variant(inputs, {"epsilon": ANY}, _OUTPUT_AND_SUM))
    return tuple(variants)


SKIP_NORMS = (
    Fusion(
        "com.microsoft::SkipLayerNormalization",
        skip_layer_norm,
        _skip(("gamma", "beta", "bias"), ("gamma", "beta"), ("gamma", "bias"), ("gamma",)),
    ),
    Fusion("com.microsoft::SkipSimplifiedLayerNormalization", skip_rms_norm, _skip(("gamma", "bias"), ("gamma",))),
)
