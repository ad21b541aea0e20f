"""Rotary positions with short and long factors, against the model that has them in transformers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Phi3Config
from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding, apply_rotary_pos_emb

from tfgraph.dsl.layers.long_rotary import LongRotaryPositions, extension_scale
from tfgraph.errors import ConfigError

SHORT, LONG = [1.0, 1.2, 1.7, 2.0], [1.0, 3.0, 9.0, 20.0]
ORIGINAL = 6


def their_rotation(x: np.ndarray, positions: np.ndarray, fraction: float = 1.0) -> np.ndarray:
    """What transformers makes of queries, with 2 heads for its size of a head."""
    rotary = {"rope_type": "longrope", "rope_theta": 100.0, "partial_rotary_factor": fraction}
    config = Phi3Config(
        hidden_size=2 * x.shape[-1],
        num_attention_heads=2,
        max_position_embeddings=24,
        original_max_position_embeddings=ORIGINAL,
        rope_parameters={**rotary, "short_factor": SHORT, "long_factor": LONG},
    )
    query = torch.from_numpy(x)
    cos, sin = Phi3RotaryEmbedding(config)(query, torch.from_numpy(positions))
    turned: np.ndarray = apply_rotary_pos_emb(query, query, cos, sin)[0].numpy()
    return turned


@pytest.mark.parametrize(
    "positions",
    [[[0, 1, 2], [3, 4, 5]], [[0, 1, 2], [4, 5, 6]], [[9, 10, 11], [0, 0, 0]], [[5, 5, 5], [5, 5, 5]]],
    ids=["short", "one of two is long", "long", "the last short one"],
)
@pytest.mark.parametrize("head_dim", [8, 12])
def test_rotations(
    head_dim: int, positions: list[list[int]], run: Callable[..., Any], close: Callable[..., None],
    rng: np.random.Generator,
) -> None:  # fmt: skip
    x, ids = rng.standard_normal((2, 2, 3, head_dim), np.float32), np.array(positions)
    layer = LongRotaryPositions(head_dim, SHORT, LONG, ORIGINAL, 100.0, extension_scale(24 / ORIGINAL, ORIGINAL))
    shapes = {"x": f"batch 2 seq {head_dim}", "position_ids": "batch seq"}
    close(run(layer, shapes, x=x, position_ids=ids), their_rotation(x, ids, 8 / head_dim))


def test_rotations_in_half_precision(run: Callable[..., Any], rng: np.random.Generator) -> None:
    """Angles are computed in float32 all the same: in float16, a position above 2048 would be rounded."""
    x, ids = rng.standard_normal((1, 2, 3, 8), np.float32), np.array([[4095, 4096, 4097]])
    layer = LongRotaryPositions(8, SHORT, LONG, ORIGINAL)
    shapes = {"x": "batch 2 seq 8", "position_ids": "batch seq"}
    half = run(layer, shapes, x=x.astype(np.float16), position_ids=ids)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, run(layer, shapes, x=x, position_ids=ids), atol=4e-3)


def test_scale_of_extended_models() -> None:
    assert extension_scale(1.0, 4096) == extension_scale(0.5, 4096) == 1
    assert extension_scale(32.0, 4096) == pytest.approx(math.sqrt(1 + 5 / 12))
    assert extension_scale(4.0, 1) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (8, SHORT, LONG[:3], 6),
            "4 short factors and 3 long factors for heads of 8 features: expected as many of both",
        ),
        ((6, SHORT, LONG, 6), "4 short factors and 4 long factors for heads of 6 features: .* up to 3"),
        ((8, [], [], 6), "0 short factors and 0 long factors"),
        ((8, SHORT, [1, 2, 3, -1], 6), "a factor of rotary positions is -1: expected a number above 0"),
        ((8, SHORT, [1, 2, 3, math.nan], 6), "a factor of rotary positions is nan"),
        ((8, SHORT, LONG, 0), "original_positions is 0: expected a whole number of at least 1"),
        ((0, SHORT, LONG, 6), "head_dim is 0"),
    ],
)
def test_settings_that_cannot_be(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LongRotaryPositions(*arguments)
