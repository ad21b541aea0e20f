"""Published sizes of encoders, as data: BERT and the families after it. They are looked up in `configs.py`.

The numbers are those of the released configurations, and for Megatron-LM's largest those of its paper.
"""

from __future__ import annotations

from tfgraph.models.albert import AlbertConfig
from tfgraph.models.bert import BertConfig
from tfgraph.models.distilbert import DistilBertConfig
from tfgraph.models.electra import ElectraConfig
from tfgraph.models.encoder_config import EncoderConfig
from tfgraph.models.megatron_bert import MegatronBertConfig
from tfgraph.models.roberta import CamembertConfig, RobertaConfig, XLMRobertaConfig

_UNCASED, _CASED, _MULTILINGUAL = 30522, 28996, 119547  # tokens in the vocabularies of BERT, 2018
_BASE, _LARGE = (12, 768), (24, 1024)  # layers, hidden size


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


def _roberta(kind: type[RobertaConfig], vocab_size: int, num_layers: int, hidden_size: int) -> RobertaConfig:
    """BERT's ratios, one token type, and two more rows of positions."""
    return kind(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=hidden_size // 64,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )


def _albert(num_layers: int, hidden_size: int, num_heads: int, hidden_act: str) -> AlbertConfig:
    return AlbertConfig(
        vocab_size=30000,
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=512,
        hidden_act=hidden_act,
    )


def _distilbert(vocab_size: int) -> DistilBertConfig:
    """BERT-base with every second layer."""
    return DistilBertConfig(
        vocab_size=vocab_size,
        hidden_size=768,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=512,
    )


def _electra(num_layers: int, hidden_size: int, embedding_size: int) -> ElectraConfig:
    """BERT's ratios; a generator has the embeddings of its discriminator, and narrower layers."""
    return ElectraConfig(
        vocab_size=_UNCASED,
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=hidden_size // 64,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=512,
        embedding_size=embedding_size,
    )


def _megatron(vocab_size: int, num_layers: int, hidden_size: int) -> MegatronBertConfig:
    return MegatronBertConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=hidden_size // 64,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=512,
    )


_PADDED = 30720  # the uncased vocabulary, padded to a multiple of 8 x 128 for 8-way model parallelism

ENCODERS: dict[str, EncoderConfig] = {
    # Devlin et al., "BERT", 2019, section 3, and the multilingual release
    "bert-base-uncased": _bert(_UNCASED, *_BASE),
    "bert-base-cased": _bert(_CASED, *_BASE),
    "bert-base-multilingual-cased": _bert(_MULTILINGUAL, *_BASE),
    "bert-large-uncased": _bert(_UNCASED, *_LARGE),
    "bert-large-cased": _bert(_CASED, *_LARGE),
    # Turc et al., "Well-Read Students Learn Better: On the Importance of Pre-training Compact Models", 2019, table 1
    "bert-tiny": _bert(_UNCASED, 2, 128),
    "bert-mini": _bert(_UNCASED, 4, 256),
    "bert-small": _bert(_UNCASED, 4, 512),
    "bert-medium": _bert(_UNCASED, 8, 512),
    # Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers",
    # 2020, section 4; the one with 6 layers keeps every second layer of the other
    "minilm-l12-h384": _bert(_UNCASED, 12, 384, num_heads=12),
    "minilm-l6-h384": _bert(_UNCASED, 6, 384, num_heads=12),
    # Liu et al., "RoBERTa", 2019; Conneau et al., "XLM-RoBERTa", 2020; Martin et al., "CamemBERT", 2020
    "roberta-base": _roberta(RobertaConfig, 50265, *_BASE),
    "roberta-large": _roberta(RobertaConfig, 50265, *_LARGE),
    "distilroberta-base": _roberta(RobertaConfig, 50265, 6, 768),
    "xlm-roberta-base": _roberta(XLMRobertaConfig, 250002, *_BASE),
    "xlm-roberta-large": _roberta(XLMRobertaConfig, 250002, *_LARGE),
    "camembert-base": _roberta(CamembertConfig, 32005, *_BASE),
    # Lan et al., "ALBERT", 2020, table 1; the second release differs in training, and computes GELU by tanh
    "albert-base-v1": _albert(*_BASE, 12, "gelu"),
    "albert-large-v1": _albert(*_LARGE, 16, "gelu"),
    "albert-xlarge-v1": _albert(24, 2048, 16, "gelu"),
    "albert-xxlarge-v1": _albert(12, 4096, 64, "gelu"),
    "albert-base-v2": _albert(*_BASE, 12, "gelu_new"),
    "albert-large-v2": _albert(*_LARGE, 16, "gelu_new"),
    "albert-xlarge-v2": _albert(24, 2048, 16, "gelu_new"),
    "albert-xxlarge-v2": _albert(12, 4096, 64, "gelu_new"),
    # Sanh et al., "DistilBERT", 2019
    "distilbert-base-uncased": _distilbert(_UNCASED),
    "distilbert-base-cased": _distilbert(_CASED),
    "distilbert-base-multilingual-cased": _distilbert(_MULTILINGUAL),
    # Clark et al., "ELECTRA", 2020, table 6, as released
    "electra-small-discriminator": _electra(12, 256, 128),
    "electra-base-discriminator": _electra(*_BASE, 768),
    "electra-large-discriminator": _electra(*_LARGE, 1024),
    "electra-small-generator": _electra(12, 256, 128),
    "electra-base-generator": _electra(12, 256, 768),
    "electra-large-generator": _electra(24, 256, 1024),
    # Shoeybi et al., "Megatron-LM", 2020, table 4; and the release of its smallest, with other vocabularies
    "megatron-bert-336m": _megatron(_PADDED, *_LARGE),
    "megatron-bert-1.3b": _megatron(_PADDED, 24, 2048),
    "megatron-bert-3.9b": _megatron(_PADDED, 48, 2560),
    "megatron-bert-cased-345m": _megatron(29056, *_LARGE),
    "megatron-bert-uncased-345m": _megatron(30592, *_LARGE),
}
"""Name to configuration."""
