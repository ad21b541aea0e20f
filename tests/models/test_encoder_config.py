"""Reading a configuration: defaults, labels, and the error for everything that can be wrong with it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.errors import ConfigError
from tfgraph.models.bert import BertConfig

MINIMAL = {
    "vocab_size": 53,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
}


def error_of(**changes):
    with pytest.raises(ConfigError) as caught:
        BertConfig.from_dict({**MINIMAL, **changes}, "x/config.json")
    message = str(caught.value)
    assert message.startswith("x/config.json: ")
    return message.removeprefix("x/config.json: ")


def test_defaults():
    config = BertConfig.from_dict(MINIMAL)
    assert config == BertConfig(53, 32, 2, 4, 48, 24)
    assert (config.type_vocab_size, config.hidden_act, config.layer_norm_eps) == (2, "gelu", 1e-12)
    assert config.tie_word_embeddings
    assert config.labels == ("LABEL_0", "LABEL_1")
    assert (config.num_labels, config.max_length) == (2, 24)


def test_every_setting_is_read():
    changes = {"type_vocab_size": 3, "hidden_act": "relu", "layer_norm_eps": 0.001, "tie_word_embeddings": False}
    config = BertConfig.from_dict({**MINIMAL, **changes, "unknown": [1]})
    assert {name: getattr(config, name) for name in changes} == changes
    assert isinstance(BertConfig.from_dict({**MINIMAL, "layer_norm_eps": 1e-3}).layer_norm_eps, float)


def test_null_means_default():
    assert BertConfig.from_dict({**MINIMAL, "hidden_act": None, "id2label": None}) == BertConfig.from_dict(MINIMAL)


@given(st.lists(st.sampled_from(sorted(MINIMAL)), min_size=1, unique=True))
def test_all_missing_settings_are_listed(names):
    with pytest.raises(ConfigError) as caught:
        BertConfig.from_dict({name: value for name, value in MINIMAL.items() if name not in names})
    listed = [part.strip() for part in str(caught.value).removeprefix("config.json: ").split(";")]
    assert sorted(listed) == sorted(f"'{name}' is missing: expected an integer" for name in names)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"hidden_size": None}, "'hidden_size' is null: expected an integer"),
        ({"hidden_size": "32"}, "'hidden_size' is '32': expected an integer"),
        ({"hidden_size": 32.0}, "'hidden_size' is 32.0: expected an integer"),
        ({"hidden_size": True}, "'hidden_size' is True: expected an integer"),
        ({"layer_norm_eps": "1e-12"}, "'layer_norm_eps' is '1e-12': expected a number"),
        ({"layer_norm_eps": True}, "'layer_norm_eps' is True: expected a number"),
        ({"tie_word_embeddings": 1}, "'tie_word_embeddings' is 1: expected true or false"),
        ({"hidden_act": 3}, "'hidden_act' is 3: expected a text"),
        ({"layer_norm_eps": 0}, "layer_norm_eps is 0.0: expected a positive number such as 1e-12"),
        ({"vocab_size": 0}, "vocab_size is 0: expected a whole number of at least 1"),
        ({"num_hidden_layers": -1}, "num_hidden_layers is -1: expected a whole number of at least 1"),
        ({"num_labels": 0}, "'num_labels' is 0: expected a positive integer"),
        ({"num_labels": "two"}, "'num_labels' is 'two': expected a positive integer"),
        (
            {"position_embedding_type": "relative_key"},
            "'position_embedding_type' is 'relative_key': bert models are built with learned 'absolute' positions only",
        ),
        ({"is_decoder": True}, "'is_decoder' is True: bert models are built as encoders only"),
        ({"add_cross_attention": True}, "'add_cross_attention' is True: bert models are built as encoders only"),
    ],
)
def test_wrong_values(changes, message):
    assert error_of(**changes) == message


def test_heads_that_do_not_divide_the_hidden_size():
    assert error_of(num_attention_heads=5) == (
        "num_attention_heads=5 does not divide hidden_size=32: expected one of 1, 2, 4, 8, 16, 32"
    )
    with pytest.raises(ConfigError, match="num_attention_heads=5 does not divide hidden_size=32"):
        BertConfig(53, 32, 2, 5, 48, 24)


def test_unknown_activation_suggests_and_lists():
    message = error_of(hidden_act="gelo")
    assert message.startswith("unknown activation 'gelo': did you mean 'gelu'?")
    assert "'relu'" in message and "'silu'" in message


@pytest.mark.parametrize("positions", ["absolute", None])
def test_absolute_positions_are_taken(positions):
    settings = {**MINIMAL, "position_embedding_type": positions, "is_decoder": False}
    assert BertConfig.from_dict(settings) == BertConfig.from_dict(MINIMAL)


@pytest.mark.parametrize(
    "given, labels",
    [
        ({"id2label": {"1": "bad", "0": "good"}}, ("good", "bad")),
        ({"id2label": {0: "x", 1: "y", 2: "z"}, "num_labels": 3}, ("x", "y", "z")),
        ({"id2label": dict(zip("0123456789", "abcdefghij", strict=True))}, tuple("abcdefghij")),
        ({"id2label": {str(number): str(number) for number in range(12)}}, tuple(map(str, range(12)))),
        ({"num_labels": 1}, ("LABEL_0",)),
    ],
)
def test_labels(given, labels):
    assert BertConfig.from_dict({**MINIMAL, **given}).labels == labels


@pytest.mark.parametrize("labels", [{}, {"1": "a"}, {"0": "a", "2": "b"}, {"0": 1}, {"a": "b"}, ["a", "b"], "a"])
def test_labels_that_are_none(labels):
    shown = repr(labels)
    assert error_of(id2label=labels) == (
        f"'id2label' is {shown}: expected an object that maps 0, 1, … to the names of the labels"
    )


def test_no_labels():
    with pytest.raises(ConfigError, match="labels is empty: a classifier needs at least one label"):
        BertConfig(53, 32, 2, 4, 48, 24, labels=())


def test_what_transformers_writes_is_read(tmp_path):
    import transformers

    theirs = transformers.BertConfig(**MINIMAL, num_labels=4, hidden_act="gelu_new", layer_norm_eps=1e-6)
    theirs.save_pretrained(tmp_path)
    ours = BertConfig.from_dict(json.loads((tmp_path / "config.json").read_text()))
    assert ours.labels == ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3")
    for name in (*MINIMAL, "hidden_act", "layer_norm_eps", "type_vocab_size", "tie_word_embeddings"):
        assert getattr(ours, name) == getattr(theirs, name)
