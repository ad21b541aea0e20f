"""ALBERT: BERT with narrow embeddings, and one set of weights for many layers.

Source: Lan et al., "ALBERT: A Lite BERT for Self-supervised Learning of Language Representations", 2020, section 3.1:
factorised embeddings, shared layers, and a head that judges the order of two texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from tfgraph.dsl.layers.blocks import EncoderBlock
from tfgraph.dsl.layers.choices import require_positive
from tfgraph.dsl.module import Module, ModuleList
from tfgraph.models.embeddings import TextEmbeddings
from tfgraph.models.encoder import EncoderStack, TextEncoder, encoder_block
from tfgraph.models.encoder_config import EncoderConfig
from tfgraph.models.encoder_tasks import EncoderTasks
from tfgraph.models.family import Family


@dataclass(frozen=True)
class AlbertConfig(EncoderConfig):
    """ALBERT's sizes and choices; see `EncoderConfig`.

    Attributes:
        embedding_size: features of the embeddings, which a matrix takes to the hidden size.
        num_hidden_groups: sets of weights; consecutive layers share one.
        inner_group_num: blocks in a set, which each layer runs one after the other.
    """

    model_type: ClassVar[str] = "albert"

    hidden_act: str = "gelu_new"
    embedding_size: int = 128
    num_hidden_groups: int = 1
    inner_group_num: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(
            embedding_size=self.embedding_size,
            num_hidden_groups=self.num_hidden_groups,
            inner_group_num=self.inner_group_num,
        )


class SharedStack(EncoderStack):
    """Layers that take turns with `num_hidden_groups` groups of blocks; each block's weights exist once."""

    def __init__(self, config: AlbertConfig) -> None:
        groups = range(config.num_hidden_groups)
        super().__init__(config, layers=ModuleList(_group(config) for _ in groups))
        per_group = config.num_hidden_layers / config.num_hidden_groups  # a fraction where they do not divide
        self.group_of_layer = tuple(int(layer / per_group) for layer in range(config.num_hidden_layers))

    def in_order(self) -> Iterator[Module]:
        """The blocks of each layer's group."""
        for group in self.group_of_layer:
            for _, block in self.layers[group].children():
                yield block


def _group(config: AlbertConfig) -> ModuleList[EncoderBlock]:
    return ModuleList(encoder_block(config) for _ in range(config.inner_group_num))


class AlbertModel(TextEncoder):
    """The encoder: `last_hidden_state` and, with its pooler, `pooler_output`."""

    def __init__(self, config: AlbertConfig, pooler: bool = True) -> None:
        embeddings = TextEmbeddings(config, width=config.embedding_size, project=True)
        super().__init__(config, pooler, embeddings=embeddings, encoder=SharedStack(config))


_LAYER = "encoder.albert_layer_groups.{}.albert_layers.{}"

NAMES = {
    "embeddings.word": "embeddings.word_embeddings",
    "embeddings.position": "embeddings.position_embeddings",
    "embeddings.token_type": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "embeddings.project": "encoder.embedding_hidden_mapping_in",
    "encoder.layers.{}.{}.attention.query": f"{_LAYER}.attention.query",
    "encoder.layers.{}.{}.attention.key": f"{_LAYER}.attention.key",
    "encoder.layers.{}.{}.attention.value": f"{_LAYER}.attention.value",
    "encoder.layers.{}.{}.attention.output": f"{_LAYER}.attention.dense",
    "encoder.layers.{}.{}.norm1": f"{_LAYER}.attention.LayerNorm",
    "encoder.layers.{}.{}.mlp.up": f"{_LAYER}.ffn",
    "encoder.layers.{}.{}.mlp.down": f"{_LAYER}.ffn_output",
    "encoder.layers.{}.{}.norm2": f"{_LAYER}.full_layer_layer_norm",
    "pooler.dense": "pooler",
}
"""Module path to checkpoint name, for `AlbertModel`."""

_TOKEN_PREDICTION = {
    "head.dense": "predictions.dense",
    "head.norm": "predictions.LayerNorm",
    "head.decoder": "predictions.decoder",
}


def _num_labels(config: AlbertConfig) -> int:
    return config.num_labels


_TASKS = EncoderTasks("Albert", AlbertModel, NAMES, prefix="albert")

FAMILY = Family(
    model_type="albert",
    config=AlbertConfig,
    architectures=(
        _TASKS.base(),
        _TASKS.masked_lm(_TOKEN_PREDICTION),
        _TASKS.pre_training(_TOKEN_PREDICTION, "sop_classifier.classifier", "sop_logits", _num_labels),
        _TASKS.sequence_classification(),
        _TASKS.token_classification(),
        _TASKS.question_answering(),
        _TASKS.multiple_choice(),
    ),
    ignored=(
        "*embeddings.position_ids", "*pooler.*", "predictions.*", "sop_classifier.*", "classifier.*", "qa_outputs.*",
    ),
    # the bias of the decoder is stored beside it, inside it, or both
    aliases={"predictions.bias": "predictions.decoder.bias"},
)  # fmt: skip


def _published(num_layers: int, hidden_size: int, num_heads: int, hidden_act: str) -> AlbertConfig:
    return AlbertConfig(30000, hidden_size, num_layers, num_heads, 4 * hidden_size, 512, hidden_act=hidden_act)


CONFIGS = {
    f"albert-{size}-v{release}": _published(*sizes, hidden_act)
    for release, hidden_act in ((1, "gelu"), (2, "gelu_new"))  # the second also differs in how it was trained
    for size, sizes in {
        "base": (12, 768, 12),
        "large": (24, 1024, 16),
        "xlarge": (24, 2048, 16),
        "xxlarge": (12, 4096, 64),
    }.items()
}
"""Name to configuration: Lan et al., table 1."""
