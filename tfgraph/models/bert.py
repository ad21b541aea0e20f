"""BERT: its configuration, its models for each task, and what their parameters are called in checkpoints.

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
    architectures=(
        _TASKS.base(),
        _TASKS.masked_lm(TOKEN_PREDICTION),
        _TASKS.next_sentence("cls.seq_relationship"),
        _TASKS.pre_training(TOKEN_PREDICTION, "cls.seq_relationship"),
        _TASKS.sequence_classification(),
        _TASKS.token_classification(),
        _TASKS.question_answering(),
        _TASKS.multiple_choice(),
    ),
    ignored=("*embeddings.position_ids", "*pooler.dense.*", "cls.*", "classifier.*", "qa_outputs.*"),
    # the bias of the decoder is stored beside it, inside it, or both
    aliases={"cls.predictions.bias": "cls.predictions.decoder.bias"},
)
