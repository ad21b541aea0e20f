"""Loading folders laid out by sentence-transformers: an encoder, and how its hidden states are pooled."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tfgraph.errors import ConfigError
from tfgraph.pretrained import load


def test_a_sentence_transformers_folder(tmp_path, folders):
    folder = folders.write(tmp_path)
    folders.write_pooling(folder, normalize=True, max_seq_length=7, do_lower_case=True)
    pretrained = load(folder)
    assert pretrained.task == "sentence-embedding"
    assert pretrained.metadata == {
        "model_type": "bert",
        "task": "sentence-embedding",
        "max_length": 7,
        "pooling": ["mean"],
        "normalize": True,
        "do_lower_case": True,
    }
    outputs = folders.run(pretrained)
    hidden_state = folders.run(load(folder, task="base"))["last_hidden_state"]
    np.testing.assert_array_equal(outputs["last_hidden_state"], hidden_state)
    means = np.stack([hidden_state[0].mean(axis=0), hidden_state[1, :3].mean(axis=0)])
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["sentence_embedding"], expected, rtol=1e-5, atol=1e-6)


def test_mean_pooling_where_nothing_else_is_said(tmp_path, folders):
    pretrained = load(folders.write(tmp_path), task="sentence-embedding")
    assert pretrained.sentence is not None and pretrained.sentence.pooling_modes == ("mean",)
    assert not pretrained.sentence.normalize
    assert pretrained.max_length == 10


def test_an_encoder_in_a_folder_of_its_own(tmp_path, folders):
    folders.write(tmp_path / "0_Transformer")
    folders.write_vocabulary(tmp_path / "0_Transformer")
    (tmp_path / "modules.json").write_text(
        json.dumps([{"path": "0_Transformer", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}])
    )
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    pretrained = load(tmp_path)
    assert (pretrained.task, pretrained.path) == ("sentence-embedding", tmp_path / "0_Transformer")
    outputs = folders.run(pretrained)
    np.testing.assert_array_equal(outputs["sentence_embedding"], outputs["last_hidden_state"][:, 0])
    assert load(tmp_path, task="base").task == "base"
    assert pretrained.tokenizer is not None


def test_a_pooling_that_is_unknown(tmp_path, folders):
    folder = folders.write(tmp_path)
    folders.write_pooling(folder)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_lasttoken": true}')
    with pytest.raises(ConfigError, match="unknown pooling mode 'lasttoken'"):
        load(folder)
