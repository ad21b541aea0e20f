"""Heads: what turns the hidden states of an encoder into answers. How they sit on an encoder is in `tasks.py`."""

from __future__ import annotations

from tfgraph.dsl import functional as F
from tfgraph.dsl.layers.activations import get_activation
from tfgraph.dsl.layers.embedding import Embedding
from tfgraph.dsl.layers.linear import Linear
from tfgraph.dsl.layers.norms import LayerNorm
from tfgraph.dsl.module import Module
from tfgraph.dsl.tensor import Tensor
from tfgraph.models.encoder_config import EncoderConfig


class Pooler(Module):
    """`tanh(dense(h_0))`: a text's vector from the hidden state at its first position."""

    def __init__(self, hidden_size: int) -> None:
        self.dense = Linear(hidden_size, hidden_size)

    def forward(self, hidden_state: Tensor) -> Tensor:
        """[B, S, H] -> [B, H]."""
        return F.tanh(self.dense(hidden_state[:, 0]))


class TokenPredictionHead(Module):
    """`decoder(norm(act(dense(h))))`: a score for each token of the vocabulary at each position.

    The matrix of the decoder has the shape of the table of word embeddings `word`, and with
    `config.tie_word_embeddings` it is that very parameter. `activation` is the configuration's if not given.

    Source: the head of the masked language model in Devlin et al., "BERT", 2019, section 3.1; the shared matrix: Press,
    Wolf, "Using the Output Embedding to Improve Language Models", 2017.
    """

    def __init__(self, config: EncoderConfig, word: Embedding, activation: str | None = None) -> None:
        vocab_size, width = word.weight.shape
        self.dense = Linear(config.hidden_size, width)
        self.activation = get_activation(activation or config.prediction_act or config.hidden_act)
        self.norm = LayerNorm(width, config.layer_norm_eps)
        self.decoder = Linear(width, vocab_size)
        if config.tie_word_embeddings:
            self.decoder.weight = word.weight

    def forward(self, hidden_state: Tensor) -> Tensor:
        """[B, S, H] -> [B, S, vocab]."""
        scores: Tensor = self.decoder(self.norm(self.activation(self.dense(hidden_state))))
        return scores


class FirstTokenHead(Module):
    """`output(act(dense(h_0)))`: scores for a whole text from the hidden state at its first position."""

    def __init__(self, hidden_size: int, num_labels: int, activation: str) -> None:
        self.dense = Linear(hidden_size, hidden_size)
        self.activation = get_activation(activation)
        self.output = Linear(hidden_size, num_labels)

    def forward(self, hidden_state: Tensor) -> Tensor:
        """[B, S, H] -> [B, labels]."""
        scores: Tensor = self.output(self.activation(self.dense(hidden_state[:, 0])))
        return scores


class SpanHead(Module):
    """For each position, a score that the answer starts there, and one that it ends there."""

    def __init__(self, hidden_size: int) -> None:
        self.dense = Linear(hidden_size, 2)

    def forward(self, hidden_state: Tensor) -> tuple[Tensor, Tensor]:
        """[B, S, H] -> start and end scores, [B, S] each."""
        start, end = F.split(self.dense(hidden_state), (1, 1), -1)
        return F.squeeze(start, (-1,)), F.squeeze(end, (-1,))
