"""`Embedding`: a vector for each id."""

from __future__ import annotations

from tfgraph.dsl import functional as F
from tfgraph.dsl.module import Module, Parameter
from tfgraph.dsl.tensor import Tensor


class Embedding(Module):
    """The rows of a table: ids [...], int32 or int64, -> [..., embedding_dim].

    A language-model head that shares the table is a `Linear` without bias whose `weight` is this `weight`.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        self.weight = Parameter((num_embeddings, embedding_dim))

    def forward(self, ids: Tensor) -> Tensor:
        """[...] -> [..., embedding_dim].

        Raises:
            DTypeError: the ids are not int32 or int64.
        """
        return F.gather(self.weight, ids)
