"""What Megatron-LM calls its tensors, in the spelling of its newer versions, and what a BERT's are called elsewhere.

GPT-2's keep these names, which its family knows (`tfgraph.models.megatron_gpt2`). BERT's become those of Hugging Face's
`megatron-bert`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

QUERY_KEY_VALUE = "self_attention.query_key_value"

_OLDER = {
    "language_model.transformer": "language_model.encoder",
    "attention": "self_attention",
    "input_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "final_norm": "final_layernorm",
}
"""Parts of names that were, or in between are, spelt in another way."""

_OLDER_PART = re.compile(rf"(?<![\w.])language_model\.transformer(?=\.)|(?<=\.)({'|'.join(list(_OLDER)[1:])})(?=\.)")
_LAYER = re.compile(r"(?<=\.layers\.)\d+(?=\.)")

BERT_NAMES = {
    "language_model.embedding.word_embeddings": "bert.embeddings.word_embeddings",
    "language_model.embedding.position_embeddings": "bert.embeddings.position_embeddings",
    "language_model.embedding.tokentype_embeddings": "bert.embeddings.token_type_embeddings",
    "language_model.encoder.layers.{}.input_layernorm": "bert.encoder.layer.{}.attention.ln",
    "language_model.encoder.layers.{}.self_attention.query": "bert.encoder.layer.{}.attention.self.query",
    "language_model.encoder.layers.{}.self_attention.key": "bert.encoder.layer.{}.attention.self.key",
    "language_model.encoder.layers.{}.self_attention.value": "bert.encoder.layer.{}.attention.self.value",
    "language_model.encoder.layers.{}.self_attention.dense": "bert.encoder.layer.{}.attention.output.dense",
    "language_model.encoder.layers.{}.post_attention_layernorm": "bert.encoder.layer.{}.ln",
    "language_model.encoder.layers.{}.mlp.dense_h_to_4h": "bert.encoder.layer.{}.intermediate.dense",
    "language_model.encoder.layers.{}.mlp.dense_4h_to_h": "bert.encoder.layer.{}.output.dense",
    "language_model.encoder.final_layernorm": "bert.encoder.ln",
    "language_model.pooler.dense": "bert.pooler.dense",
    "lm_head.dense": "cls.predictions.transform.dense",
    "lm_head.layernorm": "cls.predictions.transform.LayerNorm",
    "lm_head.norm": "cls.predictions.transform.LayerNorm",
    "lm_head": "cls.predictions",
    "binary_head": "cls.seq_relationship",
    "classification_head": "classifier",
    "multichoice_head": "classifier",
}
"""Module of Megatron's BERT to module of Hugging Face's."""


def newer_name(name: str, first_layer: int = 0) -> str:
    """A tensor's name as newer versions of Megatron-LM spell it, its layer counted from `first_layer` on.

    The layers of a pipeline stage are numbered from 0, whichever stage it is.
    """
    spelt = _OLDER_PART.sub(lambda match: _OLDER[match[0]], name)
    return _LAYER.sub(lambda match: str(int(match[0]) + first_layer), spelt)


def count_layers(names: Iterable[str]) -> int:
    """How many layers these tensors are of."""
    return 1 + max((layer for layer in map(layer_of, names) if layer is not None), default=-1)


def layer_of(name: str) -> int | None:
    """The number of the layer that a tensor is of."""
    match = _LAYER.search(name)
    return None if match is None else int(match[0])


def is_bert(names: Iterable[str]) -> bool:
    """Whether these are the (newer) names of a BERT's tensors, and not of a GPT's."""
    heads = ("lm_head.", "binary_head.", "classification_head.", "multichoice_head.", "language_model.pooler.")
    return any(name.startswith(heads) or ".tokentype_embeddings." in name for name in names)


def bert_name(name: str) -> str:
    """What Hugging Face's `megatron-bert` calls the tensor `name`; as it is, if a BERT has no such tensor."""
    module, _, kind = name.rpartition(".")
    theirs = BERT_NAMES.get(_LAYER.sub("{}", module))
    return name if theirs is None else f"{theirs.format(layer_of(name))}.{kind}"
