"""RoBERTa against transformers: its heads, and its positions, which are counted over the ids that are not padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tfgraph
from tests.models.encoder_parity import SMALL, encoder_errors, largest_error, names_in_transformers, reference_outputs
from tests.models.parity import TOLERANCE, assert_exact, random_model, save
from tfgraph.errors import ConfigError
from tfgraph.models.names import checkpoint_name
from tfgraph.models.roberta import CAMEMBERT, FAMILY, XLM_ROBERTA, RobertaConfig

HEADS = [architecture.name for architecture in FAMILY.architectures]
RELATIVES = [each.name for family in (XLM_ROBERTA, CAMEMBERT) for each in family.architectures]
RELEASED = {"type_vocab_size": 1, "layer_norm_eps": 1e-5}


@pytest.mark.parametrize("name", HEADS)
def test_every_kind_of_batch(name: str, tmp_path: Path) -> None:
    assert_exact(encoder_errors(name, tmp_path, **RELEASED))


@pytest.mark.parametrize("name", ["XLMRobertaForMaskedLM", "CamembertForSequenceClassification"])
def test_relatives(name: str, tmp_path: Path) -> None:
    assert_exact(encoder_errors(name, tmp_path, **RELEASED))


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_act": "relu"},  # the head that predicts tokens has gelu all the same
        {"tie_word_embeddings": False},
        {"pad_token_id": 0},
        {"pad_token_id": 5, "num_attention_heads": 1},
    ],
    ids=str,
)
def test_settings(changes: dict[str, object], tmp_path: Path) -> None:
    assert_exact(encoder_errors("RobertaForMaskedLM", tmp_path, **{**RELEASED, **changes}))


@pytest.mark.parametrize("name", ["RobertaModel", "RobertaForMultipleChoice"])
def test_token_types_are_an_input_where_there_are_several(name: str, tmp_path: Path) -> None:
    assert_exact(encoder_errors(name, tmp_path / "two", type_vocab_size=2))
    two = tfgraph.load(tmp_path / "two")
    one = tfgraph.load(save(random_model(name, **{**SMALL, **RELEASED}), tmp_path / "one"))
    assert list(two.input_specs) == ["input_ids", "attention_mask", "token_type_ids"]
    assert list(one.input_specs) == ["input_ids", "attention_mask"]
    assert two.input_specs["token_type_ids"] == two.input_specs["input_ids"]


def test_positions_follow_the_ids_not_the_mask(tmp_path: Path) -> None:
    """Padding inside a text, padding that the mask keeps, masked tokens that are counted, texts of padding alone."""
    model = random_model("RobertaModel", **{**SMALL, **RELEASED})
    compiled = tfgraph.compile(tfgraph.load(save(model, tmp_path)), target="cpu")
    ids = np.array([[1, 1, 7, 1, 8, 9, 1], [1, 1, 1, 1, 1, 1, 1], [4, 5, 6, 7, 8, 9, 10], [4, 1, 1, 1, 1, 1, 1]])
    for mask in (np.ones_like(ids), (ids != 1) | (np.arange(7) == 0), np.arange(7) % 2 == np.arange(4)[:, None] % 2):
        inputs = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
        assert largest_error(compiled.run(inputs), reference_outputs(model, inputs)) <= TOLERANCE


def test_the_longest_text(tmp_path: Path) -> None:
    model = random_model("RobertaModel", **{**SMALL, **RELEASED})
    pretrained = tfgraph.load(save(model, tmp_path))
    assert pretrained.max_length == SMALL["max_position_embeddings"] - 2 == 22
    ids = np.random.default_rng(0).integers(2, 61, (2, 22))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    assert largest_error(tfgraph.compile(pretrained).run(inputs), reference_outputs(model, inputs)) <= TOLERANCE


def test_the_bias_of_the_head_under_either_name(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    save(random_model("RobertaForMaskedLM", **{**SMALL, **RELEASED}), tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    bias = weights.pop("lm_head.bias")
    for names in (["lm_head.bias"], ["lm_head.decoder.bias"], ["lm_head.bias", "lm_head.decoder.bias"]):
        save_file({**weights, **dict.fromkeys(names, bias)}, file)
        ours = tfgraph.load(tmp_path).module.state_dict()["head.decoder.bias"].numpy()
        assert np.array_equal(ours, bias)


def test_a_base_model_from_a_checkpoint_with_a_head(tmp_path: Path) -> None:
    model = random_model("RobertaForMaskedLM", **{**SMALL, **RELEASED})
    base = tfgraph.load(save(model, tmp_path), task="base")
    ids = np.array([[4, 5, 6]])
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    assert largest_error(tfgraph.compile(base).run(inputs), reference_outputs(model.roberta, inputs)) <= TOLERANCE


def test_sentence_vectors_need_no_token_types(tmp_path: Path) -> None:
    model = random_model("RobertaModel", **{**SMALL, **RELEASED})
    pretrained = tfgraph.load(save(model, tmp_path), task="sentence-embedding")
    ids = np.array([[4, 5, 6, 1], [7, 8, 9, 10]])
    inputs = {"input_ids": ids, "attention_mask": (ids != 1).astype(np.int64)}
    hidden = reference_outputs(model, inputs)["last_hidden_state"]
    mask = inputs["attention_mask"][..., None]
    mean = (hidden * mask).sum(1) / mask.sum(1)
    ours = tfgraph.compile(pretrained).run(inputs)["sentence_embedding"]
    assert np.abs(ours - mean).max() <= TOLERANCE * np.abs(mean).max()


@pytest.mark.parametrize("name", [*HEADS, *RELATIVES])
def test_every_parameter_has_the_name_that_transformers_gives_it(name: str) -> None:
    family = next(each for each in (FAMILY, XLM_ROBERTA, CAMEMBERT) if name in [a.name for a in each.architectures])
    architecture = family.architecture_named(name)
    ours = {
        checkpoint_name(path, architecture.names): parameter.shape
        for path, parameter in architecture.build(family.config(**SMALL)).named_parameters()
    }
    assert ours == names_in_transformers(name, family.aliases)


def test_all_is_fused(tmp_path: Path) -> None:
    compiled = tfgraph.compile(tfgraph.load(save(random_model("RobertaForMaskedLM", **SMALL), tmp_path)))
    assert compiled.report.as_dict()["fused"] == {
        "Attention": 2, "LayerNormalization": 6, "com.microsoft::BiasGelu": 3,
    }  # fmt: skip


@pytest.mark.parametrize("pad_token_id", [-1, 23, 24])
def test_padding_that_leaves_no_position(pad_token_id: int) -> None:
    message = (
        f"pad_token_id is {pad_token_id}: tokens have the positions after it, so with max_position_embeddings=24 "
        "expected a number from 0 to 22"
    )
    with pytest.raises(ConfigError) as caught:
        RobertaConfig.from_dict({**SMALL, "pad_token_id": pad_token_id}, "x/config.json")
    assert str(caught.value) == f"x/config.json: {message}"


def test_a_decoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="'is_decoder' is True: roberta models are built as encoders only"):
        RobertaConfig.from_dict({**SMALL, "is_decoder": True})
