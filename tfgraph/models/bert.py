"""BERT: its configuration, its models for each task, names of parameters in checkpoints, and its published sizes.

Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019. What it
is built of is shared with the families after it: `encoder.py`, `heads.py`, `tasks.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tfgraph.models.encoder import TextEncoder
from tfgraph.models.encoder_config import EncoderConfig
from tfgraph.models.encoder_tasks import EncoderTasks
from tfgraph.models.family import Family


@dataclass(frozen=True)
class BertConfig(EncoderConfig):
    """BERT's sizes and choices; see `EncoderConfig`."""

    model_type: ClassVar[str] = "bert"


class BertModel(TextEncoder):
    """The encoder: `last_hidden_state` and, with its pooler, `pooler_output`."""

    def __init__(self, config: BertConfig, pooler: bool = True) -> None:
        super().__init__(config, pooler)


ENCODER_NAMES = {
    "embeddings.word": "embeddings.word_embeddings",
    "embeddings.position": "embeddings.position_embeddings",
    "embeddings.token_type": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "encoder.layers.{}.attention.query": "encoder.layer.{}.attention.self.query",
    "encoder.layers.{}.attention.key": "encoder.layer.{}.attention.self.key",
    "encoder.layers.{}.attention.value": "encoder.layer.{}.attention.self.value",
    "encoder.layers.{}.attention.output": "encoder.layer.{}.attention.output.dense",
    "encoder.layers.{}.norm1": "encoder.layer.{}.attention.output.LayerNorm",
    "encoder.layers.{}.mlp.up": "encoder.layer.{}.intermediate.dense",
    "encoder.layers.{}.mlp.down": "encoder.layer.{}.output.dense",
    "encoder.layers.{}.norm2": "encoder.layer.{}.output.LayerNorm",
    "pooler.dense": "pooler.dense",
}
"""Module path to checkpoint name, for `BertModel`."""

TOKEN_PREDICTION = {
    "head.dense": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
    "head.decoder": "cls.predictions.decoder",
}
"""Module path to checkpoint name, for the head that predicts tokens."""

_TASKS = EncoderTasks("Bert", BertModel, ENCODER_NAMES, prefix="bert")

FAMILY = Family(
    model_type="bert",
    config=BertConfig,
    architectures=_TASKS.as_bert(TOKEN_PREDICTION, "cls.seq_relationship"),
    ignored=("*embeddings.position_ids", "*pooler.dense.*", "cls.*", "classifier.*", "qa_outputs.*"),
    # the bias of the decoder is stored beside it, inside it, or both
    aliases={"cls.predictions.bias": "cls.predictions.decoder.bias"},
)


UNCASED, CASED, MULTILINGUAL = 30522, 28996, 119547
"""Tokens in the vocabularies of the releases, which DistilBERT and ELECTRA have too."""


def _published(vocab_size: int, num_layers: int, hidden_size: int, num_heads: int | None = None) -> BertConfig:
    """With BERT's ratios: heads of 64 features, an MLP four times as wide as the hidden state, 512 positions."""
    heads = hidden_size // 64 if num_heads is None else num_heads
    return BertConfig(vocab_size, hidden_size, num_layers, heads, 4 * hidden_size, 512)


CONFIGS = {
    # Devlin et al., section 3, and the multilingual release
    "bert-base-uncased": _published(UNCASED, 12, 768),
    "bert-base-cased": _published(CASED, 12, 768),
    "bert-base-multilingual-cased": _published(MULTILINGUAL, 12, 768),
    "bert-large-uncased": _published(UNCASED, 24, 1024),
    "bert-large-cased": _published(CASED, 24, 1024),
    # Turc et al., "Well-Read Students Learn Better: On the Importance of Pre-training Compact Models", 2019, table 1
    "bert-tiny": _published(UNCASED, 2, 128),
    "bert-mini": _published(UNCASED, 4, 256),
    "bert-small": _published(UNCASED, 4, 512),
    "bert-medium": _published(UNCASED, 8, 512),
    # Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers",
    # 2020, section 4; the one with 6 layers keeps every second layer of the other
    "minilm-l12-h384": _published(UNCASED, 12, 384, num_heads=12),
    "minilm-l6-h384": _published(UNCASED, 6, 384, num_heads=12),
}
"""Name to configuration."""
