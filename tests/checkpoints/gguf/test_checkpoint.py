"""GGUF files converted from transformers models: the same configuration, names, weights and logits come back."""

import json

import numpy as np
import pytest

from tests.gguf_files import MODELS, architecture_named, convert, save_model
from tfgraph.checkpoints.folder import read_weights
from tfgraph.checkpoints.gguf import open_gguf_checkpoint
from tfgraph.checkpoints.gguf.architectures import ARCHITECTURES


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Model name -> (transformers model, its folder, its GGUF file), each made once."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            model = save_model(name, folder)
            convert(folder, name, folder / "model.gguf")
            made[name] = (model, folder, folder / "model.gguf")
        return made[name]

    return get


def test_every_architecture_is_tested():
    assert {architecture_named(name) for name in MODELS} == set(ARCHITECTURES)


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_those_of_the_checkpoint(converted, name):
    _, folder, path = converted(name)
    expected = read_weights(folder)
    found = open_gguf_checkpoint(path).weights
    assert set(found) == set(expected)
    for key, constant in found.items():
        assert constant.shape == expected[key].shape, key
        # adding one to a norm and taking it away again rounds twice
        exact = "norm" not in key or not name.startswith("gemma")
        np.testing.assert_allclose(
            constant.numpy(), expected[key].numpy(), rtol=0, atol=0 if exact else 2e-7, err_msg=key
        )


@pytest.mark.parametrize("name", MODELS)
def test_configuration_makes_the_same_model(converted, name):
    import torch
    import transformers

    model, folder, path = converted(name)
    checkpoint = open_gguf_checkpoint(path)
    given = json.loads((folder / "config.json").read_text())
    assert checkpoint.config["model_type"] == given["model_type"]
    assert checkpoint.config["architectures"] == given["architectures"]
    config = transformers.AutoConfig.for_model(**checkpoint.config)
    other = getattr(transformers, checkpoint.config["architectures"][0])(config).eval()
    expected, found = model.state_dict(), other.state_dict()
    assert {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in expected.items()}
    other.load_state_dict(expected)
    ids = torch.arange(2 * 20).reshape(2, 20) % 61
    with torch.no_grad():
        torch.testing.assert_close(other(ids).logits, model(ids).logits, rtol=0, atol=0)


@pytest.mark.parametrize("name", MODELS)
def test_configuration_has_what_config_json_has(converted, name):
    _, folder, path = converted(name)
    given, found = json.loads((folder / "config.json").read_text()), open_gguf_checkpoint(path).config
    rope = given.get("rope_parameters") or {}
    rope = rope.get("full_attention", rope)
    expected = {**given, "rope_theta": rope.get("rope_theta")}
    for key in found.keys() & expected.keys() - {"hidden_activation", "hidden_act", "tie_word_embeddings"}:
        assert found[key] == expected[key], key
    sizes = {"vocab_size", "rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "rope_theta"}
    sizes |= {"hidden_size", "n_embd", "num_hidden_layers", "n_layer", "num_attention_heads", "n_head", "head_dim"}
    sizes |= {"num_key_value_heads", "n_positions", "max_position_embeddings", "eos_token_id", "bos_token_id"}
    assert {key for key in sizes if expected.get(key) is not None} <= found.keys()


@pytest.mark.parametrize(("kind", "worst"), [("Q8_0", 0.01), ("Q5_1", 0.03), ("Q4_0", 0.15)])
@pytest.mark.parametrize("name", ["llama", "mixtral", "gpt2", "bloom", "gemma"])
def test_quantised_matrices_are_restored_like_others(converted, tmp_path, name, kind, worst):
    """Rows are put back in order, and matrices transposed, after they are dequantised."""
    from gguf.constants import GGMLQuantizationType

    _, folder, _ = converted(name)
    convert(folder, name, tmp_path / "model.gguf", GGMLQuantizationType[kind])
    expected = read_weights(folder)
    found = open_gguf_checkpoint(tmp_path / "model.gguf").weights
    assert set(found) == set(expected)
    for key, constant in found.items():
        assert np.abs(constant.numpy() - expected[key].numpy()).max() < worst, key
