"""BERT: its configuration, its models for each task, and what their parameters are called in checkpoints.

Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019. What it
is built of is shared with the families after it: `encoder.py`, `heads.py`, `tasks.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tfgraph.dsl.layers.linear import Linear
from tfgraph.models.encoder import TextEncoder
from tfgraph.models.encoder_config import EncoderConfig
from tfgraph.models.family import Architecture, Family
from tfgraph.models.heads import SpanHead, TokenPredictionHead
from tfgraph.models.names import below
from tfgraph.models.tasks import MultipleChoice, OnHiddenStates, OnPooled, PreTraining, QuestionAnswering


@dataclass(frozen=True)
class BertConfig(EncoderConfig):
    """BERT's sizes and choices; see `EncoderConfig`."""

    model_type: ClassVar[str] = "bert"


class BertModel(TextEncoder):
    """The encoder: `last_hidden_state` and, with its pooler, `pooler_output`."""

    def __init__(self, config: BertConfig, pooler: bool = True) -> None:
        super().__init__(config, pooler)


def _token_prediction(config: BertConfig, base: BertModel) -> TokenPredictionHead:
    return TokenPredictionHead(config, base.embeddings.word.weight if config.tie_word_embeddings else None)


class BertForMaskedLM(OnHiddenStates):
    """Scores for each token of the vocabulary at each position: `logits` [B, S, vocab]."""

    def __init__(self, config: BertConfig) -> None:
        base = BertModel(config, pooler=False)
        super().__init__(base, _token_prediction(config, base))


class BertForNextSentencePrediction(OnPooled):
    """Whether the second text follows the first (class 0) or does not (class 1): `logits` [B, 2]."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(BertModel(config), Linear(config.hidden_size, 2))


class BertForPreTraining(PreTraining):
    """Both heads of pre-training: `prediction_logits` [B, S, vocab], `seq_relationship_logits` [B, 2]."""

    def __init__(self, config: BertConfig) -> None:
        base = BertModel(config)
        super().__init__(base, _token_prediction(config, base), Linear(config.hidden_size, 2))


class BertForSequenceClassification(OnPooled):
    """Scores for each label, for the whole text: `logits` [B, labels]."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(BertModel(config), Linear(config.hidden_size, config.num_labels))


class BertForTokenClassification(OnHiddenStates):
    """Scores for each label, at each position: `logits` [B, S, labels]."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(BertModel(config, pooler=False), Linear(config.hidden_size, config.num_labels))


class BertForQuestionAnswering(QuestionAnswering):
    """Scores for where the answer starts and ends: `start_logits`, `end_logits` [B, S]."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(BertModel(config, pooler=False), SpanHead(config.hidden_size))


class BertForMultipleChoice(MultipleChoice):
    """One score for each of C texts, given as [B, C, S]: `logits` [B, C]."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(BertModel(config), Linear(config.hidden_size, 1))


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

_BASE = below(ENCODER_NAMES, "base", "bert")
_TOKEN_PREDICTION = {
    "head.dense": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
    "head.decoder": "cls.predictions.decoder",
}
_CLASSIFIER = {"head": "classifier"}


def _without_pooler(config: BertConfig) -> BertModel:
    return BertModel(config, pooler=False)


FAMILY = Family(
    model_type="bert",
    config=BertConfig,
    architectures=(
        Architecture("BertModel", "base", BertModel, ENCODER_NAMES, optional="pooler.", build_without=_without_pooler),
        Architecture("BertForMaskedLM", "masked-lm", BertForMaskedLM, _BASE | _TOKEN_PREDICTION),
        Architecture(
            "BertForNextSentencePrediction",
            "next-sentence",
            BertForNextSentencePrediction,
            _BASE | {"head": "cls.seq_relationship"},
        ),
        Architecture(
            "BertForPreTraining",
            "pre-training",
            BertForPreTraining,
            _BASE | _TOKEN_PREDICTION | {"pooled_head": "cls.seq_relationship"},
        ),
        Architecture(
            "BertForSequenceClassification",
            "sequence-classification",
            BertForSequenceClassification,
            _BASE | _CLASSIFIER,
        ),
        Architecture(
            "BertForTokenClassification", "token-classification", BertForTokenClassification, _BASE | _CLASSIFIER
        ),
        Architecture(
            "BertForQuestionAnswering",
            "question-answering",
            BertForQuestionAnswering,
            _BASE | {"head.dense": "qa_outputs"},
        ),
        Architecture("BertForMultipleChoice", "multiple-choice", BertForMultipleChoice, _BASE | _CLASSIFIER),
    ),
    ignored=("*embeddings.position_ids", "*pooler.dense.*", "cls.*", "classifier.*", "qa_outputs.*"),
    # the bias of the decoder is stored beside it, inside it, or both
    aliases={"cls.predictions.bias": "cls.predictions.decoder.bias"},
)
