"""`Seq2SeqConfig`: the settings that encoder-decoders (the Transformer of 2017, T5, BART) have in common.

A family adds the settings of its own in a subclass, in its own file, with its published sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

from tfgraph.dsl.layers.activations import get_activation
from tfgraph.dsl.layers.choices import require_divides, require_positive
from tfgraph.errors import ConfigError
from tfgraph.models.text_config import TextConfig


@dataclass(frozen=True)
class Seq2SeqConfig(TextConfig):
    """The sizes and choices of an encoder and a decoder over one vocabulary.

    Attributes:
        num_hidden_layers, num_attention_heads, intermediate_size: of the encoder.
        num_decoder_layers, num_decoder_heads, decoder_intermediate_size: of the decoder; the encoder's if not given.
        head_dim: features of a head; the hidden size divided by the heads if not given.
        norm_eps: what normalisations add to the variance.
        tie_word_embeddings: the matrix that predicts tokens is the table of word embeddings.
        decoder_start_token_id: the token that every answer begins with.

    Raises:
        ConfigError: a size below 1, heads that do not divide, an unknown activation, a token outside the vocabulary, no
            labels.
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    num_decoder_layers: int | None = None
    num_decoder_heads: int | None = None
    decoder_intermediate_size: int | None = None
    head_dim: int | None = None
    hidden_act: str = "relu"
    norm_eps: float = 1e-5
    tie_word_embeddings: bool = True
    decoder_start_token_id: int | None = None
    labels: tuple[str, ...] = ("LABEL_0", "LABEL_1")

    def __post_init__(self) -> None:
        require_positive(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=self.intermediate_size,
            max_position_embeddings=self.max_position_embeddings,
            num_decoder_layers=self.num_decoder_layers,
            num_decoder_heads=self.num_decoder_heads,
            decoder_intermediate_size=self.decoder_intermediate_size,
            head_dim=self.head_dim,
        )
        if self.head_dim is None:
            require_divides("num_attention_heads", self.num_attention_heads, "hidden_size", self.hidden_size)
            require_divides("num_decoder_heads", self.decoder_heads, "hidden_size", self.hidden_size)
        get_activation(self.hidden_act)
        if not 0 < self.norm_eps < 1:
            raise ConfigError(f"norm_eps is {self.norm_eps}: expected a positive number such as 1e-5")
        start = self.decoder_start_token_id
        if start is not None and not 0 <= start < self.vocab_size:
            raise ConfigError(f"decoder_start_token_id is {start}: expected a token, 0 to {self.vocab_size - 1}")
        if not self.labels:
            raise ConfigError("labels is empty: a classifier needs at least one label")

    @property
    def decoder_layers(self) -> int:
        """Layers of the decoder."""
        return self.num_hidden_layers if self.num_decoder_layers is None else self.num_decoder_layers

    @property
    def decoder_heads(self) -> int:
        """Heads of the decoder."""
        return self.num_attention_heads if self.num_decoder_heads is None else self.num_decoder_heads

    @property
    def decoder_head_size(self) -> int:
        """Features of a head of the decoder."""
        return self.hidden_size // self.decoder_heads if self.head_dim is None else self.head_dim

    @property
    def decoder_mlp_size(self) -> int:
        """Features inside the MLP of the decoder."""
        return self.intermediate_size if self.decoder_intermediate_size is None else self.decoder_intermediate_size
