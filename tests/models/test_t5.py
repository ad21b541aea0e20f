"""T5 against transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgraph
from tests.models.parity import assert_exact, batch, random_model, relative_error, save
from tests.models.seq2seq_parity import assert_greedy_as_transformers, seq2seq_errors
from tfgraph.errors import ConfigError, TraceError
from tfgraph.models.t5 import CONFIGS, T5Config, T5Model, build_lm

SMALL = {
    "vocab_size": 61,
    "d_model": 36,
    "d_kv": 8,  # 4 heads of 8 features are not 36
    "d_ff": 50,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 6,  # less than the texts are long
    "decoder_start_token_id": 0,
}
SECOND = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}


def untied_model(**changes: Any) -> Any:
    """A model of the second version, with a matrix of its own for predicting tokens."""
    import torch

    model = random_model("T5ForConditionalGeneration", **{**SMALL, **SECOND, **changes})
    model.config.tie_word_embeddings = False
    generator = torch.Generator().manual_seed(3)
    model.lm_head.weight = torch.nn.Parameter(torch.randn(model.lm_head.weight.shape, generator=generator) * 0.2)
    return model


def test_every_kind_of_batch(tmp_path: Path) -> None:
    model = random_model("T5ForConditionalGeneration", **SMALL)
    assert_exact(seq2seq_errors(model, save(model, tmp_path)))


def test_every_kind_of_batch_of_the_second_version(tmp_path: Path) -> None:
    model = untied_model(num_decoder_layers=3)
    assert_exact(seq2seq_errors(model, save(model, tmp_path)))
    loaded = tfgraph.load(tmp_path)
    assert "head.linear.weight" in dict(loaded.module.named_parameters())


def test_greedy_answers(tmp_path: Path) -> None:
    model = untied_model(seed=9)  # whose answers differ
    assert_greedy_as_transformers(model, save(model, tmp_path))


def test_a_second_version_whose_checkpoint_has_one_table(tmp_path: Path) -> None:
    """So transformers writes it: the scores are not scaled, and the matrix is the table."""
    model = random_model("T5ForConditionalGeneration", **SMALL, **SECOND)
    folder = save(model, tmp_path)
    assert not json.loads((folder / "config.json").read_text())["scale_decoder_outputs"]
    errors = seq2seq_errors(model, folder)
    assert_exact({cell: errors[cell] for cell in ("right padding", "cache, holes")})


def test_mt5(tmp_path: Path) -> None:
    """Gated unless it is said otherwise; the scores are not scaled, whatever the matrix is."""
    model = random_model("MT5ForConditionalGeneration", **SMALL)
    folder = save(model, tmp_path)
    settings = json.loads((folder / "config.json").read_text())
    del settings["feed_forward_proj"]
    (folder / "config.json").write_text(json.dumps(settings))
    errors = seq2seq_errors(model, folder)
    assert_exact({cell: errors[cell] for cell in ("left padding", "cache, holes")})


@pytest.mark.parametrize("of_whole_model", [False, True])
def test_the_encoder_alone(of_whole_model: bool, tmp_path: Path) -> None:
    import torch

    name = "T5ForConditionalGeneration" if of_whole_model else "T5EncoderModel"
    model = random_model(name, **SMALL)
    folder = save(model, tmp_path)
    loaded = tfgraph.load(folder, task="encoder") if of_whole_model else tfgraph.load(folder)
    assert loaded.task == "encoder"
    ids, mask = batch(61, "holes")
    ours = tfgraph.compile(loaded).run({"input_ids": ids, "attention_mask": mask})["last_hidden_state"]
    with torch.no_grad():
        theirs = model.double().encoder(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
    assert relative_error(ours, theirs.last_hidden_state.numpy(), mask == 1) <= 1e-5


def test_sentence_embeddings_are_of_the_encoder(tmp_path: Path) -> None:
    import torch

    model = random_model("T5ForConditionalGeneration", **SMALL)
    ids, mask = batch(61, "left padding")
    loaded = tfgraph.load(save(model, tmp_path), task="sentence-embedding")
    ours = tfgraph.compile(loaded).run({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]
    with torch.no_grad():
        theirs = model.double().encoder(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
    expected = (theirs.last_hidden_state.numpy() * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
    assert np.abs(ours - expected).max() <= 1e-5 * np.abs(expected).max()


def test_the_body(tmp_path: Path) -> None:
    from tests.models.seq2seq_parity import inputs_of, run_transformers

    model = random_model("T5Model", **SMALL)
    inputs = inputs_of("left padding", 61)
    ours = tfgraph.compile(tfgraph.load(save(model, tmp_path))).run(inputs)
    theirs = run_transformers(model, inputs)
    expected = {"last_hidden_state": "decoder_attention_mask", "encoder_last_hidden_state": "attention_mask"}
    assert sorted(ours) == sorted(expected)
    for output, mask in expected.items():
        assert relative_error(ours[output], theirs[output].numpy(), inputs[mask] == 1) <= 1e-5


def test_fused_operators_of_each_part(tmp_path: Path) -> None:
    parts = tfgraph.load(save(untied_model(), tmp_path)).parts
    skip, gelu = "com.microsoft::SkipSimplifiedLayerNormalization", "com.microsoft::FastGelu"
    fused = {name: tfgraph.compile(part).report.as_dict()["fused"] for name, part in parts.items()}
    assert fused == {
        "encoder": {"Attention": 2, "RMSNormalization": 1, skip: 4, gelu: 2},
        "decoder": {"Attention": 4, "RMSNormalization": 1, skip: 6, gelu: 2},
    }


def test_the_projections_of_the_text_are_in_the_encoder_alone(tmp_path: Path) -> None:
    graphs = {name: part.trace() for name, part in tfgraph.load(save(untied_model(), tmp_path)).parts.items()}
    weights = {name: {value.name for value in graph.constants} for name, graph in graphs.items()}
    assert {"cross.0.key.weight", "cross.1.value.weight"} <= weights["encoder"]
    assert not {name for name in weights["decoder"] if "cross_attention.key" in name}
    assert "decoder.layers.0.cross_attention.query.weight" in weights["decoder"]
    projected = {name for name in graphs["encoder"].outputs if name.startswith("cross.")}
    assert projected == {f"cross.{layer}.{kind}" for layer in (0, 1) for kind in ("key", "value")}
    assert projected == {name for name in graphs["decoder"].inputs if name.startswith("cross.")}


def test_several_graphs_are_not_traced_as_one(tmp_path: Path) -> None:
    loaded = tfgraph.load(save(random_model("T5ForConditionalGeneration", **SMALL), tmp_path))
    with pytest.raises(TraceError, match=r"2 graphs, encoder and decoder: compile each, .*model.parts\['decoder'\]"):
        tfgraph.compile(loaded)
    assert loaded.parts["decoder"].trace().metadata["part"] == "decoder"


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("t5-small", 60_506_624),
        ("t5-base", 222_903_552),
        ("t5-large", 737_668_096),
        ("t5-3b", 2_851_598_336),
        ("t5-11b", 11_307_321_344),
        ("t5-v1.1-small", 76_961_152),
        ("t5-v1.1-base", 247_577_856),
        ("flan-t5-large", 783_150_080),
        ("flan-t5-xl", 2_849_757_184),
        ("t5-v1.1-xxl", 11_135_332_352),
        ("mt5-small", 300_176_768),
        ("mt5-base", 582_401_280),
        ("mt5-large", 1_229_581_312),
        ("mt5-xl", 3_742_619_648),
        ("mt5-xxl", 12_921_057_280),
    ],
)
def test_published_sizes(name: str, count: int) -> None:
    assert build_lm(CONFIGS[name]).num_parameters() == count


def test_the_whole_model_has_one_table_of_words() -> None:
    paths = [path for path, _ in T5Model(CONFIGS["t5-small"]).all_parameter_paths() if path.endswith("word.weight")]
    parameters = dict(T5Model(CONFIGS["t5-small"]).named_parameters())
    assert paths == ["encoder.word.weight", "decoder.word.weight"]
    assert "decoder.word.weight" not in parameters


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"feed_forward_proj": "double-relu"}, "'feed_forward_proj' is 'double-relu': expected an activation"),
        ({"feed_forward_proj": 3}, "'feed_forward_proj' is 3"),
        ({"feed_forward_proj": "gated-rleu"}, "unknown activation 'rleu': did you mean"),
        ({"is_decoder": True}, "'is_decoder' is True: only False is built here"),
        ({"num_layers": 0}, "num_hidden_layers is 0: expected a whole number of at least 1"),
        ({"decoder_start_token_id": 61}, "decoder_start_token_id is 61: expected a token, 0 to 60"),
        ({"relative_attention_max_distance": 2}, "expected at least"),
    ],
)
def test_settings_that_are_refused(setting: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        T5Model(T5Config.from_dict({**SMALL, **setting}, "config.json"))
    assert message in str(caught.value)


def test_a_configuration_says_the_same_as_the_file() -> None:
    config = T5Config.from_dict(
        {**SMALL, "feed_forward_proj": "gated-silu", "n_positions": 99, "num_decoder_layers": 5}
    )
    assert (config.hidden_act, config.gated, config.max_position_embeddings) == ("silu", True, 99)
    assert config.max_length is None  # what the model was trained with is no limit
    assert (config.decoder_layers, config.decoder_heads, config.output_scale) == (5, 4, 36**-0.5)
