"""DistilBERT: BERT with half the layers, without token types and without a pooler.

Source: Sanh et al., "DistilBERT, a distilled version of BERT: smaller, faster, cheaper and lighter", 2019, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tfgraph.dsl.module import Module
from tfgraph.models.bert import CASED, MULTILINGUAL, UNCASED
from tfgraph.models.encoder import TextEncoder
from tfgraph.models.encoder_config import EncoderConfig
from tfgraph.models.encoder_tasks import EncoderTasks
from tfgraph.models.family import Family
from tfgraph.models.heads import FirstTokenHead


@dataclass(frozen=True)
class DistilBertConfig(EncoderConfig):
    """DistilBERT's sizes and choices; see `EncoderConfig`. Two are fixed: no token types, and what norms add.

    Whether its positions once were sinusoidal does not matter: checkpoints hold the table.
    """

    model_type: ClassVar[str] = "distilbert"
    aliases: ClassVar[Mapping[str, str]] = {
        "dim": "hidden_size",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "hidden_dim": "intermediate_size",
        "activation": "hidden_act",
    }

    type_vocab_size: int | None = field(default=None, init=False)
    layer_norm_eps: float = field(default=1e-12, init=False)


class DistilBertModel(TextEncoder):
    """The encoder: `last_hidden_state`."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config, pooler=False)


NAMES = {
    "embeddings.word": "embeddings.word_embeddings",
    "embeddings.position": "embeddings.position_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "encoder.layers.{}.attention.query": "transformer.layer.{}.attention.q_lin",
    "encoder.layers.{}.attention.key": "transformer.layer.{}.attention.k_lin",
    "encoder.layers.{}.attention.value": "transformer.layer.{}.attention.v_lin",
    "encoder.layers.{}.attention.output": "transformer.layer.{}.attention.out_lin",
    "encoder.layers.{}.norm1": "transformer.layer.{}.sa_layer_norm",
    "encoder.layers.{}.mlp.up": "transformer.layer.{}.ffn.lin1",
    "encoder.layers.{}.mlp.down": "transformer.layer.{}.ffn.lin2",
    "encoder.layers.{}.norm2": "transformer.layer.{}.output_layer_norm",
}
"""Module path to checkpoint name, for `DistilBertModel`."""

_TOKEN_PREDICTION = {
    "head.dense": "vocab_transform",
    "head.norm": "vocab_layer_norm",
    "head.decoder": "vocab_projector",
}
_TEXT_CLASSIFIER = {"head.dense": "pre_classifier", "head.output": "classifier"}


def _choice_head(config: Any) -> Module:
    return FirstTokenHead(config.hidden_size, 1, "relu")


_TASKS = EncoderTasks("DistilBert", DistilBertModel, NAMES, prefix="distilbert", has_pooler=False)

FAMILY = Family(
    model_type="distilbert",
    config=DistilBertConfig,
    architectures=(
        _TASKS.base(),
        _TASKS.masked_lm(_TOKEN_PREDICTION),
        _TASKS.sequence_classification(_TEXT_CLASSIFIER, activation="relu"),
        _TASKS.token_classification(),
        _TASKS.question_answering(),
        _TASKS.multiple_choice(_TEXT_CLASSIFIER, _choice_head),
    ),
    inputs=("input_ids", "attention_mask"),
    ignored=("*embeddings.position_ids", "vocab_*", "pre_classifier.*", "classifier.*", "qa_outputs.*"),
)


def _published(vocab_size: int) -> DistilBertConfig:
    """BERT-base with every second layer."""
    return DistilBertConfig(vocab_size, 768, 6, 12, 3072, 512)


CONFIGS = {
    "distilbert-base-uncased": _published(UNCASED),
    "distilbert-base-cased": _published(CASED),
    "distilbert-base-multilingual-cased": _published(MULTILINGUAL),
}
"""Name to configuration: Sanh et al., section 3, and the releases."""
