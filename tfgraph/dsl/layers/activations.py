"""The activations by name, as the configurations of published models spell them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import gelu, quick_gelu, swish
from tfgraph.dsl.layers.choices import choose
from tfgraph.dsl.tensor import Tensor

Activation: TypeAlias = Callable[[Tensor], Tensor]


def gelu_tanh(x: Tensor) -> Tensor:
    """The GELU by its tanh approximation; see `functions.gelu`."""
    return gelu(x, approximate="tanh")


def relu_squared(x: Tensor) -> Tensor:
    """`max(x, 0)^2`.

    Source: So et al., "Primer: Searching for Efficient Transformers for Language Modeling", 2021, section 3.
    """
    positive = F.relu(x)
    return positive * positive


ACTIVATIONS: dict[str, Activation] = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "relu2": relu_squared,
    "silu": swish,
    "swish": swish,
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
}
"""Every activation that a layer takes, with its aliases."""


def get_activation(name: str) -> Activation:
    """The activation `name`.

    Raises:
        ConfigError: there is none of that name; the message lists them.
    """
    return choose("activation", name, ACTIVATIONS)
