"""Checkpoint folders that are damaged, contradict themselves, or are not of the model that is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.errors import CheckpointError, ConfigError
from tfgraph.models.family import TASKS
from tfgraph.pretrained import load


def checkpoint_error(folder, **arguments):
    with pytest.raises(CheckpointError) as caught:
        load(folder, **arguments)
    return str(caught.value)


def config_error(folder, **arguments):
    with pytest.raises(ConfigError) as caught:
        load(folder, **arguments)
    return str(caught.value)


def test_missing_extra_and_misshapen_tensors_are_all_listed(tmp_path, folders):
    weights = folders.weights_of("BertModel")
    del weights["encoder.layer.0.output.dense.bias"]
    weights["encoder.layer.1.output.dense.bias"] = np.zeros(8, np.float32)
    weights["encoder.layer.0.intermediate.dense.weight"] = np.zeros((5, 8), np.float32)
    assert checkpoint_error(folders.write(tmp_path, weights=weights)) == (
        f"the checkpoint in {tmp_path} does not fit the model:\n"
        "  1 tensor missing from the checkpoint:\n"
        "    encoder.layer.0.output.dense.bias: float32[8] "
        "(the checkpoint has encoder.layer.1.output.dense.bias: was that meant?)\n"
        "  1 tensor in the checkpoint but not in the model:\n"
        "    encoder.layer.1.output.dense.bias: float32[8]\n"
        "  1 tensor of another shape than the model's:\n"
        "    encoder.layer.0.intermediate.dense.weight: found [5, 8], expected [6, 8]\n"
        "Check that the configuration is the one that was saved with these weights, and for this model."
    )


def test_a_head_that_the_checkpoint_lacks(tmp_path, folders):
    message = checkpoint_error(folders.write(tmp_path), task="question-answering")
    assert "2 tensors missing from the checkpoint" in message
    assert "qa_outputs.weight: float32[2, 8]" in message


def test_half_a_pooler_is_an_error(tmp_path, folders):
    weights = folders.weights_of("BertModel")
    del weights["pooler.dense.bias"]
    assert "pooler.dense.bias: float32[8]" in checkpoint_error(folders.write(tmp_path, weights=weights))


def test_an_integer_where_a_float_belongs(tmp_path, folders):
    weights = folders.weights_of("BertModel")
    weights["pooler.dense.bias"] = np.zeros(8, np.int32)
    message = checkpoint_error(folders.write(tmp_path, weights=weights))
    assert "pooler.dense.bias: found int32, expected float32" in message


def test_more_layers_than_the_configuration_says(tmp_path, folders):
    weights = folders.weights_of("BertModel", num_hidden_layers=2)
    message = checkpoint_error(folders.write(tmp_path, weights=weights))
    assert "16 tensors in the checkpoint but not in the model" in message


def test_unreadable_weights(tmp_path, folders):
    folder = folders.write(tmp_path)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-7])
    assert str(folder / "model.safetensors") in checkpoint_error(folder)
    (folder / "model.safetensors").unlink()
    assert "holds no safetensors file" in checkpoint_error(folder)


def test_unknown_model_type(tmp_path, folders):
    message = config_error(folders.write(tmp_path, model_type="bertt"))
    assert message.startswith(
        f"{tmp_path / 'config.json'}: unknown model_type 'bertt': did you mean 'bert'? It can be "
    )


def test_configurations_that_make_no_sense(tmp_path, folders):
    weights = folders.weights_of("BertModel")
    assert config_error(folders.write(tmp_path, weights=weights, num_attention_heads=3)) == (
        f"{tmp_path / 'config.json'}: num_attention_heads=3 does not divide hidden_size=8: expected one of 1, 2, 4, 8"
    )
    assert "unknown bert architecture 'BertLMHeadModel'" in config_error(
        folders.write(tmp_path, weights=weights, architectures=["BertLMHeadModel"])
    )
    assert "'hidden_size' is null" in config_error(folders.write(tmp_path, weights=weights, hidden_size=None))
    (tmp_path / "config.json").write_text("{")
    assert "is not valid JSON" in config_error(tmp_path)
    (tmp_path / "config.json").unlink()
    assert "has no config.json, which says what the model is" in config_error(tmp_path)
    assert "does not exist" in config_error(tmp_path / "nowhere")


def test_an_unknown_task_or_dtype(tmp_path, folders):
    folder = folders.write(tmp_path)
    message = config_error(folder, task="masked_lm")
    assert message.startswith("unknown task 'masked_lm': did you mean 'masked-lm'?")
    assert all(repr(task) in message for task in TASKS)
    assert config_error(folder, dtype="int8") == (
        "unknown dtype of weights 'int8': it can be 'float32', 'float16', 'bfloat16'"
    )
