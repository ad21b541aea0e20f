"""The published sizes of encoders against transformers' own models. What was published is in `test_sizes.py`."""

from __future__ import annotations

from dataclasses import fields

import pytest

from tfgraph.models.declared import build
from tfgraph.models.encoder_config import EncoderConfig
from tfgraph.models.published import configs

ENCODERS = {name: config for name, config in configs.items() if isinstance(config, EncoderConfig)}


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
    assert build(name).num_parameters() == theirs.num_parameters()


@pytest.mark.parametrize("name", [name for name in ENCODERS if "multilingual" not in name])
def test_texts_of_512_tokens(name: str) -> None:
    assert ENCODERS[name].max_length == 512


def test_heads_have_the_sizes_of_the_releases() -> None:
    sizes = {name: config.hidden_size // config.num_attention_heads for name, config in ENCODERS.items()}
    others = {name: size for name, size in sizes.items() if size != 64}
    assert others == {
        "minilm-l12-h384": 32, "minilm-l6-h384": 32, "albert-xlarge-v1": 128, "albert-xlarge-v2": 128,
    }  # fmt: skip
