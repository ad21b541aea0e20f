"""`EncoderTasks`: the models that encoders are released as, made from one encoder and the names of its heads.

A family says in its own file which of them it has, and what is particular about them. The modules themselves are in
`tasks.py`, their heads in `heads.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tfgraph.dsl.layers.linear import Linear
from tfgraph.dsl.module import Module
from tfgraph.ir.dtypes import DType
from tfgraph.models.encoder import TextEncoder
from tfgraph.models.family import Architecture, text_inputs
from tfgraph.models.heads import FirstTokenHead, SpanHead, TokenPredictionHead
from tfgraph.models.names import below
from tfgraph.models.tasks import MultipleChoice, OnHiddenStates, OnPooled, PreTraining, QuestionAnswering

CLASSIFIER = {"head": "classifier"}
"""The usual name of a head that is one matrix."""


@dataclass(frozen=True)
class EncoderTasks:
    """Makes the architectures of a family. In each, the encoder is at `base` and the head at `head`.

    Attributes:
        stem: what the Hugging Face classes begin with, such as `Bert`.
        encoder: from a configuration to the encoder; with `has_pooler`, it also takes `pooler`, true or false.
        names: the encoder's table of checkpoint names, without `prefix`.
        prefix: what the names of its tensors begin with in the models that hold it.
        input_names: from a configuration to what the models take, where that is not the same for all of the family.
    """

    stem: str
    encoder: Callable[..., TextEncoder]
    names: Mapping[str, str]
    prefix: str
    has_pooler: bool = True
    input_names: Callable[[Any], tuple[str, ...]] | None = None

    def bare(self, config: Any) -> TextEncoder:
        """The encoder without a pooler."""
        return self.encoder(config, pooler=False) if self.has_pooler else self.encoder(config)

    def architecture(
        self, suffix: str, task: str, build: Callable[[Any], Module], head_names: Mapping[str, str]
    ) -> Architecture:
        """A model that holds the encoder at `base`: `head_names` is the table for the rest of it."""
        names = {**below(self.names, "base", self.prefix), **head_names}
        return Architecture(f"{self.stem}For{suffix}", task, build, names, inputs=self._inputs(task))

    def as_bert(self, token_prediction: Mapping[str, str], next_sentence: str) -> tuple[Architecture, ...]:
        """All models that BERT was released as; the checkpoint's names are those of the two heads of pre-training."""
        return (
            self.base(),
            self.masked_lm(token_prediction),
            self.next_sentence(next_sentence),
            self.pre_training(token_prediction, next_sentence),
            self.sequence_classification(),
            self.token_classification(),
            self.question_answering(),
            self.multiple_choice(),
        )

    def base(self) -> Architecture:
        """The encoder itself, without its pooler where the checkpoint has none."""
        name, inputs = f"{self.stem}Model", self._inputs("base")
        if not self.has_pooler:
            return Architecture(name, "base", self.encoder, self.names, inputs=inputs)
        return Architecture(
            name, "base", self.encoder, self.names, optional="pooler.", build_without=self.bare, inputs=inputs
        )

    def masked_lm(self, head_names: Mapping[str, str], activation: str | None = None) -> Architecture:
        """A `TokenPredictionHead` over all hidden states; `activation` is the configuration's if not given."""

        def build(config: Any) -> Module:
            base = self.bare(config)
            return OnHiddenStates(base, TokenPredictionHead(config, base.embeddings.word, activation))

        return self.architecture("MaskedLM", "masked-lm", build, head_names)

    def next_sentence(self, head_name: str) -> Architecture:
        """Whether the second text follows the first (class 0) or does not (class 1)."""

        def build(config: Any) -> Module:
            return OnPooled(self.encoder(config), Linear(config.hidden_size, 2))

        return self.architecture("NextSentencePrediction", "next-sentence", build, {"head": head_name})

    def pre_training(
        self,
        head_names: Mapping[str, str],
        pooled_head_name: str,
        pooled_logits: str = "seq_relationship_logits",
        classes: Callable[[Any], int] = lambda config: 2,
    ) -> Architecture:
        """Both heads of pre-training; `classes` is how many the one that judges pairs of texts tells apart."""

        def build(config: Any) -> Module:
            base = self.encoder(config)
            head = TokenPredictionHead(config, base.embeddings.word)
            return PreTraining(base, head, Linear(config.hidden_size, classes(config)), pooled_logits)

        return self.architecture("PreTraining", "pre-training", build, {**head_names, "pooled_head": pooled_head_name})

    def sequence_classification(
        self, head_names: Mapping[str, str] = CLASSIFIER, activation: str | None = None
    ) -> Architecture:
        """A matrix over the pooler's vector, or, with an `activation`, a `FirstTokenHead` over the hidden states."""

        def build(config: Any) -> Module:
            if activation is None:
                return OnPooled(self.encoder(config), Linear(config.hidden_size, config.num_labels))
            return OnHiddenStates(self.bare(config), FirstTokenHead(config.hidden_size, config.num_labels, activation))

        return self.architecture("SequenceClassification", "sequence-classification", build, head_names)

    def token_classification(self) -> Architecture:
        """A matrix over all hidden states."""

        def build(config: Any) -> Module:
            return OnHiddenStates(self.bare(config), Linear(config.hidden_size, config.num_labels))

        return self.architecture("TokenClassification", "token-classification", build, CLASSIFIER)

    def question_answering(self) -> Architecture:
        """A `SpanHead` over all hidden states."""

        def build(config: Any) -> Module:
            return QuestionAnswering(self.bare(config), SpanHead(config.hidden_size))

        return self.architecture("QuestionAnswering", "question-answering", build, {"head.dense": "qa_outputs"})

    def multiple_choice(
        self, head_names: Mapping[str, str] = CLASSIFIER, head: Callable[[Any], Module] | None = None
    ) -> Architecture:
        """A matrix over the pooler's vector of each choice, or a head over its hidden states."""

        def build(config: Any) -> Module:
            if head is None:
                return MultipleChoice(self.encoder(config), Linear(config.hidden_size, 1))
            return MultipleChoice(self.bare(config), head(config), pooled=False)

        return self.architecture("MultipleChoice", "multiple-choice", build, head_names)

    def _inputs(self, task: str) -> Callable[[Any, DType], Mapping[str, Any]] | None:
        return None if self.input_names is None else partial(_declare, self.input_names, task)


def _declare(input_names: Callable[[Any], tuple[str, ...]], task: str, config: Any, dtype: DType) -> Mapping[str, Any]:
    """The inputs of a model for `task`, whatever the dtype of its weights."""
    return text_inputs(task, input_names(config))
