"""`MLP`: the feed-forward part of a block."""

from __future__ import annotations

from tfgraph.dsl.layers.activations import get_activation
from tfgraph.dsl.layers.choices import require_positive
from tfgraph.dsl.layers.linear import Linear
from tfgraph.dsl.module import Module
from tfgraph.dsl.tensor import Tensor


class MLP(Module):
    """`down(act(up(x)))`, or, gated, `down(act(gate(x)) * up(x))`: [..., hidden_size] -> the same shape.

    Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.3; gated: Shazeer, "GLU Variants Improve
    Transformer", 2020, equation 6.

    Raises:
        ConfigError: an unknown activation, or a size that is not at least 1.
    """

    def __init__(
        self, hidden_size: int, intermediate_size: int, activation: str = "gelu", gated: bool = False, bias: bool = True
    ) -> None:
        require_positive(hidden_size=hidden_size, intermediate_size=intermediate_size)
        self.activation = get_activation(activation)
        self.gate = Linear(hidden_size, intermediate_size, bias) if gated else None
        self.up = Linear(hidden_size, intermediate_size, bias)
        self.down = Linear(intermediate_size, hidden_size, bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., hidden_size] -> the same shape."""
        up: Tensor = self.up(x)
        inner = self.activation(up) if self.gate is None else self.activation(self.gate(x)) * up
        result: Tensor = self.down(inner)
        return result
