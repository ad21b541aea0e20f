"""Looking up a published size. What the sizes are is checked family by family, such as in `test_encoder_configs.py`."""

from __future__ import annotations

import pytest

from tfgraph.errors import ConfigError
from tfgraph.models.bert import BertConfig
from tfgraph.models.configs import CONFIGS, published_config
from tfgraph.models.registry import find_family


def test_a_published_model() -> None:
    assert published_config("bert-tiny") == BertConfig(30522, 128, 2, 2, 512, 512)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_model_is_of_a_known_family(name: str) -> None:
    config = CONFIGS[name]
    assert type(config) is find_family(config.model_type).config


def test_a_model_that_is_not_in_the_table() -> None:
    with pytest.raises(ConfigError, match="unknown published model 'bert-bas-cased': did you mean 'bert-base-cased'"):
        published_config("bert-bas-cased")
