"""Rotary positions stretched to longer texts: the rules against transformers, tables against angles computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from tfgraph import nn
from tfgraph.dsl.layers import rotary
from tfgraph.dsl.layers.rotary_scaling import LinearScaling, Llama3Scaling, RotaryScaling, YarnScaling
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import ConfigError

LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
YARN = {"factor": 4.0, "original_max_position_embeddings": 32768}
RULES: dict[str, tuple[RotaryScaling, dict[str, Any]]] = {
    "linear": (LinearScaling(8.0), {"rope_type": "linear", "factor": 8.0}),
    "llama3": (Llama3Scaling(8.0, 1.0, 4.0, 8192), {"rope_type": "llama3", **LLAMA3}),
    "llama3-wide": (
        Llama3Scaling(32.0, 0.5, 20.0, 256),
        {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 0.5, "high_freq_factor": 20.0,
         "original_max_position_embeddings": 256},
    ),
    "yarn": (YarnScaling(4.0, 32768, 0.1 * np.log(4) + 1), {"rope_type": "yarn", **YARN}),
    "yarn-fractions": (
        YarnScaling(40.0, 4096, 0.7, 24.0, 2.0, truncate=False),
        {"rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096, "attention_factor": 0.7,
         "beta_fast": 24.0, "beta_slow": 2.0, "truncate": False},
    ),
    "yarn-short": (
        YarnScaling(2.0, 8, 1.0),
        {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 8, "attention_factor": 1.0},
    ),
}  # fmt: skip


def settings(parameters: dict[str, Any], base: float, head_dim: int) -> LlamaConfig:
    return LlamaConfig(
        hidden_size=4 * head_dim,
        num_attention_heads=4,
        head_dim=head_dim,
        max_position_embeddings=131072,
        rope_parameters={**parameters, "rope_theta": base},
    )


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(("base", "head_dim"), [(10000.0, 128), (500000.0, 64), (1000000.0, 10)])
def test_the_rules_are_transformers(name: str, base: float, head_dim: int) -> None:
    rule, parameters = RULES[name]
    theirs, magnitude = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](settings(parameters, base, head_dim), None)
    np.testing.assert_allclose(rule.frequencies(head_dim, base), theirs.numpy(), rtol=1e-5)  # theirs is made in float32
    assert rule.magnitude == pytest.approx(magnitude)


@pytest.mark.parametrize("rule", [RULES[name][0] for name in ("linear", "llama3", "yarn")])
@given(
    pairs=st.integers(1, 64), base=st.floats(1e2, 1e7), factor=st.floats(1, 64), length=st.sampled_from([2048, 32768])
)
def test_a_rule_only_slows_and_by_no_more_than_its_factor(
    rule: Any, pairs: int, base: float, factor: float, length: int
) -> None:
    changes = {"factor": factor} | ({} if isinstance(rule, LinearScaling) else {"original_max_positions": length})
    scaled = type(rule)(**{**vars(rule), **changes}).frequencies(2 * pairs, base)
    plain = RotaryScaling().frequencies(2 * pairs, base)
    assert (scaled <= plain * (1 + 1e-12)).all() and (scaled >= plain / factor * (1 - 1e-12)).all()
    assert (np.diff(scaled) < 0).all()


@pytest.mark.parametrize("name", [None, *RULES])
@pytest.mark.parametrize("is_table", [True, False])
def test_rotations_are_llamas(
    name: str | None, is_table: bool, run: Callable[..., Any], rng: np.random.Generator
) -> None:
    rule, parameters = RULES[name] if name else (None, {"rope_type": "default"})
    x = rng.standard_normal((2, 4, 5, 8), np.float32)
    ids = np.array([[0, 1, 2, 3, 4], [7, 31, 2, 90, 60]])
    cos, sin = LlamaRotaryEmbedding(settings(parameters, 500000.0, 8))(torch.from_numpy(x), torch.from_numpy(ids))
    expected, _ = apply_rotary_pos_emb(torch.from_numpy(x), torch.from_numpy(x), cos, sin)
    layer = nn.RotaryPositions(8, 500000.0, 100 if is_table else 10**6, scaling=rule)
    assert (layer.cos is not None) == is_table
    result = run(layer, {"x": "batch 4 seq 8", "position_ids": "batch seq"}, x=x, position_ids=ids)
    np.testing.assert_allclose(result, expected.numpy(), atol=3e-5)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("rotary_dim", [None, 4])
def test_tables_and_computed_angles_are_equal(
    interleaved: bool, rotary_dim: int | None, run: Callable[..., Any], rng: np.random.Generator
) -> None:
    x = rng.standard_normal((2, 3, 5, 8), np.float32)
    ids = rng.integers(0, 60000, (2, 5))
    results = []
    for max_positions in (60000, 10**6):
        layer = nn.RotaryPositions(8, 1e6, max_positions, interleaved, rotary_dim, RULES["yarn"][0])
        results.append(run(layer, {"x": "batch 3 seq 8", "position_ids": "batch seq"}, x=x, position_ids=ids))
    table, computed = results
    np.testing.assert_allclose(table, computed, atol=1e-6)


@pytest.mark.parametrize("max_positions", [100, 10**6])
def test_half_precision_turns_by_angles_of_float32(max_positions: int, run: Callable[..., Any]) -> None:
    """Positions above 2048 are not all exact in float16."""
    ids = np.array([[2049, 99 if max_positions == 100 else 60001]]) % max_positions
    x = np.ones((1, 1, 2, 8), np.float16)
    layer = nn.RotaryPositions(8, max_positions=max_positions)
    result = run(layer, x=x, position_ids=ids)
    wide = run(layer, x=x.astype(np.float32), position_ids=ids)
    assert result.dtype == np.float16
    np.testing.assert_allclose(result, wide, atol=2e-3)


def test_where_tables_end() -> None:
    positions = rotary.LARGEST_TABLES // (2 * 4 * 32)
    assert nn.RotaryPositions(64, max_positions=positions).frequencies is None
    longer = nn.RotaryPositions(64, max_positions=positions + 1)
    assert longer.cos is None and longer.sin is None
    graph = trace(longer, x=spec("float32", ["batch", 2, "seq", 64]), position_ids=spec("int64", ["batch", "seq"]))
    assert max(value.constant.size for value in graph.constants if value.constant is not None) == 32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearScaling(0), "factor of LinearScaling is 0: expected a number above 0"),
        (lambda: LinearScaling(float("nan")), "factor of LinearScaling is nan"),
        (lambda: LinearScaling("2"), "factor of LinearScaling is '2'"),  # type: ignore[arg-type]
        (lambda: Llama3Scaling(8.0, 4.0, 1.0, 8192), "high_freq_factor is 1.0, and low_freq_factor 4.0: expected"),
        (lambda: YarnScaling(2.0, 8, 0.0), "attention_factor of YarnScaling is 0.0"),
    ],
)
def test_rules_that_cannot_be(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
