"""A decoder-only Transformer of any size, declared from the layers of `tfgraph.nn`, without weights.

It stands for what is built by hand, and for sizes that no machine at hand could load; families with checkpoints are in
`tfgraph.models`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tfgraph.dsl.layers.blocks import BlockOptions, DecoderBlock
from tfgraph.dsl.layers.embedding import Embedding
from tfgraph.dsl.layers.linear import Linear
from tfgraph.dsl.layers.norms import LayerNorm
from tfgraph.dsl.layers.positions import LearnedPositions
from tfgraph.dsl.module import Module, ModuleList
from tfgraph.dsl.tensor import Tensor


@dataclass(frozen=True)
class DecoderSize:
    """The sizes of a decoder."""

    num_layers: int
    hidden_size: int
    num_heads: int
    intermediate_size: int
    vocab_size: int
    max_positions: int


GPT3: Final = DecoderSize(
    num_layers=96,
    hidden_size=12288,
    num_heads=96,
    intermediate_size=49152,
    vocab_size=50257,
    max_positions=2048,
)
"""175 billion parameters. Source: Brown et al., "Language Models are Few-Shot Learners", 2020, table 2.1."""


class Decoder(Module):
    """Token and position embeddings, pre-norm blocks of causal attention, and a head that shares the token table.

    Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3.
    """

    def __init__(self, size: DecoderSize) -> None:
        options = BlockOptions(norm="pre", activation="gelu_tanh")
        self.tokens = Embedding(size.vocab_size, size.hidden_size)
        self.positions = LearnedPositions(size.max_positions, size.hidden_size)
        self.layers = ModuleList(
            DecoderBlock(size.hidden_size, size.num_heads, size.intermediate_size, options)
            for _ in range(size.num_layers)
        )
        self.norm = LayerNorm(size.hidden_size)
        self.head = Linear(size.hidden_size, size.vocab_size, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, input_ids: Tensor) -> Tensor:
        """Ids [B, S] -> logits [B, S, vocab]."""
        hidden_state: Tensor = self.tokens(input_ids)
        hidden_state = hidden_state + self.positions(input_ids)
        for layer in self.layers:
            hidden_state = layer(hidden_state)
        logits: Tensor = self.head(self.norm(hidden_state))
        return logits
