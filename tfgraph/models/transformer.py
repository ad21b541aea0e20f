"""The Transformer of 2017: its configuration, its models, its sizes "base" and "big".

Checkpoints of it have our own parameter names, the paths of the modules here.

Source: Vaswani et al., "Attention Is All You Need", 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from tfgraph.dsl.layers.blocks import BlockOptions
from tfgraph.dsl.layers.embedding import Embedding
from tfgraph.dsl.layers.positions import SinusoidalPositions
from tfgraph.models.family import Family
from tfgraph.models.seq2seq import (
    DecoderStack,
    EncoderStack,
    Seq2SeqModel,
    StackParts,
    decoder_blocks,
    encoder_blocks,
)
from tfgraph.models.seq2seq_config import Seq2SeqConfig
from tfgraph.models.seq2seq_lm import Seq2SeqLM, seq2seq_architectures


@dataclass(frozen=True)
class TransformerConfig(Seq2SeqConfig):
    """The Transformer's sizes; see `Seq2SeqConfig`.

    The paper sets no limit to `max_position_embeddings`, which is that of the table of sines.
    """

    model_type: ClassVar[str] = "transformer"

    max_position_embeddings: int = 1024
    decoder_start_token_id: int | None = 0


class TransformerModel(Seq2SeqModel):
    """Both stacks: scaled embeddings plus sines, blocks that normalise after their residual sums, ReLU."""

    def __init__(self, config: TransformerConfig) -> None:
        hidden_size = config.hidden_size
        options = BlockOptions(norm="post", eps=config.norm_eps, activation=config.hidden_act)
        word = Embedding(config.vocab_size, hidden_size)
        parts = StackParts(
            embedding_scale=math.sqrt(hidden_size),  # section 3.4
            position=SinusoidalPositions(config.max_position_embeddings, hidden_size),
        )
        super().__init__(
            EncoderStack(word, encoder_blocks(config, options), parts),
            DecoderStack(word, decoder_blocks(config, options), parts),
        )


def build_lm(config: TransformerConfig) -> Seq2SeqLM:
    """The model that predicts tokens; the matrix is the table of both embeddings (section 3.4)."""
    return Seq2SeqLM(config, TransformerModel(config), config.tie_word_embeddings)


_PROJECTIONS = ("query", "key", "value", "output")
_IN_BOTH = (
    "norm1",
    *(f"attention.{projection}" for projection in _PROJECTIONS),
    "mlp.up",
    "mlp.down",
    "norm2",
)
_IN_DECODER = ("cross_norm", *(f"cross_attention.{projection}" for projection in _PROJECTIONS))

NAMES = {
    path: path
    for path in (
        "encoder.word",
        *(f"encoder.layers.{{}}.{part}" for part in _IN_BOTH),
        *(f"decoder.layers.{{}}.{part}" for part in (*_IN_BOTH, *_IN_DECODER)),
    )
}
"""Module path to checkpoint name, for `TransformerModel`: the same."""

FAMILY = Family(
    model_type="transformer",
    config=TransformerConfig,
    architectures=seq2seq_architectures(
        "Transformer", TransformerModel, build_lm, NAMES, prefix="base", lm_head="head.linear"
    ),
    inputs=("input_ids", "attention_mask"),
    ignored=("head.linear.*", "decoder.*"),
)

_VOCABULARY = 37000  # "about 37000 tokens", shared by source and target (section 5.1)

CONFIGS = {  # table 3
    "transformer-base": TransformerConfig(_VOCABULARY, 512, 6, 8, 2048),
    "transformer-big": TransformerConfig(_VOCABULARY, 1024, 6, 16, 4096),
}
"""Name to configuration."""
