"""`MixtureOfExperts`: in the place of one MLP several, a few of which are chosen for each token."""

from __future__ import annotations

from dataclasses import dataclass

from tfgraph.dsl import functional as F
from tfgraph.dsl.layers.choices import require_positive
from tfgraph.dsl.layers.linear import Linear
from tfgraph.dsl.layers.mlp import MLP
from tfgraph.dsl.module import Module, ModuleList
from tfgraph.dsl.tensor import Tensor
from tfgraph.errors import ConfigError
from tfgraph.ir.dtypes import DType


@dataclass(frozen=True)
class ExpertOptions:
    """How many experts there are, and how they are chosen.

    Attributes:
        num_experts: MLPs to choose from.
        experts_per_token: how many are chosen for each token: those of the highest probability.
        normalise: the probabilities of those chosen are divided by their sum (Mixtral).

    Raises:
        ConfigError: a number below 1, or more chosen than there are.
    """

    num_experts: int
    experts_per_token: int
    normalise: bool = True

    def __post_init__(self) -> None:
        require_positive(num_experts=self.num_experts, experts_per_token=self.experts_per_token)
        if self.experts_per_token > self.num_experts:
            raise ConfigError(
                f"experts_per_token is {self.experts_per_token}: expected at most num_experts, {self.num_experts}"
            )


class MixtureOfExperts(Module):
    """The sum of what the chosen experts make of a token, each weighted with its probability.

    An expert is given the tokens that chose it and no others: a token costs as much as `experts_per_token` MLPs, and
    the weights of an expert that no token chose are not read.

    Source: Shazeer et al., "Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer", 2017,
    section 2; in this form Jiang et al., "Mixtral of Experts", 2024, section 2.1.

    Raises:
        ConfigError: an unknown activation, or a size that is not at least 1.
    """

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        options: ExpertOptions,
        activation: str = "silu",
        gated: bool = True,
        bias: bool = False,
    ) -> None:
        self.options = options
        self.router = Linear(hidden_size, options.num_experts, bias=False)
        self.experts = ModuleList(
            MLP(hidden_size, intermediate_size, activation, gated, bias) for _ in range(options.num_experts)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[batch, seq, hidden_size] -> the same shape."""
        batch, seq, width = F.unpack_shape(x, "batch seq hidden")
        tokens, count = batch * seq, self.options.experts_per_token
        rows = F.reshape(x, (tokens, width))
        weights, chosen = self._route(rows)  # [T, K]
        experts = F.reshape(chosen, (tokens * count,))  # a place for each token and choice, in this order: [T * K]
        places, made = [], []
        for index, expert in enumerate(self.experts):
            mine = F.squeeze(F.nonzero(F.equal(experts, index)), (0,))  # the places of this expert
            places.append(mine)
            made.append(expert(F.gather(rows, mine / count)))
        empty = F.expand(F.cast(0.0, x.dtype), (tokens * count, width))
        results = F.scatter_rows(empty, F.concat(places, 0), F.concat(made, 0))
        weighted = F.reshape(results, (tokens, count, width)) * F.unsqueeze(F.cast(weights, x.dtype), (2,))
        total = F.reduce_sum(weighted, (1,), keepdims=False)
        return F.reshape(total, (batch, seq, width))

    def _route(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """For tokens [T, hidden_size], the weights, float32, and the numbers, int64, of their experts: each [T, K]."""
        probabilities = F.softmax(F.cast(self.router(rows), DType.FLOAT32))
        weights, chosen = F.top_k(probabilities, self.options.experts_per_token)
        return (weights / F.reduce_sum(weights, (-1,)) if self.options.normalise else weights), chosen
