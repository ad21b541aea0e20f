"""Normalisation layers over the last axis: `LayerNorm`, `RMSNorm` and its zero-centred form.

What they compute is in `dsl.functions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import layer_norm, rms_norm
from tfgraph.dsl.layers.choices import choose
from tfgraph.dsl.module import Module, Parameter
from tfgraph.dsl.tensor import Tensor


class LayerNorm(Module):
    """`(x - mean) / sqrt(variance + eps) * weight + bias` over the last axis; see `functions.layer_norm`."""

    def __init__(self, hidden_size: int, eps: float = 1e-5, bias: bool = True) -> None:
        self.weight = Parameter((hidden_size,), initial="ones")
        self.bias = Parameter((hidden_size,), initial="zeros") if bias else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., hidden_size] -> the same shape."""
        weight = F.as_tensor(self.weight)
        return layer_norm(x, weight, None if self.bias is None else F.as_tensor(self.bias), epsilon=self.eps)


class RMSNorm(Module):
    """`x / sqrt(mean(x^2) + eps) * weight` over the last axis; see `functions.rms_norm`."""

    def __init__(self, hidden_size: int, eps: float = 1e-6) -> None:
        self.weight = Parameter((hidden_size,), initial="ones")
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., hidden_size] -> the same shape."""
        return rms_norm(x, F.as_tensor(self.weight), epsilon=self.eps)


class ZeroCentredRMSNorm(Module):
    """`x / sqrt(mean(x^2) + eps) * (1 + weight)` over the last axis: what is stored is the distance from 1 (Gemma)."""

    def __init__(self, hidden_size: int, eps: float = 1e-6) -> None:
        self.weight = Parameter((hidden_size,), initial="zeros")
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., hidden_size] -> the same shape."""
        return rms_norm(x, F.as_tensor(self.weight) + 1.0, epsilon=self.eps)


Norm: TypeAlias = LayerNorm | RMSNorm | ZeroCentredRMSNorm

NORMS: dict[str, Callable[[int, float], Norm]] = {
    "layer": LayerNorm,
    "rms": RMSNorm,
    "zero-centred-rms": ZeroCentredRMSNorm,
}
"""The normalisations by the names that a configuration gives them."""


def make_norm(name: str, hidden_size: int, eps: float) -> Norm:
    """The normalisation `name`, one of `NORMS`.

    Raises:
        ConfigError: there is none of that name.
    """
    return choose("normalisation", name, NORMS)(hidden_size, eps)
