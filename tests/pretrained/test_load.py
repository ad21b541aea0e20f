"""Loading a checkpoint folder: which model it becomes, with which weights, and what it says about itself."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.models.bert import FAMILY, BertConfig
from tfgraph.pretrained import load


@pytest.mark.parametrize("architecture", FAMILY.architectures, ids=lambda architecture: architecture.name)
def test_the_class_comes_from_the_configuration(tmp_path, architecture, folders):
    folder = folders.write(tmp_path / "model", architecture.name)
    pretrained = load(str(folder))
    assert pretrained.trace().name == architecture.name
    assert (pretrained.task, pretrained.path) == (architecture.task, folder)
    assert pretrained.config == BertConfig.from_dict(folders.CONFIG)
    assert pretrained.input_specs == FAMILY.input_specs(architecture.task)
    assert all(constant.has_data for constant in pretrained.module.state_dict().values())


def test_weights_go_to_the_parameters_they_are_named_after(tmp_path, folders):
    weights = folders.weights_of("BertForMaskedLM")
    module = load(folders.write(tmp_path, "BertForMaskedLM", weights)).module
    layer = module.base.encoder.layers[0]
    for parameter, name in [
        (module.base.embeddings.word.weight, "bert.embeddings.word_embeddings.weight"),
        (layer.attention.key.bias, "bert.encoder.layer.0.attention.self.key.bias"),
        (layer.attention.output.weight, "bert.encoder.layer.0.attention.output.dense.weight"),
        (layer.norm1.weight, "bert.encoder.layer.0.attention.output.LayerNorm.weight"),
        (layer.mlp.down.weight, "bert.encoder.layer.0.output.dense.weight"),
        (layer.norm2.bias, "bert.encoder.layer.0.output.LayerNorm.bias"),
        (module.head.decoder.bias, "cls.predictions.decoder.bias"),
    ]:
        np.testing.assert_array_equal(parameter.data.numpy(), weights[name])


def test_the_base_model_of_a_folder_without_architectures(tmp_path, folders):
    pretrained = load(folders.write(tmp_path, weights=folders.weights_of("BertModel"), architectures=None))
    assert (pretrained.task, sorted(folders.run(pretrained))) == ("base", ["last_hidden_state", "pooler_output"])


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_a_checkpoint_without_pooler_gives_a_model_without_it(tmp_path, prefix, folders):
    whole = folders.weights_of("BertModel")
    weights = {f"{prefix}{name}": array for name, array in whole.items() if "pooler" not in name}
    assert list(folders.run(load(folders.write(tmp_path, weights=weights)))) == ["last_hidden_state"]


def test_a_task_of_choice(tmp_path, folders):
    folder = folders.write(tmp_path, "BertForPreTraining")
    whole = folders.run(load(folder))
    assert load(folder).task == "pre-training"
    tokens, follows = (folders.run(load(folder, task=task))["logits"] for task in ("masked-lm", "next-sentence"))
    np.testing.assert_array_equal(tokens, whole["prediction_logits"])
    np.testing.assert_array_equal(follows, whole["seq_relationship_logits"])
    assert sorted(folders.run(load(folder, task="base"))) == ["last_hidden_state", "pooler_output"]
    assert sorted(folders.run(load(folder, task="sentence-embedding"))) == ["last_hidden_state", "sentence_embedding"]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_of_another_float_type_are_converted(tmp_path, dtype, folders):
    weights = folders.weights_of("BertModel", dtype)
    module = load(folders.write(tmp_path, weights=weights)).module
    weight = module.embeddings.word.weight.data
    assert str(weight.dtype) == "float32"
    np.testing.assert_array_equal(weight.numpy(), weights["embeddings.word_embeddings.weight"].astype(np.float32))


def test_weights_as_half_precision(tmp_path, folders):
    pretrained = load(folders.write(tmp_path), dtype="float16")
    assert {str(constant.dtype) for constant in pretrained.module.state_dict().values()} == {"float16"}
    assert folders.run(pretrained)["last_hidden_state"].dtype == np.float16


def test_old_names_are_understood(tmp_path, folders):
    weights = folders.weights_of("BertForMaskedLM")
    expected = folders.run(load(folders.write(tmp_path / "new", "BertForMaskedLM", weights)))["logits"]
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
        for name, array in weights.items()
    }
    old["cls.predictions.bias"] = old.pop("cls.predictions.decoder.bias")
    old["bert.embeddings.position_ids"] = np.arange(10)[None]
    old["bert.pooler.dense.weight"] = old["bert.pooler.dense.bias"] = np.zeros(1, np.float32)
    assert any(name.endswith("gamma") for name in old)
    folder = folders.write(tmp_path / "old", "BertForMaskedLM", old)
    np.testing.assert_array_equal(folders.run(load(folder))["logits"], expected)


def test_the_bias_inside_the_decoder_comes_first(tmp_path, folders):
    weights = folders.weights_of("BertForMaskedLM")
    weights["cls.predictions.bias"] = np.zeros(12, np.float32)
    module = load(folders.write(tmp_path, "BertForMaskedLM", weights)).module
    np.testing.assert_array_equal(module.head.decoder.bias.data.numpy(), weights["cls.predictions.decoder.bias"])


def test_a_stored_decoder_that_is_tied_is_not_read(tmp_path, folders):
    weights = folders.weights_of("BertForMaskedLM")
    weights["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"].copy()
    module = load(folders.write(tmp_path, "BertForMaskedLM", weights)).module
    assert module.head.decoder.weight is module.base.embeddings.word.weight


@pytest.mark.parametrize("name, labels", [("BertForSequenceClassification", ("bad", "good")), ("BertForMaskedLM", ())])
def test_labels(tmp_path, name, labels, folders):
    pretrained = load(folders.write(tmp_path, name, id2label={"0": "bad", "1": "good"}))
    assert pretrained.labels == labels
    assert pretrained.metadata.get("labels", []) == list(labels)


def test_what_a_model_says_about_itself(tmp_path, folders):
    folder = folders.write(tmp_path, "BertForTokenClassification", id2label={"0": "O", "1": "Ort"})
    pretrained = load(folder)
    labels = ["O", "Ort"]
    expected = {"model_type": "bert", "task": "token-classification", "max_length": 10, "labels": labels}
    assert pretrained.metadata == expected
    graph = pretrained.trace()
    assert {key: graph.metadata[key] for key in expected} == {
        "model_type": "bert",
        "task": "token-classification",
        "max_length": "10",
        "labels": '["O", "Ort"]',
    }
    assert str(graph) == str(pretrained.trace())
