"""Loading checkpoint folders: which model a folder becomes, what it says about itself, and what does not fit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from tfgraph.errors import CheckpointError, ConfigError, InputError
from tfgraph.ir.interpret import interpret
from tfgraph.models.bert import FAMILY, BertConfig
from tfgraph.models.family import TASKS
from tfgraph.models.names import checkpoint_name
from tfgraph.pretrained import load

CONFIG = {
    "model_type": "bert",
    "vocab_size": 12,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 6,
    "max_position_embeddings": 10,
}
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a b c d e ##f g".split()
INPUTS = {
    "input_ids": np.array([[2, 5, 6, 3], [2, 7, 3, 0]]),
    "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]]),
    "token_type_ids": np.array([[0, 0, 1, 1], [0, 0, 0, 0]]),
}


def weights_of(name, dtype=np.float32, **settings):
    """Random tensors of a BERT class, by their names in a checkpoint."""
    architecture = FAMILY.architecture_named(name)
    module = architecture.build(BertConfig.from_dict({**CONFIG, **settings}))
    generator = np.random.default_rng(5)
    return {
        checkpoint_name(path, architecture.names): generator.normal(size=parameter.shape).astype(dtype)
        for path, parameter in module.named_parameters()
    }


def write(folder, name="BertModel", weights=None, **settings):
    """A checkpoint folder of a BERT class."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, "architectures": [name], **settings}))
    save_file(weights_of(name, **settings) if weights is None else weights, folder / "model.safetensors")
    return folder


def write_vocabulary(folder, **settings):
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, **settings}))


def write_pooling(folder, *, normalize=False, **encoder):
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [{"path": path, "type": f"x.{kind}"} for path, kind in zip(paths, kinds, strict=False)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps(encoder))


def run(pretrained):
    return interpret(pretrained.trace(), INPUTS)


def checkpoint_error(folder, **arguments):
    with pytest.raises(CheckpointError) as caught:
        load(folder, **arguments)
    return str(caught.value)


def config_error(folder, **arguments):
    with pytest.raises(ConfigError) as caught:
        load(folder, **arguments)
    return str(caught.value)


@pytest.mark.parametrize("architecture", FAMILY.architectures, ids=lambda architecture: architecture.name)
def test_the_class_comes_from_the_configuration(tmp_path, architecture):
    folder = write(tmp_path / "model", architecture.name)
    pretrained = load(str(folder))
    assert type(pretrained.module).__name__ == architecture.name
    assert (pretrained.task, pretrained.folder) == (architecture.task, folder)
    assert pretrained.config == BertConfig.from_dict(CONFIG)
    assert pretrained.input_specs == FAMILY.input_specs(architecture.task)
    assert all(constant.has_data for constant in pretrained.module.state_dict().values())


def test_weights_go_to_the_parameters_they_are_named_after(tmp_path):
    weights = weights_of("BertForMaskedLM")
    module = load(write(tmp_path, "BertForMaskedLM", weights)).module
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


def test_the_base_model_of_a_folder_without_architectures(tmp_path):
    pretrained = load(write(tmp_path, weights=weights_of("BertModel"), architectures=None))
    assert (pretrained.task, sorted(run(pretrained))) == ("base", ["last_hidden_state", "pooler_output"])


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_a_checkpoint_without_pooler_gives_a_model_without_it(tmp_path, prefix):
    weights = {f"{prefix}{name}": array for name, array in weights_of("BertModel").items() if "pooler" not in name}
    assert list(run(load(write(tmp_path, weights=weights)))) == ["last_hidden_state"]


def test_half_a_pooler_is_an_error(tmp_path):
    weights = weights_of("BertModel")
    del weights["pooler.dense.bias"]
    assert "pooler.dense.bias: float32[8]" in checkpoint_error(write(tmp_path, weights=weights))


def test_a_task_of_choice(tmp_path):
    folder = write(tmp_path, "BertForPreTraining")
    whole = run(load(folder))
    assert load(folder).task == "pre-training"
    np.testing.assert_array_equal(run(load(folder, task="masked-lm"))["logits"], whole["prediction_logits"])
    np.testing.assert_array_equal(run(load(folder, task="next-sentence"))["logits"], whole["seq_relationship_logits"])
    assert sorted(run(load(folder, task="base"))) == ["last_hidden_state", "pooler_output"]
    assert sorted(run(load(folder, task="sentence-embedding"))) == ["last_hidden_state", "sentence_embedding"]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_of_another_float_type_are_converted(tmp_path, dtype):
    weights = weights_of("BertModel", dtype)
    module = load(write(tmp_path, weights=weights)).module
    weight = module.embeddings.word.weight.data
    assert str(weight.dtype) == "float32"
    np.testing.assert_array_equal(weight.numpy(), weights["embeddings.word_embeddings.weight"].astype(np.float32))


def test_weights_as_half_precision(tmp_path):
    pretrained = load(write(tmp_path), dtype="float16")
    assert {str(constant.dtype) for constant in pretrained.module.state_dict().values()} == {"float16"}
    assert run(pretrained)["last_hidden_state"].dtype == np.float16


def test_old_names_are_understood(tmp_path):
    weights = weights_of("BertForMaskedLM")
    expected = run(load(write(tmp_path / "new", "BertForMaskedLM", weights)))["logits"]
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
        for name, array in weights.items()
    }
    old["cls.predictions.bias"] = old.pop("cls.predictions.decoder.bias")
    old["bert.embeddings.position_ids"] = np.arange(10)[None]
    old["bert.pooler.dense.weight"] = old["bert.pooler.dense.bias"] = np.zeros(1, np.float32)
    assert any(name.endswith("gamma") for name in old)
    np.testing.assert_array_equal(run(load(write(tmp_path / "old", "BertForMaskedLM", old)))["logits"], expected)


def test_the_bias_inside_the_decoder_comes_first(tmp_path):
    weights = weights_of("BertForMaskedLM")
    weights["cls.predictions.bias"] = np.zeros(12, np.float32)
    module = load(write(tmp_path, "BertForMaskedLM", weights)).module
    np.testing.assert_array_equal(module.head.decoder.bias.data.numpy(), weights["cls.predictions.decoder.bias"])


def test_a_stored_decoder_that_is_tied_is_not_read(tmp_path):
    weights = weights_of("BertForMaskedLM")
    weights["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"].copy()
    module = load(write(tmp_path, "BertForMaskedLM", weights)).module
    assert module.head.decoder.weight is module.base.embeddings.word.weight


def test_missing_extra_and_misshapen_tensors_are_all_listed(tmp_path):
    weights = weights_of("BertModel")
    del weights["encoder.layer.0.output.dense.bias"]
    weights["encoder.layer.1.output.dense.bias"] = np.zeros(8, np.float32)
    weights["encoder.layer.0.intermediate.dense.weight"] = np.zeros((5, 8), np.float32)
    assert checkpoint_error(write(tmp_path, weights=weights)) == (
        f"the checkpoint in {tmp_path} does not fit the model:\n"
        "  1 tensor missing from the checkpoint:\n"
        "    encoder.layer.0.output.dense.bias: float32[8] (the checkpoint has encoder.layer.1.output.dense.bias: was that "
        "meant?)\n"
        "  1 tensor in the checkpoint but not in the model:\n"
        "    encoder.layer.1.output.dense.bias: float32[8]\n"
        "  1 tensor of another shape than the model's:\n"
        "    encoder.layer.0.intermediate.dense.weight: found [5, 8], expected [6, 8]\n"
        "Check that the configuration is the one that was saved with these weights, and for this model."
    )


def test_a_head_that_the_checkpoint_lacks(tmp_path):
    message = checkpoint_error(write(tmp_path), task="question-answering")
    assert "2 tensors missing from the checkpoint" in message
    assert "qa_outputs.weight: float32[2, 8]" in message


def test_an_integer_where_a_float_belongs(tmp_path):
    weights = weights_of("BertModel")
    weights["pooler.dense.bias"] = np.zeros(8, np.int32)
    assert "pooler.dense.bias: found int32, expected float32" in checkpoint_error(write(tmp_path, weights=weights))


def test_more_layers_than_the_configuration_says(tmp_path):
    weights = weights_of("BertModel", num_hidden_layers=2)
    assert "16 tensors in the checkpoint but not in the model" in checkpoint_error(write(tmp_path, weights=weights))


def test_unreadable_weights(tmp_path):
    folder = write(tmp_path)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-7])
    assert str(folder / "model.safetensors") in checkpoint_error(folder)
    (folder / "model.safetensors").unlink()
    assert "holds no safetensors file" in checkpoint_error(folder)


def test_unknown_model_type(tmp_path):
    message = config_error(write(tmp_path, model_type="bertt"))
    assert message == f"{tmp_path / 'config.json'}: unknown model_type 'bertt': did you mean 'bert'? It can be 'bert'"


def test_configurations_that_make_no_sense(tmp_path):
    weights = weights_of("BertModel")
    assert config_error(write(tmp_path, weights=weights, num_attention_heads=3)) == (
        f"{tmp_path / 'config.json'}: num_attention_heads=3 does not divide hidden_size=8: expected one of 1, 2, 4, 8"
    )
    assert "unknown bert architecture 'BertLMHeadModel'" in config_error(
        write(tmp_path, weights=weights, architectures=["BertLMHeadModel"])
    )
    assert "'hidden_size' is missing" in config_error(_without(tmp_path, "hidden_size"))
    (tmp_path / "config.json").write_text("{")
    assert "is not valid JSON" in config_error(tmp_path)
    (tmp_path / "config.json").unlink()
    assert "has no config.json, which says what the model is" in config_error(tmp_path)
    assert "does not exist" in config_error(tmp_path / "nowhere")


def _without(folder, name):
    settings = {key: value for key, value in CONFIG.items() if key != name}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def test_an_unknown_task_or_dtype(tmp_path):
    folder = write(tmp_path)
    message = config_error(folder, task="masked_lm")
    assert message.startswith("unknown task 'masked_lm': did you mean 'masked-lm'?")
    assert all(repr(task) in message for task in TASKS)
    assert config_error(folder, dtype="int8") == (
        "unknown dtype of weights 'int8': it can be 'float32', 'float16', 'bfloat16'"
    )


@pytest.mark.parametrize(
    "name, labels", [("BertForSequenceClassification", ("bad", "good")), ("BertForMaskedLM", ())]
)
def test_labels(tmp_path, name, labels):
    pretrained = load(write(tmp_path, name, id2label={"0": "bad", "1": "good"}))
    assert pretrained.labels == labels
    assert pretrained.metadata.get("labels", []) == list(labels)


def test_what_a_model_says_about_itself(tmp_path):
    folder = write(tmp_path, "BertForTokenClassification", id2label={"0": "O", "1": "Ort"})
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


# -- sentence embeddings ------------------------------------------------------------------------------------------------


def test_a_sentence_transformers_folder(tmp_path):
    folder = write(tmp_path)
    write_pooling(folder, normalize=True, max_seq_length=7, do_lower_case=True)
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
    outputs = run(pretrained)
    hidden_state = run(load(folder, task="base"))["last_hidden_state"]
    np.testing.assert_array_equal(outputs["last_hidden_state"], hidden_state)
    means = np.stack([hidden_state[0].mean(axis=0), hidden_state[1, :3].mean(axis=0)])
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["sentence_embedding"], expected, rtol=1e-5, atol=1e-6)


def test_mean_pooling_where_nothing_else_is_said(tmp_path):
    pretrained = load(write(tmp_path), task="sentence-embedding")
    assert pretrained.sentence is not None and pretrained.sentence.pooling_modes == ("mean",)
    assert not pretrained.sentence.normalize
    assert pretrained.max_length == 10


def test_an_encoder_in_a_folder_of_its_own(tmp_path):
    write(tmp_path / "0_Transformer")
    write_vocabulary(tmp_path / "0_Transformer")
    (tmp_path / "modules.json").write_text(
        json.dumps([{"path": "0_Transformer", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}])
    )
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    pretrained = load(tmp_path)
    assert (pretrained.task, pretrained.folder) == ("sentence-embedding", tmp_path / "0_Transformer")
    outputs = run(pretrained)
    np.testing.assert_array_equal(outputs["sentence_embedding"], outputs["last_hidden_state"][:, 0])
    assert load(tmp_path, task="base").task == "base"
    assert pretrained.tokenizer is not None


def test_a_pooling_that_is_unknown(tmp_path):
    folder = write(tmp_path)
    write_pooling(folder)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_lasttoken": true}')
    assert "unknown pooling mode 'lasttoken'" in config_error(folder)


# -- texts --------------------------------------------------------------------------------------------------------------


def test_texts_become_inputs(tmp_path):
    folder = write(tmp_path)
    write_vocabulary(folder)
    inputs = load(folder).encode(["a b", "c"], padding="left")
    assert {name: array.tolist() for name, array in inputs.items()} == {
        "input_ids": [[2, 5, 6, 3], [0, 2, 7, 3]],
        "attention_mask": [[1, 1, 1, 1], [0, 1, 1, 1]],
        "token_type_ids": [[0, 0, 0, 0], [0, 0, 0, 0]],
    }
    assert load(folder).encode([("a", "b c")])["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1]]


def test_texts_are_truncated_to_what_the_model_takes(tmp_path):
    folder = write(tmp_path)
    write_vocabulary(folder)
    assert load(folder).encode(["a " * 30])["input_ids"].shape == (1, 10)
    assert load(folder).encode(["a " * 30], max_length=5)["input_ids"].shape == (1, 5)
    write_pooling(folder, max_seq_length=6)
    assert load(folder).encode(["a " * 30])["input_ids"].shape == (1, 6)
    assert load(folder).encode(["a " * 30], max_length=9)["input_ids"].shape == (1, 9)
    with pytest.raises(InputError, match="max_length is 11, and this model takes at most 10 tokens"):
        load(folder).encode(["a"], max_length=11)
    with pytest.raises(InputError, match="max_length must be an integer above 2"):
        load(folder).encode(["a"], max_length=0)


def test_texts_are_lower_cased_where_the_settings_say_so(tmp_path):
    folder = write(tmp_path)
    write_vocabulary(folder)
    write_pooling(folder, do_lower_case=True)
    pretrained = load(folder)
    assert pretrained.encode(["A b"])["input_ids"].tolist() == [[2, 5, 6, 3]]
    assert pretrained.encode([("A", "B")])["input_ids"].tolist() == [[2, 5, 3, 6, 3]]
    assert load(folder, task="base").encode(["A b"])["input_ids"].tolist() == [[2, 1, 6, 3]]
    for wrong in ("A b", [3], [("A", 3)], 3):
        with pytest.raises(InputError):
            pretrained.encode(wrong)


def test_choices_are_those_of_one_question(tmp_path):
    folder = write(tmp_path, "BertForMultipleChoice")
    write_vocabulary(folder)
    pretrained = load(folder)
    inputs = pretrained.encode([("a", "b"), ("a", "c d")])
    assert inputs["input_ids"].shape == (1, 2, 6)
    assert interpret(pretrained.trace(), inputs)["logits"].shape == (1, 2)


def test_a_folder_without_tokenizer(tmp_path):
    pretrained = load(write(tmp_path))
    assert pretrained.tokenizer is None
    with pytest.raises(InputError, match=r"has no tokenizer, tokenizer.json or vocab.txt: give the model token ids"):
        pretrained.encode(["a"])


def test_a_damaged_tokenizer_does_not_hinder_the_model(tmp_path):
    folder = write(tmp_path)
    (folder / "tokenizer.json").write_text("{")
    pretrained = load(folder)
    assert "last_hidden_state" in run(pretrained)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        pretrained.encode(["a"])
