"""`Linear`: a matrix and a bias."""

from __future__ import annotations

from tfgraph.dsl import functional as F
from tfgraph.dsl.module import Module, Parameter
from tfgraph.dsl.tensor import Tensor


class Linear(Module):
    """`x weight^T + bias` over the last axis: [..., in_features] -> [..., out_features].

    The weight is stored as [out_features, in_features], as Hugging Face checkpoints have it. The graph says
    `Transpose`; passes fold it into the weight.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.weight = Parameter((out_features, in_features))
        self.bias = Parameter((out_features,), initial="zeros") if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features].

        Raises:
            ShapeError: the last axis of `x` is not `in_features`.
        """
        product = F.matmul(x, F.transpose(self.weight, (1, 0)))
        return product if self.bias is None else product + self.bias
