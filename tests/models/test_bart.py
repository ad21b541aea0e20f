"""BART against transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tfgraph
from tests.models.parity import assert_exact, batch, random_model, relative_error, save
from tests.models.seq2seq_parity import (
    assert_greedy_as_transformers,
    inputs_of,
    run_transformers,
    seq2seq_errors,
)
from tfgraph.errors import ConfigError
from tfgraph.models.bart import CONFIGS, BartConfig, BartModel, build_lm

SMALL = {
    "vocab_size": 61,
    "d_model": 36,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 50,
    "decoder_ffn_dim": 44,
    "max_position_embeddings": 32,
}


def biased_model(**changes: Any) -> Any:
    """A model that predicts tokens, with a bias of the scores, as few published ones have."""
    import torch

    model = random_model("BartForConditionalGeneration", **{**SMALL, **changes})
    model.final_logits_bias.normal_(generator=torch.Generator().manual_seed(5))
    return model


@pytest.mark.parametrize("changes", [{}, {"scale_embedding": True, "activation_function": "relu"}])
def test_every_kind_of_batch(changes: dict[str, object], tmp_path: Path) -> None:
    model = biased_model(**changes)
    assert_exact(seq2seq_errors(model, save(model, tmp_path)))


def test_greedy_answers(tmp_path: Path) -> None:
    model = biased_model(seed=8)  # whose answers differ
    assert_greedy_as_transformers(model, save(model, tmp_path))


def test_the_body(tmp_path: Path) -> None:
    model = random_model("BartModel", **SMALL)
    inputs = inputs_of("holes", 61)
    ours = tfgraph.compile(tfgraph.load(save(model, tmp_path))).run(inputs)
    theirs = run_transformers(model, inputs)
    expected = {"last_hidden_state": "decoder_attention_mask", "encoder_last_hidden_state": "attention_mask"}
    assert sorted(ours) == sorted(expected)
    for output, mask in expected.items():
        assert relative_error(ours[output], theirs[output].numpy(), inputs[mask] == 1) <= 1e-5


@pytest.mark.parametrize("name", ["BartModel", "BartForConditionalGeneration"])
def test_the_encoder_alone(name: str, tmp_path: Path) -> None:
    import torch

    model = random_model(name, **SMALL)
    ids, mask = batch(61, "holes")
    loaded = tfgraph.load(save(model, tmp_path), task="encoder")
    ours = tfgraph.compile(loaded).run({"input_ids": ids, "attention_mask": mask})["last_hidden_state"]
    with torch.no_grad():
        theirs = model.double().get_encoder()(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
    assert relative_error(ours, theirs.last_hidden_state.numpy(), mask == 1) <= 1e-5


def test_the_classifier_reads_the_last_end_of_each_text(tmp_path: Path) -> None:
    import torch

    model = random_model("BartForSequenceClassification", **SMALL).double()
    loaded = tfgraph.load(save(model.float(), tmp_path))
    assert loaded.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    ids, mask = batch(61, "right padding")
    ids = np.where(mask == 1, ids, 1)
    ids[np.arange(3), mask.sum(1) - 1] = 2
    ids[1, 3] = 2  # the second text has two ends, which transformers takes in a batch of its own only
    ours = tfgraph.compile(loaded).run({"input_ids": ids, "attention_mask": mask})["logits"]
    for row in range(3):
        with torch.no_grad():
            theirs = model.double()(torch.from_numpy(ids[row : row + 1]), torch.from_numpy(mask[row : row + 1]))
        expected = theirs.logits.numpy()
        assert np.abs(ours[row] - expected).max() <= 1e-5 * np.abs(expected).max()


def test_fused_operators_of_each_part(tmp_path: Path) -> None:
    parts = tfgraph.load(save(biased_model(), tmp_path)).parts
    fused = {name: tfgraph.compile(part).report.as_dict()["fused"] for name, part in parts.items()}
    assert fused == {
        "encoder": {"Attention": 2, "LayerNormalization": 5, "com.microsoft::BiasGelu": 2},
        "decoder": {"Attention": 6, "LayerNormalization": 10, "com.microsoft::BiasGelu": 3},
    }


@pytest.mark.parametrize("kept", ["model.encoder.embed_tokens.weight", "lm_head.weight"])
def test_the_table_under_another_name(kept: str, tmp_path: Path) -> None:
    """What is one matrix was saved under any of its names."""
    folder = save(biased_model(), tmp_path)
    weights = load_file(folder / "model.safetensors")
    table = weights.pop("model.shared.weight")
    save_file({**weights, kept: table}, folder / "model.safetensors")
    loaded = tfgraph.load(folder)
    np.testing.assert_array_equal(loaded.module.state_dict()["base.encoder.word.weight"].numpy(), table)


def test_scores_without_a_bias(tmp_path: Path) -> None:
    folder = save(random_model("BartForConditionalGeneration", **SMALL), tmp_path)
    weights = load_file(folder / "model.safetensors")
    assert not weights.pop("final_logits_bias").any()
    save_file(weights, folder / "model.safetensors")
    loaded = tfgraph.load(folder, task="seq2seq-lm")
    assert "head.linear.bias" not in dict(loaded.module.named_parameters())
    assert tfgraph.compile(loaded).run(inputs_of("no padding", 61))["logits"].shape == (3, 7, 61)


@pytest.mark.parametrize(
    ("name", "count"),
    [("bart-base", 139_420_416), ("bart-large", 406_291_456), ("bart-large-cnn", 406_290_432)],
)
def test_published_sizes(name: str, count: int) -> None:
    assert build_lm(CONFIGS[name]).num_parameters() == count
    assert BartModel(CONFIGS[name]).num_parameters() == count


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"normalize_before": True}, "'normalize_before' is True: only False is built here"),
        ({"normalize_embedding": False}, "'normalize_embedding' is False: only True"),
        ({"static_position_embeddings": True}, "'static_position_embeddings' is True"),
        ({"decoder_attention_heads": 5}, "num_decoder_heads=5 does not divide hidden_size=36"),
        ({"d_model": None}, "'d_model' is null: expected an integer"),
    ],
)
def test_settings_that_are_refused(setting: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        BartConfig.from_dict({**SMALL, **setting}, "config.json")
    assert message in str(caught.value)
