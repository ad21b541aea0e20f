"""Published sizes, as data: what is needed to declare a well-known model without its checkpoint.

    BertModel(published_config("bert-base-uncased"))

The numbers are those of the released configurations. Checkpoints bring their own, see `tfgraph.pretrained`.
"""

from __future__ import annotations

from tfgraph.dsl.layers.choices import choose
from tfgraph.models.bert import BertConfig

_UNCASED, _CASED = 30522, 28996  # tokens in the English vocabularies of 2018


def _bert(vocab_size: int, num_layers: int, hidden_size: int, num_heads: int | None = None) -> BertConfig:
    """BERT with its ratios: heads of 64 features, an MLP four times as wide as the hidden state, 512 positions."""
    return BertConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads or hidden_size // 64,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=512,
    )


CONFIGS: dict[str, BertConfig] = {
    # Devlin et al., "BERT", 2019, section 3, and the multilingual release
    "bert-base-uncased": _bert(_UNCASED, 12, 768),
    "bert-base-cased": _bert(_CASED, 12, 768),
    "bert-base-multilingual-cased": _bert(119547, 12, 768),
    "bert-large-uncased": _bert(_UNCASED, 24, 1024),
    "bert-large-cased": _bert(_CASED, 24, 1024),
    # Turc et al., "Well-Read Students Learn Better: On the Importance of Pre-training Compact Models", 2019, table 1
    "bert-tiny": _bert(_UNCASED, 2, 128),
    "bert-mini": _bert(_UNCASED, 4, 256),
    "bert-small": _bert(_UNCASED, 4, 512),
    "bert-medium": _bert(_UNCASED, 8, 512),
    # Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers",
    # 2020, section 4; the one with 6 layers keeps every second layer of the other
    "minilm-l12-h384": _bert(_UNCASED, 12, 384, num_heads=12),
    "minilm-l6-h384": _bert(_UNCASED, 6, 384, num_heads=12),
}
"""Name to configuration."""


def published_config(name: str) -> BertConfig:
    """The configuration of a published model.

    Raises:
        ConfigError: none of that name is known; the message suggests the nearest and lists all.
    """
    return choose("published model", name, CONFIGS)
