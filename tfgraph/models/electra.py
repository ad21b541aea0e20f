"""ELECTRA: BERT trained to tell which tokens another model put in; and that other model, which predicts tokens.

Source: Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators", 2020, section 2.
Discriminator and generator are the same encoder in two sizes. There is no pooler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from tfgraph.dsl import functional as F
from tfgraph.dsl.layers.activations import get_activation
from tfgraph.dsl.layers.choices import choose, require_positive
from tfgraph.dsl.layers.linear import Linear
from tfgraph.dsl.module import Module
from tfgraph.dsl.tensor import Tensor
from tfgraph.errors import ConfigError
from tfgraph.models.bert import ENCODER_NAMES, UNCASED
from tfgraph.models.embeddings import TextEmbeddings
from tfgraph.models.encoder import TextEncoder
from tfgraph.models.encoder_config import EncoderConfig
from tfgraph.models.encoder_tasks import EncoderTasks
from tfgraph.models.family import Architecture, Family
from tfgraph.models.tasks import OnHiddenStates

SUMMARIES = {
    "first": "the hidden state at the first position",
    "last": "the one at the last position, padding or not",
    "cls_index": "the same as 'last', since no positions are given",
    "mean": "the mean over all positions, padding included",
}
"""What a text's vector is made from, for multiple choice."""


@dataclass(frozen=True)
class ElectraConfig(EncoderConfig):
    """ELECTRA's sizes and choices; see `EncoderConfig`.

    Attributes:
        embedding_size: features of the embeddings, which a matrix takes to the hidden size if that is another.
        summary_type: one of `SUMMARIES`.
        summary_use_proj: whether a text's vector goes through a matrix.
        summary_activation: what it goes through then; none if empty.

    Raises:
        ConfigError: also, an unknown summary.
    """

    model_type: ClassVar[str] = "electra"

    embedding_size: int = 128
    summary_type: str = "first"
    summary_use_proj: bool = True
    summary_activation: str = "gelu"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(embedding_size=self.embedding_size)
        choose("summary_type", self.summary_type, SUMMARIES)
        if self.summary_activation:
            get_activation(self.summary_activation)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], source: str = "config.json") -> Self:
        """The configuration that the object in a `config.json` describes; see `EncoderConfig.from_dict`.

        Here a `summary_activation` of null is none, not the default.
        """
        if given.get("summary_activation", "") is None:
            given = {**given, "summary_activation": ""}
        return super().from_dict(given, source)

    @classmethod
    def _refuse_unsupported(cls, given: Mapping[str, Any], source: str) -> None:
        super()._refuse_unsupported(given, source)
        if given.get("summary_proj_to_labels"):
            raise ConfigError(f"{source}: 'summary_proj_to_labels' is true: the summary keeps the hidden size here")


class ElectraModel(TextEncoder):
    """The encoder: `last_hidden_state`."""

    def __init__(self, config: ElectraConfig) -> None:
        width = config.embedding_size
        embeddings = TextEmbeddings(config, width=width, project=width != config.hidden_size)
        super().__init__(config, pooler=False, embeddings=embeddings)


class ReplacedTokenHead(Module):
    """`output(act(dense(h)))`: for each position, a score that its token was put in; above 0, more likely than not."""

    def __init__(self, config: ElectraConfig) -> None:
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.activation = get_activation(config.hidden_act)
        self.output = Linear(config.hidden_size, 1)

    def forward(self, hidden_state: Tensor) -> Tensor:
        """[B, S, H] -> [B, S]."""
        return F.squeeze(self.output(self.activation(self.dense(hidden_state))), (-1,))


class SummaryHead(Module):
    """`output(act(dense(summary)))`: one score for a text, from a summary of its hidden states; see `SUMMARIES`."""

    def __init__(self, config: ElectraConfig) -> None:
        self.summary = config.summary_type
        self.dense = Linear(config.hidden_size, config.hidden_size) if config.summary_use_proj else None
        self.activation = get_activation(config.summary_activation) if config.summary_activation else None
        self.output = Linear(config.hidden_size, 1)

    def forward(self, hidden_state: Tensor) -> Tensor:
        """[B, S, H] -> [B, 1]."""
        if self.summary == "mean":
            vector = F.reduce_mean(hidden_state, (1,), keepdims=False)
        else:
            vector = hidden_state[:, 0 if self.summary == "first" else -1]
        for part in (self.dense, self.activation, self.output):
            if part is not None:
                vector = part(vector)
        return vector


NAMES = {**ENCODER_NAMES, "embeddings.project": "embeddings_project"}
"""Module path to checkpoint name, for `ElectraModel`."""

_TASKS = EncoderTasks("Electra", ElectraModel, NAMES, prefix="electra", has_pooler=False)
_TOKEN_PREDICTION = {
    "head.dense": "generator_predictions.dense",
    "head.norm": "generator_predictions.LayerNorm",
    "head.decoder": "generator_lm_head",
}


def _replaced_token_detection() -> Architecture:
    def build(config: ElectraConfig) -> Module:
        return OnHiddenStates(ElectraModel(config), ReplacedTokenHead(config))

    names = {
        "head.dense": "discriminator_predictions.dense",
        "head.output": "discriminator_predictions.dense_prediction",
    }
    return _TASKS.architecture("PreTraining", "replaced-token-detection", build, names)


FAMILY = Family(
    model_type="electra",
    config=ElectraConfig,
    architectures=(
        _TASKS.base(),
        _replaced_token_detection(),
        _TASKS.masked_lm(_TOKEN_PREDICTION, activation="gelu"),
        _TASKS.sequence_classification(
            {"head.dense": "classifier.dense", "head.output": "classifier.out_proj"}, activation="gelu"
        ),
        _TASKS.token_classification(),
        _TASKS.question_answering(),
        _TASKS.multiple_choice(
            {"head.dense": "sequence_summary.summary", "head.output": "classifier"}, head=SummaryHead
        ),
    ),
    ignored=(
        "*embeddings.position_ids", "discriminator_predictions.*", "generator_predictions.*", "generator_lm_head.*",
        "sequence_summary.*", "classifier.*", "qa_outputs.*",
    ),
)  # fmt: skip


def _published(num_layers: int, hidden_size: int, embedding_size: int) -> ElectraConfig:
    """BERT's ratios; a generator has the embeddings of its discriminator, and narrower layers."""
    return ElectraConfig(
        UNCASED, hidden_size, num_layers, hidden_size // 64, 4 * hidden_size, 512, embedding_size=embedding_size
    )


CONFIGS = {
    "electra-small-discriminator": _published(12, 256, 128),
    "electra-base-discriminator": _published(12, 768, 768),
    "electra-large-discriminator": _published(24, 1024, 1024),
    "electra-small-generator": _published(12, 256, 128),
    "electra-base-generator": _published(12, 256, 768),
    "electra-large-generator": _published(24, 256, 1024),
}
"""Name to configuration: Clark et al., table 6, as released."""
