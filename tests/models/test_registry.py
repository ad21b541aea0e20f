"""From a `config.json` to a family and one of its architectures."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tfgraph.errors import ConfigError
from tfgraph.models.family import SENTENCE_EMBEDDING, TASKS
from tfgraph.models.registry import FAMILIES, architecture_of, family_of, find_family

BERT = find_family("bert")


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_family_says_what_it_is(model_type):
    family = find_family(model_type)
    assert family.model_type == model_type == family.config.model_type
    names = [architecture.name for architecture in family.architectures]
    tasks = [architecture.task for architecture in family.architectures]
    assert len(set(names)) == len(names) and len(set(tasks)) == len(tasks)
    assert set(tasks) <= set(TASKS) - {SENTENCE_EMBEDDING}
    assert "base" in tasks
    assert all(callable(architecture.build) for architecture in family.architectures)


def test_unknown_model_type():
    with pytest.raises(ConfigError) as caught:
        family_of({"model_type": "bertt"}, "x/config.json")
    message = str(caught.value)
    assert message.startswith("x/config.json: unknown model_type 'bertt': did you mean 'bert'? It can be 'bert'")


@pytest.mark.parametrize(
    "config, found", [({}, "is missing"), ({"model_type": None}, "is None"), ({"model_type": 3}, "is 3")]
)
def test_no_model_type(config, found):
    with pytest.raises(ConfigError) as caught:
        family_of(config)
    assert str(caught.value) == f"config.json: 'model_type' {found}: expected one of {', '.join(FAMILIES)}"


@pytest.mark.parametrize("architecture", BERT.architectures, ids=lambda architecture: architecture.name)
def test_architecture_by_name(architecture):
    assert architecture_of({"architectures": [architecture.name]}, BERT) is architecture
    assert BERT.architecture_for(architecture.task) is architecture


@pytest.mark.parametrize("config", [{}, {"architectures": None}, {"architectures": []}])
def test_without_architectures_it_is_the_base_model(config):
    assert architecture_of(config, BERT).name == "BertModel"


def test_unknown_architecture():
    with pytest.raises(ConfigError) as caught:
        architecture_of({"architectures": ["BertForMaskedLm"]}, BERT, "x/config.json")
    message = str(caught.value)
    assert message.startswith(
        "x/config.json: unknown bert architecture 'BertForMaskedLm': did you mean 'BertForMaskedLM'?"
    )
    assert message.endswith(
        "To load the weights all the same, say for which task: 'base', 'masked-lm', 'next-sentence', 'pre-training', "
        "'sequence-classification', 'token-classification', 'question-answering', 'multiple-choice'"
    )


@pytest.mark.parametrize("architectures", ["BertModel", [3], {"0": "BertModel"}, 1])
def test_architectures_that_are_no_list_of_names(architectures):
    with pytest.raises(ConfigError, match=r"'architectures' is .*: expected a list with the name of a class"):
        architecture_of({"architectures": architectures}, BERT)


def test_inputs():
    specs = {name: str(each) for name, each in BERT.input_specs("masked-lm").items()}
    assert specs == dict.fromkeys(["input_ids", "attention_mask", "token_type_ids"], "int64[batch, seq]")
    assert str(BERT.input_specs("multiple-choice")["input_ids"]) == "int64[batch, choices, seq]"


def test_a_family_is_imported_when_it_is_used(repository):
    code = """
import sys
import tfgraph as tg
assert "tfgraph.models.bert" not in sys.modules
config = tg.models.configs["bert-tiny"]
print(tg.models.bert.BertModel(config).num_parameters(), sorted(tg.models.registry.FAMILIES) != [])
try:
    tg.models.bartt
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=60)
    assert done.stdout == "4385920 True\nmodule 'tfgraph.models' has no attribute 'bartt'\n", done.stderr
