"""The table of published sizes: numbers of parameters as published, and as transformers counts them."""

from __future__ import annotations

import pytest

from tfgraph.errors import ConfigError
from tfgraph.models.bert import BertModel
from tfgraph.models.configs import CONFIGS, published_config


@pytest.mark.parametrize(
    "name, count",
    [
        ("bert-base-uncased", 109_482_240),
        ("bert-base-cased", 108_310_272),
        ("bert-base-multilingual-cased", 177_853_440),
        ("bert-large-uncased", 335_141_888),
        ("bert-large-cased", 333_579_264),
        ("bert-tiny", 4_385_920),
        ("bert-mini", 11_170_560),
        ("bert-small", 28_763_648),
        ("bert-medium", 41_373_184),
        ("minilm-l12-h384", 33_360_000),
        ("minilm-l6-h384", 22_713_216),
    ],
)
def test_number_of_parameters(name, count):
    assert BertModel(published_config(name)).num_parameters() == count


@pytest.mark.parametrize("name", CONFIGS)
def test_number_of_parameters_in_transformers(name):
    import torch
    import transformers

    ours = CONFIGS[name]
    settings = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    with torch.device("meta"):
        theirs = transformers.BertModel(transformers.BertConfig(**{key: getattr(ours, key) for key in settings}))
    assert BertModel(ours).num_parameters() == theirs.num_parameters()


def test_a_model_that_is_not_in_the_table():
    with pytest.raises(ConfigError, match="unknown published model 'bert-bas-cased': did you mean 'bert-base-cased'"):
        published_config("bert-bas-cased")
