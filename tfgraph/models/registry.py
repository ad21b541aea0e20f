"""Which model families there are: `model_type` of a `config.json` to the module that describes it.

A family's module is imported when it is asked for, and says all about itself in `FAMILY`; see `family.py`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from tfgraph.dsl.layers.choices import choose
from tfgraph.errors import ConfigError
from tfgraph.models.family import Architecture, Family

FAMILIES = {
    "bert": "tfgraph.models.bert",
    "openai-gpt": "tfgraph.models.gpt",
    "gpt2": "tfgraph.models.gpt2",
    "gpt3": "tfgraph.models.gpt3",
    "megatron-gpt2": "tfgraph.models.megatron_gpt2",
    "gpt_neo": "tfgraph.models.gpt_neo",
    "gpt_pangu": "tfgraph.models.pangu_alpha",
    "opt": "tfgraph.models.opt",
    "bloom": "tfgraph.models.bloom",
    "gpt_neox": "tfgraph.models.gpt_neox",
    "gptj": "tfgraph.models.gptj",
    "phi": "tfgraph.models.phi",
    "phi3": "tfgraph.models.phi3",
    "roberta": "tfgraph.models.roberta",
    "xlm-roberta": "tfgraph.models.roberta:XLM_ROBERTA",
    "camembert": "tfgraph.models.roberta:CAMEMBERT",
    "albert": "tfgraph.models.albert",
    "distilbert": "tfgraph.models.distilbert",
    "electra": "tfgraph.models.electra",
    "megatron-bert": "tfgraph.models.megatron_bert",
    "t5": "tfgraph.models.t5",
    "mt5": "tfgraph.models.t5:MT5",
    "bart": "tfgraph.models.bart",
    "transformer": "tfgraph.models.transformer",
    "llama": "tfgraph.models.llama",
    "mistral": "tfgraph.models.mistral",
    "qwen2": "tfgraph.models.qwen2",
    "qwen3": "tfgraph.models.qwen3",
    "gemma": "tfgraph.models.gemma",
    "gemma2": "tfgraph.models.gemma2",
    "gemma3_text": "tfgraph.models.gemma3",
    "mixtral": "tfgraph.models.mixtral",
}
"""Every known `model_type`, with the module of its family, and the name that the family has there if not `FAMILY`."""


def find_family(model_type: str) -> Family:
    """The family of a model type.

    Raises:
        ConfigError: there is none; the message suggests the nearest and lists all.
    """
    module, _, name = choose("model_type", model_type, FAMILIES).partition(":")
    family: Family = getattr(importlib.import_module(module), name or "FAMILY")
    return family


def family_of(config: Mapping[str, Any], source: str = "config.json") -> Family:
    """The family that a configuration's `model_type` names. `source` is what to call the configuration in an error.

    Raises:
        ConfigError: `model_type` is missing, not a text, or unknown.
    """
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        found = "is missing" if "model_type" not in config else f"is {model_type!r}"
        raise ConfigError(f"{source}: 'model_type' {found}: expected one of {', '.join(FAMILIES)}")
    try:
        return find_family(model_type)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def architecture_of(config: Mapping[str, Any], family: Family, source: str = "config.json") -> Architecture:
    """The architecture that a configuration's `architectures` names; the family's base model where it names none.

    Raises:
        ConfigError: `architectures` is not a list of texts, or its first is unknown to the family.
    """
    names = config.get("architectures")
    if names is None or names == []:
        return family.architecture_for("base")
    if not isinstance(names, list) or not isinstance(names[0], str):
        raise ConfigError(f"{source}: 'architectures' is {names!r}: expected a list with the name of a class")
    try:
        return family.architecture_named(names[0])
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
