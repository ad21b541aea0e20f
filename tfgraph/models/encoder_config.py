"""`EncoderConfig`: the settings that BERT and the families after it have in common.

A family adds the settings of its own in a subclass, in its own file, with its published sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfgraph.dsl.layers.activations import get_activation
from tfgraph.dsl.layers.choices import require_divides, require_positive
from tfgraph.errors import ConfigError
from tfgraph.models.text_config import TextConfig


@dataclass(frozen=True)
class EncoderConfig(TextConfig):
    """The sizes and choices of an encoder over tokens, under Hugging Face's names.

    Attributes:
        type_vocab_size: kinds of tokens, such as those of a first and a second text; None for an encoder without them.
        prediction_act: the activation of the head that predicts tokens; `hidden_act` if not given (Megatron-LM).
        tie_word_embeddings: the matrix that predicts tokens is the table of word embeddings.

    Raises:
        ConfigError: a size below 1, heads that do not divide the hidden size, an unknown activation, no labels.
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int | None = 2
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    tie_word_embeddings: bool = True
    prediction_act: str | None = None
    labels: tuple[str, ...] = ("LABEL_0", "LABEL_1")

    def __post_init__(self) -> None:
        require_positive(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=self.intermediate_size,
            max_position_embeddings=self.max_position_embeddings,
            type_vocab_size=self.type_vocab_size,
        )
        require_divides("num_attention_heads", self.num_attention_heads, "hidden_size", self.hidden_size)
        get_activation(self.hidden_act)
        get_activation(self.prediction_act or self.hidden_act)
        if not 0 < self.layer_norm_eps < 1:
            raise ConfigError(f"layer_norm_eps is {self.layer_norm_eps}: expected a positive number such as 1e-12")
        if not self.labels:
            raise ConfigError("labels is empty: a classifier needs at least one label")

    @classmethod
    def _refuse_unsupported(cls, given: Mapping[str, Any], source: str) -> None:
        positions = given.get("position_embedding_type")
        if positions not in (None, "absolute"):
            raise ConfigError(
                f"{source}: 'position_embedding_type' is {positions!r}: {cls.model_type} models are built with learned "
                "'absolute' positions only"
            )
        for setting in ("is_decoder", "add_cross_attention"):
            if given.get(setting):
                raise ConfigError(
                    f"{source}: '{setting}' is {given[setting]!r}: {cls.model_type} models are built as encoders only"
                )
