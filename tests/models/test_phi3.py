"""Phi-3 against transformers: fused matrices, windows, positions that change with the length; published sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgraph
from tests.models.decoder_checks import IDS, fused_operators, half_errors, head_error, our_size, their_size
from tests.models.parity import (
    MASKS,
    TOLERANCE,
    assert_exact,
    batch,
    causal_lm_errors,
    expected_logits,
    random_model,
    relative_error,
    save,
)
from tfgraph.dsl.layers.rotary_scaling import LinearScaling
from tfgraph.errors import ConfigError
from tfgraph.models.phi3 import CONFIGS, Phi3Config

SMALL = {
    "vocab_size": 61,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 50,
    "max_position_embeddings": 32,
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 1000.0,
    "short_factor": [1.0, 1.1, 1.2, 1.5, 2.0, 3.0],
    "long_factor": [1.0, 2.1, 3.2, 5.0, 8.0, 13.0],
}
PARTIAL = {**LONG, "short_factor": [1.0, 1.5], "long_factor": [2.0, 9.0], "partial_rotary_factor": 0.4}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sliding_window": 3, "tie_word_embeddings": True},
        {"hidden_size": 42, "num_attention_heads": 3, "num_key_value_heads": 1, "hidden_act": "gelu"},
        {"rope_parameters": LONG, "original_max_position_embeddings": 16},
        {"rope_parameters": PARTIAL, "original_max_position_embeddings": 32, "sliding_window": 2},
    ],
)
def test_every_kind_of_batch(changes: dict[str, Any], tmp_path: Path) -> None:
    assert_exact(causal_lm_errors("Phi3ForCausalLM", tmp_path, **{**SMALL, **IDS, **changes}))


@pytest.mark.parametrize(
    ("rotary", "kind"),
    [
        *((LONG, kind) for kind in MASKS),
        (PARTIAL, "holes"),
        ({**LONG, "factor": 3.0}, "no padding"),
        ({**LONG, "attention_factor": 1.7}, "no padding"),
    ],
)
def test_texts_that_are_longer_than_the_first_limit(rotary: dict[str, Any], kind: str, tmp_path: Path) -> None:
    """Texts of 9 tokens where the short factors hold up to 5."""
    settings = {**SMALL, **IDS, "rope_parameters": rotary, "original_max_position_embeddings": 5}
    model = random_model("Phi3ForCausalLM", **settings)
    ids, mask = batch(61, kind)
    compiled = tfgraph.compile(tfgraph.load(save(model, tmp_path), task="causal-lm"))
    ours = compiled.run({"input_ids": ids, "attention_mask": mask})["logits"]
    assert relative_error(ours, expected_logits(model, ids, mask), mask == 1) <= TOLERANCE


def test_the_length_alone_decides_which_factors_hold(tmp_path: Path) -> None:
    """A text of 7 tokens, as if there were no long factors; a text of 8, as if there were no short ones."""
    results = {}
    for name, rotary in {
        "both": LONG,
        "short": {**LONG, "long_factor": LONG["short_factor"]},
        "long": {**LONG, "short_factor": LONG["long_factor"]},
    }.items():
        settings = {**SMALL, **IDS, "rope_parameters": rotary, "original_max_position_embeddings": 7}
        folder = save(random_model("Phi3ForCausalLM", **settings), tmp_path / name)
        compiled = tfgraph.compile(tfgraph.load(folder, task="causal-lm"))
        for length in (7, 8):
            ids = batch(61, "no padding")[0][:, :length]
            outputs = compiled.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})
            results[name, length] = outputs["logits"]
    assert np.array_equal(results["both", 7], results["short", 7])
    assert np.array_equal(results["both", 8], results["long", 8])
    assert not np.allclose(results["short", 7], results["long", 7])


@pytest.mark.parametrize("name", ["Phi3Model", "Phi3ForSequenceClassification", "Phi3ForTokenClassification"])
def test_other_heads(name: str, tmp_path: Path) -> None:
    assert head_error(name, tmp_path, **SMALL) <= TOLERANCE


@pytest.mark.parametrize(
    "changes", [{}, {"sliding_window": 3}, {"rope_parameters": LONG}, {"rope_parameters": PARTIAL}]
)
def test_everything_is_fused(changes: dict[str, Any], tmp_path: Path) -> None:
    fused = fused_operators("Phi3ForCausalLM", tmp_path, **SMALL, **changes)
    assert fused == {
        "Attention": 2,
        "RMSNormalization": 1,
        "RotaryEmbedding": 4,
        "com.microsoft::QuickGelu": 2,
        "com.microsoft::SkipSimplifiedLayerNormalization": 4,
    }


def test_half_precision(tmp_path: Path) -> None:
    assert (
        max(
            half_errors(
                "Phi3ForCausalLM", tmp_path, **SMALL, rope_parameters=LONG, original_max_position_embeddings=5
            ).values()
        )
        <= 1
    )


def settings_of(**rotary: Any) -> dict[str, Any]:
    """A configuration with these rotary settings, as releases before transformers 5 have it."""
    return {**SMALL, "original_max_position_embeddings": 16, "rope_theta": 1000.0, "rope_scaling": rotary}


@pytest.mark.parametrize("kind", ["longrope", "su", "yarn"])
def test_the_names_that_releases_have_had(kind: str) -> None:
    factors = {"short_factor": LONG["short_factor"], "long_factor": LONG["long_factor"]}
    config = Phi3Config.from_dict(settings_of(type=kind, **factors))
    assert config == Phi3Config.from_dict({**SMALL, "rope_parameters": LONG, "original_max_position_embeddings": 16})
    assert config.rotary_scale == pytest.approx((1 + 1 / 4) ** 0.5)  # twice as long: ln 2 / ln 16 is a quarter


def test_what_sines_are_multiplied_by() -> None:
    config = Phi3Config.from_dict({**SMALL, "rope_parameters": {**LONG, "factor": 4096.0}})
    assert config.rotary_scale == pytest.approx(2**0.5)  # 4096 is the original length if none is given
    assert Phi3Config.from_dict({**SMALL, "rope_parameters": LONG}).rotary_scale == 1
    given = Phi3Config.from_dict({**SMALL, "rope_parameters": {**LONG, "attention_factor": 1.5}})
    assert given.rotary_scale == 1.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "'rope_scaling' scales rotary positions by 'linear'"),
        (settings_of(type="su"), "'short_factor' of the rotary positions is None: expected a list of numbers"),
        (settings_of(type="su", short_factor=[1.0] * 6, long_factor=6), "'long_factor' .* is 6: expected a list"),
        (settings_of(type="su", short_factor=[1.0] * 5 + [0]), "'short_factor' is 0: expected a positive number"),
        (settings_of(type="su", short_factor=[1.0] * 6, long_factor=[2.0]), "long_factors has 1 numbers: expected 6"),
        (settings_of(type="su", factor="4", short_factor=[1], long_factor=[1]), "'factor' is '4': expected a positive"),
        ({"rope_parameters": {**LONG, "original_max_position_embeddings": 5}}, "is 5 in .*, and 4096 outside them"),
        ({"rope_parameters": "longrope"}, "'rope_parameters' is 'longrope': expected an object"),
        ({"attention_bias": True}, "'attention_bias' is True: only False is built here"),
        ({"original_max_position_embeddings": 0}, "original_max_position_embeddings is 0: expected a whole number"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"config\.json: .*{message}"):
        Phi3Config.from_dict({**SMALL, **changes})


def test_two_ways_to_reach_longer_texts_are_refused() -> None:
    config = Phi3Config.from_dict({**SMALL, "rope_parameters": LONG})
    with pytest.raises(ConfigError, match="short_factors and rope_scaling are both given"):
        Phi3Config(**{**vars(config), "rope_scaling": LinearScaling(2.0)})


PUBLISHED = {"phi-3-mini-4k": 3_821_079_552, "phi-3-medium-4k": 13_960_238_080, "phi-4": 14_659_507_200}


@pytest.mark.parametrize("name", CONFIGS)
def test_published_sizes(name: str) -> None:
    config = CONFIGS[name]
    settings = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.kv_heads,
        "intermediate_size": config.mlp_size,
    }
    assert our_size(config) == PUBLISHED[name] == their_size("Phi3ForCausalLM", **settings)
