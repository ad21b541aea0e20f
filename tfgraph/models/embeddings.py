"""What the layers of an encoder start from: the sum of word, position and token-type embeddings, normalised."""

from __future__ import annotations

from tfgraph.dsl.layers.embedding import Embedding
from tfgraph.dsl.layers.norms import LayerNorm
from tfgraph.dsl.layers.positions import LearnedPositions
from tfgraph.dsl.module import Module
from tfgraph.dsl.tensor import Tensor
from tfgraph.models.encoder_config import EncoderConfig


class TextEmbeddings(Module):
    """`norm(word + token_type + position)`, each looked up in a learned table.

    Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019,
    figure 2.
    """

    def __init__(self, config: EncoderConfig) -> None:
        hidden_size = config.hidden_size
        self.word = Embedding(config.vocab_size, hidden_size)
        self.position = LearnedPositions(config.max_position_embeddings, hidden_size)
        self.token_type = Embedding(config.type_vocab_size, hidden_size)
        self.norm = LayerNorm(hidden_size, config.layer_norm_eps)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Ids [B, S] -> [B, S, H]; every token is of type 0 if no types are given."""
        token_type = self.token_type.weight[0] if token_type_ids is None else self.token_type(token_type_ids)
        embedded: Tensor = self.norm(self.word(input_ids) + token_type + self.position(input_ids))
        return embedded
