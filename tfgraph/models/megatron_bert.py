"""Megatron-LM's BERT: BERT that normalises before attention and MLP, and once more at the end.

Source: Shoeybi et al., "Megatron-LM: Training Multi-Billion Parameter Language Models Using Model Parallelism", 2020,
section 5.3: the order of figure 7 (b) is what lets BERT grow beyond the size of BERT-large. The embeddings' sum is not
normalised. The names are those of Hugging Face's `megatron-bert`, which begin with `bert.` too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tfgraph.models.bert import ENCODER_NAMES as BERT_NAMES
from tfgraph.models.bert import FAMILY as BERT
from tfgraph.models.bert import TOKEN_PREDICTION
from tfgraph.models.embeddings import TextEmbeddings
from tfgraph.models.encoder import EncoderStack, TextEncoder
from tfgraph.models.encoder_config import EncoderConfig
from tfgraph.models.encoder_tasks import EncoderTasks
from tfgraph.models.family import Family


@dataclass(frozen=True)
class MegatronBertConfig(EncoderConfig):
    """Megatron-BERT's sizes and choices; see `EncoderConfig`."""

    model_type: ClassVar[str] = "megatron-bert"


class MegatronBertModel(TextEncoder):
    """The encoder: `last_hidden_state` and, with its pooler, `pooler_output`."""

    def __init__(self, config: MegatronBertConfig, pooler: bool = True) -> None:
        embeddings, encoder = TextEmbeddings(config, norm=False), EncoderStack(config, norm="pre")
        super().__init__(config, pooler, embeddings=embeddings, encoder=encoder)


NAMES = {
    **BERT_NAMES,
    "encoder.layers.{}.norm1": "encoder.layer.{}.attention.ln",
    "encoder.layers.{}.norm2": "encoder.layer.{}.ln",
    "encoder.norm": "encoder.ln",
}
"""Module path to checkpoint name, for `MegatronBertModel`."""

_TASKS = EncoderTasks("MegatronBert", MegatronBertModel, NAMES, prefix="bert")

FAMILY = Family(
    model_type="megatron-bert",
    config=MegatronBertConfig,
    architectures=_TASKS.as_bert(TOKEN_PREDICTION, "cls.seq_relationship"),
    ignored=BERT.ignored,
    aliases=BERT.aliases,
)


_PADDED = 30720  # the uncased vocabulary, padded to a multiple of 8 x 128 for 8-way model parallelism


def _published(vocab_size: int, num_layers: int, hidden_size: int) -> MegatronBertConfig:
    return MegatronBertConfig(vocab_size, hidden_size, num_layers, hidden_size // 64, 4 * hidden_size, 512)


CONFIGS = {
    # Shoeybi et al., table 4
    "megatron-bert-336m": _published(_PADDED, 24, 1024),
    "megatron-bert-1.3b": _published(_PADDED, 24, 2048),
    "megatron-bert-3.9b": _published(_PADDED, 48, 2560),
    # the release of the smallest, with other vocabularies
    "megatron-bert-cased-345m": _published(29056, 24, 1024),
    "megatron-bert-uncased-345m": _published(30592, 24, 1024),
}
"""Name to configuration."""
