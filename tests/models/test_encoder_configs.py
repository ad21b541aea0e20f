"""The published sizes of encoders: numbers of parameters as published, and as transformers counts them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from tfgraph.dsl.module import Module
from tfgraph.models.encoder_config import EncoderConfig
from tfgraph.models.encoder_configs import ENCODERS
from tfgraph.models.registry import find_family

PUBLISHED = {  # of the base model, with its pooler if it has one
    "bert-base-uncased": 109_482_240,
    "bert-base-cased": 108_310_272,
    "bert-base-multilingual-cased": 177_853_440,
    "bert-large-uncased": 335_141_888,
    "bert-large-cased": 333_579_264,
    "bert-tiny": 4_385_920,
    "bert-mini": 11_170_560,
    "bert-small": 28_763_648,
    "bert-medium": 41_373_184,
    "minilm-l12-h384": 33_360_000,
    "minilm-l6-h384": 22_713_216,
    "roberta-base": 124_645_632,
    "roberta-large": 355_359_744,
    "distilroberta-base": 82_118_400,
    "xlm-roberta-base": 278_043_648,
    "xlm-roberta-large": 559_890_432,
    "camembert-base": 110_621_952,
    "albert-base-v1": 11_683_584,
    "albert-large-v1": 17_683_968,
    "albert-xlarge-v1": 58_724_864,
    "albert-xxlarge-v1": 222_595_584,
    "albert-base-v2": 11_683_584,
    "albert-large-v2": 17_683_968,
    "albert-xlarge-v2": 58_724_864,
    "albert-xxlarge-v2": 222_595_584,
    "distilbert-base-uncased": 66_362_880,
    "distilbert-base-cased": 65_190_912,
    "distilbert-base-multilingual-cased": 134_734_080,
    "electra-small-discriminator": 13_483_008,
    "electra-base-discriminator": 108_891_648,
    "electra-large-discriminator": 334_092_288,
    "electra-small-generator": 13_483_008,
    "electra-base-generator": 33_511_168,
    "electra-large-generator": 50_999_552,
}
ROUNDED = {  # in the Megatron-LM paper, which counts the pooler and the head that predicts tokens
    "megatron-bert-336m": (336e6, 1e6),
    "megatron-bert-1.3b": (1.3e9, 0.05e9),
    "megatron-bert-3.9b": (3.9e9, 0.05e9),
}


def declare(config: EncoderConfig, task: str = "base") -> Module:
    return find_family(config.model_type).architecture_for(task).build(config)


@pytest.mark.parametrize("name", PUBLISHED)
def test_number_of_parameters(name: str) -> None:
    assert declare(ENCODERS[name]).num_parameters() == PUBLISHED[name]


@pytest.mark.parametrize("name", ROUNDED)
def test_number_of_parameters_within_the_rounding_of_the_paper(name: str) -> None:
    published, rounding = ROUNDED[name]
    assert abs(declare(ENCODERS[name], "pre-training").num_parameters() - published) < rounding


@pytest.mark.parametrize("name", ENCODERS)
def test_number_of_parameters_in_transformers(name: str) -> None:
    import torch
    import transformers

    ours = ENCODERS[name]
    settings = {
        field.name: getattr(ours, field.name) for field in fields(ours) if field.init and field.name != "labels"
    }
    if ours.model_type == "distilbert":
        settings["hidden_dim"] = settings.pop("intermediate_size")
    config = transformers.AutoConfig.for_model(ours.model_type, **settings)
    with torch.device("meta"):
        theirs = transformers.AutoModel.from_config(config)
    assert declare(ours).num_parameters() == theirs.num_parameters()


@pytest.mark.parametrize("name", [name for name in ENCODERS if "multilingual" not in name])
def test_texts_of_512_tokens(name: str) -> None:
    assert ENCODERS[name].max_length == 512


def test_heads_have_the_sizes_of_the_releases() -> None:
    sizes = {name: config.hidden_size // config.num_attention_heads for name, config in ENCODERS.items()}
    others = {name: size for name, size in sizes.items() if size != 64}
    assert others == {
        "minilm-l12-h384": 32, "minilm-l6-h384": 32, "albert-xlarge-v1": 128, "albert-xlarge-v2": 128,
    }  # fmt: skip
