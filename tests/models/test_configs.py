"""Looking up published sizes: `tfgraph.models.configs`. What they amount to is in `test_sizes.py`."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path

import pytest

import tfgraph as tg
from tfgraph.errors import ConfigError
from tfgraph.models import configs
from tfgraph.models.bert import BertConfig
from tfgraph.models.registry import FAMILIES, find_family

MODULES = sorted({home.partition(":")[0] for home in FAMILIES.values()})


def test_a_published_model() -> None:
    assert tg.models.configs["bert-tiny"] == BertConfig(30522, 128, 2, 2, 512, 512)
    assert (configs["gpt3-175b"].num_hidden_layers, configs["gpt3-175b"].hidden_size) == (96, 12288)


@pytest.mark.parametrize("name", configs)
def test_every_model_is_of_a_known_family(name: str) -> None:
    config = configs[name]
    assert type(config) is find_family(config.model_type).config


def test_every_family_has_published_sizes() -> None:
    assert {config.model_type for config in configs.values()} == set(FAMILIES)


def test_names_are_of_one_family_alone() -> None:
    assert sum(len(importlib.import_module(module).CONFIGS) for module in MODULES) == len(configs)


def test_names_can_be_typed() -> None:
    assert [name for name in configs if name != name.lower() or set(name) & set(" _/")] == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bert-bas-cased", "unknown published model 'bert-bas-cased': did you mean 'bert-base-cased'"),
        ("gpt3-17b", "did you mean 'gpt3-175b' or 'gpt3-13b' or 'gpt3-6.7b'? `tfgraph models` lists all"),
        ("", f"unknown published model '': `tfgraph models` lists all {len(configs)}"),
    ],
)
def test_a_name_that_is_not_known(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configs[name]
    assert message in str(caught.value)


def test_it_is_a_mapping_that_cannot_be_changed() -> None:
    assert "gpt2" in configs and "gpt-2" not in configs
    assert configs.get("gpt-2") is None and configs.get("gpt2") is configs["gpt2"]
    assert len(list(configs)) == len(configs) == len(dict(configs)) > 150
    assert repr(configs).startswith("PublishedConfigs(")
    assert not isinstance(configs, MutableMapping)


@pytest.mark.parametrize("module", MODULES)
def test_each_family_is_an_attribute_of_models(module: str) -> None:
    name = module.rpartition(".")[2]
    assert getattr(tg.models, name) is importlib.import_module(module)
    assert name in dir(tg.models)


def test_what_models_does_not_have() -> None:
    with pytest.raises(AttributeError, match=r"module 'tfgraph\.models' has no attribute 'gtp2'"):
        _ = tg.models.gtp2
    assert not hasattr(tg.models, "__wrapped__")


def test_families_are_imported_when_they_are_asked_for(repository: Path) -> None:
    code = """
import sys
import tfgraph as tg
tg.models.configs
print([name for name in sys.modules if name in ("tfgraph.models.bert", "tfgraph.models.gpt2")])
tg.models.configs["gpt2"]
print("tfgraph.models.bert" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\nTrue\n", done.stderr
