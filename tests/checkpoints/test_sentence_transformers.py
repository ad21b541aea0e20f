"""What a sentence-transformers folder says: the layouts that exist, and the ones that make no sense."""

from __future__ import annotations

import json

import pytest

from tfgraph.checkpoints.sentence_transformers import (
    SentenceSettings,
    find_encoder_folder,
    is_sentence_folder,
    read_sentence_settings,
)
from tfgraph.errors import ConfigError

MEAN = {
    "word_embedding_dimension": 8,
    "pooling_mode_cls_token": False,
    "pooling_mode_mean_tokens": True,
    "pooling_mode_max_tokens": False,
}


def write(folder, modules=("Transformer", "Pooling"), pooling=MEAN, encoder=None, encoder_path=""):
    """Lay a folder out; `modules` are kinds, or the content of `modules.json` itself."""
    content = modules
    if isinstance(modules, tuple):
        paths = [encoder_path, *(f"{number}_{kind}" for number, kind in enumerate(modules[1:], start=1))]
        kinds = [f"sentence_transformers.models.{kind}" for kind in modules]
        content = [{"idx": 0, "path": path, "type": kind} for path, kind in zip(paths, kinds, strict=True)]
    if content is not None:
        (folder / "modules.json").write_text(json.dumps(content))
    if pooling is not None:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    if encoder is not None:
        (folder / encoder_path).mkdir(exist_ok=True)
        (folder / encoder_path / "sentence_bert_config.json").write_text(json.dumps(encoder))
    return folder


def error_of(folder):
    with pytest.raises(ConfigError) as caught:
        read_sentence_settings(folder)
    return str(caught.value)


def test_all_of_it(tmp_path):
    write(tmp_path, ("Transformer", "Pooling", "Normalize"), encoder={"max_seq_length": 256, "do_lower_case": True})
    assert is_sentence_folder(tmp_path)
    assert find_encoder_folder(tmp_path) == tmp_path
    assert read_sentence_settings(str(tmp_path)) == SentenceSettings(("mean",), True, 256, True)


def test_an_encoder_in_a_folder_of_its_own(tmp_path):
    write(tmp_path, encoder={"max_seq_length": 128}, encoder_path="0_Transformer")
    assert find_encoder_folder(tmp_path) == tmp_path / "0_Transformer"
    assert read_sentence_settings(tmp_path) == SentenceSettings(("mean",), False, 128, False)


def test_a_pooling_without_a_list_of_modules(tmp_path):
    write(tmp_path, None, {"pooling_mode_cls_token": True})
    assert is_sentence_folder(tmp_path)
    assert read_sentence_settings(tmp_path) == SentenceSettings(("cls",))


def test_a_folder_that_says_nothing(tmp_path):
    assert not is_sentence_folder(tmp_path)
    assert find_encoder_folder(tmp_path) == tmp_path
    assert read_sentence_settings(tmp_path) == SentenceSettings(("mean",), False, None, False)


def test_classes_are_known_by_their_last_name(tmp_path):
    kinds = ["sentence_transformers.base.modules.transformer.Transformer", "sentence_transformers.pooling.Pooling"]
    write(tmp_path, [{"path": "", "type": kinds[0]}, {"path": "1_Pooling", "type": kinds[1]}])
    assert read_sentence_settings(tmp_path).pooling_modes == ("mean",)


@pytest.mark.parametrize(
    "pooling, modes",
    [
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": True}, ("max", "mean")),
        ({"pooling_mode_lasttoken": True}, ("lasttoken",)),
        ({"pooling_mode": "cls"}, ("cls",)),
        ({"pooling_mode": ["mean", "max"]}, ("mean", "max")),
    ],
)
def test_pooling_modes(tmp_path, pooling, modes):
    assert read_sentence_settings(write(tmp_path, pooling=pooling)).pooling_modes == modes


@pytest.mark.parametrize(
    "pooling, message",
    [
        ({}, "switches no pooling mode on: expected one of pooling_mode_cls_token,"),
        ({"pooling_mode_mean_tokens": "yes"}, "'pooling_mode_mean_tokens' is 'yes': expected true or false"),
        ({"pooling_mode": 3}, "'pooling_mode' is 3: expected a text, or a list of texts"),
        ({"pooling_mode": []}, r"'pooling_mode' is \[\]: expected a text, or a list of texts"),
        ([], "holds a JSON array where an object"),
        (None, "does not exist"),
    ],
)
def test_pooling_settings_that_make_no_sense(tmp_path, pooling, message):
    found = error_of(write(tmp_path, pooling=pooling))
    assert found.startswith(str(tmp_path / "1_Pooling" / "config.json"))
    with pytest.raises(ConfigError, match=message):
        read_sentence_settings(tmp_path)


@pytest.mark.parametrize(
    "modules, message",
    [
        (("Transformer", "Pooling", "Dense"), "lists the modules Transformer, Pooling, Dense: expected Transformer, "),
        (("Transformer", "Pooling", "Normalize", "Dense"), "lists the modules Transformer, Pooling, Normalize, Dense"),
        (("Pooling",), "lists the modules Pooling: expected"),
        ([], "lists the modules none: expected"),
        ({"0": "Transformer"}, "holds a JSON object where an array"),
        ([3], "lists 3: expected an object with the texts 'type' and 'path'"),
        ([{"type": "Transformer"}], "expected an object with the texts 'type' and 'path'"),
        ([{"type": "Transformer", "path": "../other"}], "puts a module in '../other': expected a folder inside"),
        ([{"type": "Transformer", "path": "/etc"}], "puts a module in '/etc': expected a folder inside"),
        ([{"type": "Transformer", "path": "C:\\x"}], "expected a folder inside"),
    ],
)
def test_modules_that_make_no_sense(tmp_path, modules, message):
    found = error_of(write(tmp_path, modules))
    assert found.startswith(str(tmp_path / "modules.json"))
    assert message in found


def test_other_modules_do_not_hide_the_encoder(tmp_path):
    write(tmp_path, ("Transformer", "Pooling", "Dense"), encoder={}, encoder_path="0_Transformer")
    assert find_encoder_folder(tmp_path) == tmp_path / "0_Transformer"
    assert 'load the folder with task="base"' in error_of(tmp_path)


@pytest.mark.parametrize(
    "encoder, message",
    [
        ({"max_seq_length": 0}, "'max_seq_length' is 0: expected a positive integer"),
        ({"max_seq_length": "long"}, "'max_seq_length' is 'long': expected a positive integer"),
        ({"do_lower_case": 1}, "'do_lower_case' is 1: expected true or false"),
    ],
)
def test_encoder_settings_that_make_no_sense(tmp_path, encoder, message):
    assert error_of(write(tmp_path, encoder=encoder)) == f"{tmp_path / 'sentence_bert_config.json'}: {message}"
