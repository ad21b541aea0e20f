"""Normalisation layers over the last axis: `LayerNorm`, `RMSNorm`. What they compute is in `dsl.functions`."""

from __future__ import annotations

from collections.abc import Callable

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


NORMS: dict[str, Callable[[int, float], LayerNorm | RMSNorm]] = {"layer": LayerNorm, "rms": RMSNorm}
"""The normalisations by the names that a configuration gives them."""


def make_norm(name: str, hidden_size: int, eps: float) -> LayerNorm | RMSNorm:
    """The normalisation `name`, `"layer"` or `"rms"`.

    Raises:
        ConfigError: there is none of that name.
    """
    return choose("normalisation", name, NORMS)(hidden_size, eps)
