"""`DecoderConfig`: the settings that decoders (GPT-2, LLaMA and those after them) have in common.

A family adds the settings of its own in a subclass, in its own file, with its published sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

from tfgraph.dsl.layers.activations import get_activation
from tfgraph.dsl.layers.choices import require_divides, require_positive
from tfgraph.errors import ConfigError
from tfgraph.models.text_config import TextConfig


@dataclass(frozen=True)
class DecoderConfig(TextConfig):
    """The sizes and choices of a decoder over tokens, under the commonest of Hugging Face's names.

    Attributes:
        intermediate_size: features inside the MLP; four times the hidden size if not given.
        num_key_value_heads: heads of key and value; as many as of the query if not given.
        head_dim: features of a head; the hidden size divided by the heads if not given.
        norm_eps: what normalisations add to the variance.
        tie_word_embeddings: the matrix that predicts tokens is the table of word embeddings.

    Raises:
        ConfigError: a size below 1, heads that do not divide, an unknown activation, no labels.
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    intermediate_size: int | None = None
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    hidden_act: str = "gelu_new"
    norm_eps: float = 1e-5
    tie_word_embeddings: bool = True
    labels: tuple[str, ...] = ("LABEL_0", "LABEL_1")

    def __post_init__(self) -> None:
        require_positive(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            max_position_embeddings=self.max_position_embeddings,
            intermediate_size=self.intermediate_size,
            num_key_value_heads=self.num_key_value_heads,
            head_dim=self.head_dim,
        )
        if self.head_dim is None:
            require_divides("num_attention_heads", self.num_attention_heads, "hidden_size", self.hidden_size)
        require_divides("num_key_value_heads", self.kv_heads, "num_attention_heads", self.num_attention_heads)
        get_activation(self.hidden_act)
        if not 0 < self.norm_eps < 1:
            raise ConfigError(f"norm_eps is {self.norm_eps}: expected a positive number such as 1e-5")
        if not self.labels:
            raise ConfigError("labels is empty: a classifier needs at least one label")

    @property
    def kv_heads(self) -> int:
        """Heads of key and value."""
        return self.num_attention_heads if self.num_key_value_heads is None else self.num_key_value_heads

    @property
    def head_size(self) -> int:
        """Features of a head."""
        return self.hidden_size // self.num_attention_heads if self.head_dim is None else self.head_dim

    @property
    def mlp_size(self) -> int:
        """Features inside the MLP."""
        return 4 * self.hidden_size if self.intermediate_size is None else self.intermediate_size
