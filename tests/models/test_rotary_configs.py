"""Configurations of LLaMA and its like: what every release has called a setting, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.models.rotary_families import FULL, LLAMA3, SLIDING, SMALL, YARN
from tfgraph.dsl.layers.rotary_scaling import LinearScaling, Llama3Scaling, YarnScaling
from tfgraph.errors import ConfigError
from tfgraph.models.registry import family_of

GIVEN = {name: value for name, value in SMALL.items() if not name.endswith("token_id")}


def read(model_type: str = "llama", **settings: Any) -> Any:
    """The configuration that `GIVEN` with `settings` describes."""
    given = {**GIVEN, "model_type": model_type, **settings}
    return family_of(given).config.from_dict(given)


SCALED = Llama3Scaling(8.0, 1.0, 4.0, 16)
YARN_SCALED = YarnScaling(4.0, 16, 1.1386294361119891)


@pytest.mark.parametrize(
    ("settings", "theta", "scaling"),
    [
        ({}, 10000.0, None),
        ({"rope_scaling": None, "rope_theta": 1e6}, 1e6, None),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 300}}, 300.0, None),
        ({"rope_theta": 7.0, "rope_parameters": {"rope_theta": 9.0}}, 9.0, None),
        ({"rope_parameters": LLAMA3}, 500000.0, SCALED),
        ({"rope_scaling": LLAMA3, "rope_theta": 500000.0}, 500000.0, SCALED),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, 10000.0, LinearScaling(2)),
        ({"rope_parameters": YARN}, 10000.0, YARN_SCALED),
        ({"rope_scaling": {**YARN, "original_max_position_embeddings": None, "factor": None}}, 1e4,
         YarnScaling(1.0, 64, 1.0)),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}, "original_max_position_embeddings": 16}, 1e4, YARN_SCALED),
        ({"rope_scaling": {**YARN, "attention_factor": 1.5, "beta_fast": 20, "beta_slow": 2, "truncate": False}}, 1e4,
         YarnScaling(4.0, 16, 1.5, 20, 2, False)),
        ({"rope_scaling": {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0}}, 1e4, YarnScaling(4.0, 16, 1.0)),
    ],
)  # fmt: skip
def test_rotary_positions_in_every_spelling(settings: dict[str, Any], theta: float, scaling: object) -> None:
    config = read(**settings)
    assert (config.rope_theta, config.rope_scaling) == (theta, scaling)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "'rope_scaling' scales rotary positions by 'dynamic'"),
        (
            {"rope_scaling": {"type": "linear"}},
            "'factor' is missing: rotary positions scaled by 'linear' need a number",
        ),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "factor of LinearScaling is 0: expected a number above 0"),
        ({"rope_parameters": {**LLAMA3, "low_freq_factor": "1"}}, "'low_freq_factor' is '1': .* need a number"),
        ({"rope_parameters": {**LLAMA3, "low_freq_factor": 4.0}}, "high_freq_factor is 4.0, and low_freq_factor 4.0"),
        ({"rope_parameters": {**YARN, "truncate": 1}}, "'truncate' of the rotary positions is 1"),
        ({"rope_parameters": {**YARN, "beta_fast": -1}}, "beta_fast of YarnScaling is -1"),
        ({"partial_rotary_factor": 0.5}, "'partial_rotary_factor' is 0.5: for this family, only"),
        ({"layer_types": "full_attention"}, "'layer_types' is 'full_attention': expected a list"),
        ({"layer_types": [FULL]}, "layer_types has 1 names: expected 2, one for each layer"),
        (
            {"layer_types": [FULL, "chunked_attention"]},
            "layer_types has 'chunked_attention': expected 'full_attention'",
        ),
        ({"layer_types": [FULL, SLIDING]}, "layer_types has 'sliding_attention' and sliding_window is None"),
        ({"sliding_window": "3"}, "'sliding_window' is '3': expected an integer"),
        ({"sliding_window": 0}, "sliding_window is 0"),
        ({"num_key_value_heads": 3}, "num_key_value_heads=3 does not divide num_attention_heads=4"),
        ({"head_dim": 7}, "head_dim=7: rotary positions turn pairs of features"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        family_of({"model_type": "llama"}).architecture_for("base").build(read(**settings))


@pytest.mark.parametrize(
    ("model_type", "settings", "message"),
    [
        ("gemma", {"use_bidirectional_attention": True}, "'use_bidirectional_attention' is True"),
        ("gemma2", {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar is 0"),
        ("gemma2", {"final_logit_softcapping": "30"}, "'final_logit_softcapping' is '30': expected a number"),
        ("gemma2", {"attn_logit_softcapping": -1}, "attn_logit_softcapping is -1"),
        ("gemma3_text", {"attn_logit_softcapping": 50.0}, "'attn_logit_softcapping' is 50.0"),
        ("gemma3_text", {"sliding_window_pattern": 0}, "sliding_window_pattern is 0"),
        ("gemma3_text", {"rope_parameters": {SLIDING: YARN}}, "scales rotary positions by 'yarn'"),
        ("gemma3_text", {"rope_local_base_freq": "1"}, "'rope_local_base_freq' is '1'"),
        ("mixtral", {"num_experts_per_tok": 9}, "experts_per_token is 9: expected at most num_experts, 8"),
        ("mixtral", {"num_local_experts": 0}, "num_experts is 0"),
    ],
)
def test_settings_that_a_family_refuses(model_type: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(model_type, **settings)


def test_windows_that_are_not_given() -> None:
    assert read("llama").sliding_window is None
    assert read("mistral").sliding_window == 4096
    assert read("mistral", sliding_window=None).sliding_window is None
    assert read("mistral", sliding_window=7).layer_kinds == (SLIDING, SLIDING)
    assert read("mixtral").sliding_window is None


@pytest.mark.parametrize("model_type", ["qwen2", "qwen3"])
def test_windows_of_qwen(model_type: str) -> None:
    assert read(model_type, sliding_window=5).layer_kinds == (FULL, FULL)
    assert read(model_type, sliding_window=5, use_sliding_window=True).layer_kinds == (FULL, FULL)
    one = read(model_type, sliding_window=5, use_sliding_window=True, max_window_layers=1)
    assert one.layer_kinds == (FULL, SLIDING)
    chosen = read(model_type, use_sliding_window=True, layer_types=[SLIDING, FULL])
    assert (chosen.sliding_window, chosen.layer_kinds) == (4096, (SLIDING, FULL))
    assert read("qwen3").head_size == 128


def test_gemmas() -> None:
    assert read("gemma").head_size == 256 and read("gemma").tie_word_embeddings
    for name in ("gelu", "gelu_pytorch_tanh"):
        assert read("gemma", hidden_act=name).hidden_act == "gelu_pytorch_tanh"
    second = read("gemma2", hidden_act="gelu", hidden_activation="gelu_pytorch_tanh")
    assert second.hidden_act == "gelu_pytorch_tanh"
    assert (second.attn_logit_softcapping, second.final_logit_softcapping, second.sliding_window) == (50, 30, 4096)
    without = read("gemma2", attn_logit_softcapping=None, final_logit_softcapping=None)
    assert (without.attn_logit_softcapping, without.final_logit_softcapping) == (None, None)
    assert second.layer_kinds == (SLIDING, FULL)


@pytest.mark.parametrize(
    ("settings", "base", "local", "scaling"),
    [
        ({}, 1e6, 1e4, None),
        ({"rope_theta": 5e5, "rope_local_base_freq": 2e4}, 5e5, 2e4, None),
        ({"rope_scaling": {"rope_type": "linear", "factor": 8.0}}, 1e6, 1e4, LinearScaling(8.0)),
        ({"rope_parameters": {FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 3e6}}}, 3e6, 1e4,
         LinearScaling(8.0)),
        ({"rope_parameters": {SLIDING: {"rope_theta": 3e4}, FULL: None}}, 1e6, 3e4, None),
    ],
)  # fmt: skip
def test_rotary_positions_of_gemma_3(settings: dict[str, Any], base: float, local: float, scaling: object) -> None:
    config = read("gemma3_text", **settings)
    assert (config.rope_theta, config.rope_local_base_freq, config.rope_scaling) == (base, local, scaling)


def test_layers_of_gemma_3() -> None:
    config = read("gemma3_text", num_hidden_layers=7, sliding_window_pattern=3)
    assert [index for index, kind in enumerate(config.layer_kinds) if kind == FULL] == [2, 5]
