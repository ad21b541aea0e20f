"""Activations that are more than one primitive: the GELU family and SiLU."""

from __future__ import annotations

import math

from tfgraph.dsl import functional as F
from tfgraph.dsl.definition import definition
from tfgraph.dsl.tensor import Tensor


@definition("Gelu", since=20, outputs=("Y",))
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """`x * Phi(x)`, with Phi the standard normal distribution function: exact by erf, or by its tanh approximation.

    Source: Hendrycks, Gimpel, "Gaussian Error Linear Units", 2016, equations 1 and 2; ONNX operator Gelu-20.
    """
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
        return 0.5 * (x * (1.0 + F.tanh(inner)))
    return 0.5 * (x * (1.0 + F.erf(x / math.sqrt(2.0))))


@definition("com.microsoft::Gelu", outputs=("Y",))
def microsoft_gelu(x: Tensor) -> Tensor:
    """The exact GELU under ONNX Runtime's own name; see `gelu`."""
    return gelu(x)


@definition("com.microsoft::BiasGelu", outputs=("C",))
def bias_gelu(a: Tensor, b: Tensor) -> Tensor:
    """The exact GELU of `a + b`, with `b` a vector over the last axis."""
    return gelu(a + b)


@definition("com.microsoft::FastGelu", outputs=("Y",))
def fast_gelu(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """The GELU by tanh of `x + bias`, with `bias` a vector over the last axis."""
    return gelu(x if bias is None else x + bias, approximate="tanh")


@definition("com.microsoft::QuickGelu", outputs=("Y",))
def quick_gelu(x: Tensor, *, alpha: float = 1.702) -> Tensor:
    """`x * sigmoid(alpha * x)`: the GELU's sigmoid approximation, and SiLU where `alpha` is 1."""
    return x * F.sigmoid(x if alpha == 1.0 else alpha * x)


@definition("Swish", since=24, outputs=("Y",))
def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """`x * sigmoid(alpha * x)`; SiLU where `alpha` is 1.

    Source: Ramachandran, Zoph, Le, "Searching for Activation Functions", 2017; ONNX operator Swish-24.
    """
    return x * F.sigmoid(x if alpha == 1.0 else alpha * x)
