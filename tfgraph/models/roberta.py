"""RoBERTa: BERT whose positions are counted over tokens; and XLM-RoBERTa and CamemBERT, which are RoBERTa.

Source: Liu et al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach", 2019. The three differ in what text they
were trained on: Conneau et al., "Unsupervised Cross-lingual Representation Learning at Scale", 2020; Martin et al.,
"CamemBERT: a Tasty French Language Model", 2020. All three begin the names in their checkpoints with `roberta.`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tfgraph.dsl import functional as F
from tfgraph.dsl.module import Module, Parameter
from tfgraph.dsl.tensor import Tensor
from tfgraph.errors import ConfigError
from tfgraph.models.bert import ENCODER_NAMES
from tfgraph.models.embeddings import TextEmbeddings
from tfgraph.models.encoder import TextEncoder
from tfgraph.models.encoder_config import EncoderConfig
from tfgraph.models.encoder_tasks import EncoderTasks
from tfgraph.models.family import Family


@dataclass(frozen=True)
class RobertaConfig(EncoderConfig):
    """RoBERTa's sizes and choices; see `EncoderConfig`.

    `pad_token_id` is the id of padding; the first token of a text has the position after it. So of the
    `max_position_embeddings` rows of positions, the first `pad_token_id + 1` are never a token's.

    Raises:
        ConfigError: also, a negative `pad_token_id`, or one that leaves no position for a token.
    """

    model_type: ClassVar[str] = "roberta"

    pad_token_id: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.pad_token_id < self.max_position_embeddings - 1:
            raise ConfigError(
                f"pad_token_id is {self.pad_token_id}: tokens have the positions after it, so with "
                f"max_position_embeddings={self.max_position_embeddings} expected a number from 0 to "
                f"{self.max_position_embeddings - 2}"
            )

    @property
    def max_length(self) -> int:
        """The longest input that the model takes, in tokens."""
        return self.max_position_embeddings - self.pad_token_id - 1


@dataclass(frozen=True)
class XLMRobertaConfig(RobertaConfig):
    """XLM-RoBERTa's sizes and choices; see `RobertaConfig`."""

    model_type: ClassVar[str] = "xlm-roberta"


@dataclass(frozen=True)
class CamembertConfig(RobertaConfig):
    """CamemBERT's sizes and choices; see `RobertaConfig`."""

    model_type: ClassVar[str] = "camembert"


class TokenPositions(Module):
    """A learned vector for each token's number among the tokens of its text.

    Ids other than `pad_token_id` are numbered from `pad_token_id + 1`, and padding has the number `pad_token_id`. It is
    the ids that count, whatever the attention mask says.
    """

    def __init__(self, rows: int, hidden_size: int, pad_token_id: int) -> None:
        self.weight = Parameter((rows, hidden_size))
        self.pad_token_id = pad_token_id

    def forward(self, input_ids: Tensor) -> Tensor:
        """Ids [B, S] -> [B, S, hidden_size]."""
        is_token = F.cast(F.logical_not(F.equal(input_ids, self.pad_token_id)), input_ids.dtype)
        return F.gather(self.weight, F.cumulative_sum(is_token, 1) * is_token + self.pad_token_id)


class RobertaModel(TextEncoder):
    """The encoder: `last_hidden_state` and, with its pooler, `pooler_output`."""

    def __init__(self, config: RobertaConfig, pooler: bool = True) -> None:
        position = TokenPositions(config.max_position_embeddings, config.hidden_size, config.pad_token_id)
        super().__init__(config, pooler, embeddings=TextEmbeddings(config, position=position))


_TOKEN_PREDICTION = {
    "head.dense": "lm_head.dense",
    "head.norm": "lm_head.layer_norm",
    "head.decoder": "lm_head.decoder",
}
_TEXT_CLASSIFIER = {"head.dense": "classifier.dense", "head.output": "classifier.out_proj"}


def _input_names(config: RobertaConfig) -> tuple[str, ...]:
    """Token types are an input where there is more than one, which released models do not have."""
    several = config.type_vocab_size is not None and config.type_vocab_size > 1
    return ("input_ids", "attention_mask", *(["token_type_ids"] if several else []))


def _family(stem: str, config: type[RobertaConfig]) -> Family:
    tasks = EncoderTasks(stem, RobertaModel, ENCODER_NAMES, prefix="roberta", input_names=_input_names)
    return Family(
        model_type=config.model_type,
        config=config,
        architectures=(
            tasks.base(),
            tasks.masked_lm(_TOKEN_PREDICTION, activation="gelu"),
            tasks.sequence_classification(_TEXT_CLASSIFIER, activation="tanh"),
            tasks.token_classification(),
            tasks.question_answering(),
            tasks.multiple_choice(),
        ),
        inputs=("input_ids", "attention_mask"),
        ignored=("*embeddings.position_ids", "*pooler.dense.*", "lm_head.*", "classifier.*", "qa_outputs.*"),
        # the bias of the decoder is stored beside it, inside it, or both
        aliases={"lm_head.bias": "lm_head.decoder.bias"},
    )


FAMILY = _family("Roberta", RobertaConfig)
XLM_ROBERTA = _family("XLMRoberta", XLMRobertaConfig)
CAMEMBERT = _family("Camembert", CamembertConfig)


def _published(kind: type[RobertaConfig], vocab_size: int, num_layers: int, hidden_size: int) -> RobertaConfig:
    """BERT's ratios, one token type, and two more rows of positions."""
    return kind(
        vocab_size, hidden_size, num_layers, hidden_size // 64, 4 * hidden_size, 514,
        type_vocab_size=1, layer_norm_eps=1e-5,
    )  # fmt: skip


CONFIGS = {
    # Liu et al., section 4, and the distilled release after Sanh et al., "DistilBERT", 2019
    "roberta-base": _published(RobertaConfig, 50265, 12, 768),
    "roberta-large": _published(RobertaConfig, 50265, 24, 1024),
    "distilroberta-base": _published(RobertaConfig, 50265, 6, 768),
    # Conneau et al., section 4
    "xlm-roberta-base": _published(XLMRobertaConfig, 250002, 12, 768),
    "xlm-roberta-large": _published(XLMRobertaConfig, 250002, 24, 1024),
    # Martin et al., section 4.2
    "camembert-base": _published(CamembertConfig, 32005, 12, 768),
}
"""Name to configuration, of all three families."""
