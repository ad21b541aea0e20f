"""Learned, sinusoidal and rotary positions, T5's relative bias and ALiBi, against transformers and the papers."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPTJConfig, LlamaConfig
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.gptj.modeling_gptj import create_sinusoidal_positions
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding
from transformers.models.t5.modeling_t5 import T5Attention

from tfgraph import nn
from tfgraph.dsl.layers.rotary import rotary_angles
from tfgraph.dsl.layers.rotary_scaling import rotary_frequencies
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import ConfigError
from tfgraph.ir.constant import Derived

Array = np.ndarray[Any, Any]


class Biased(nn.Module):
    """A position bias for as many keys as an input has columns, and as many queries as it has rows."""

    def __init__(self, bias: nn.Module) -> None:
        self.bias = bias

    def forward(self, grid: nn.Tensor, past: nn.Tensor | None = None) -> nn.Tensor:
        queries, keys = grid.shape
        return self.bias(queries, keys, 0 if past is None else past.shape[0])


def test_learned_positions(run: Callable[..., Any], close: Callable[..., None], weights: Callable[..., Any]) -> None:
    layer = weights(nn.LearnedPositions(9, 4, offset=2))
    table = layer.weight.data.numpy()
    assert table.shape == (11, 4)
    tokens = np.zeros((2, 3), np.int64)
    close(run(layer, {"tokens": "batch seq"}, tokens=tokens), table[2:5])
    ids = np.array([[5, 0, 8], [1, 1, 2]])
    close(
        run(layer, {"tokens": "batch seq", "position_ids": "batch seq"}, tokens=tokens, position_ids=ids),
        table[ids + 2],
    )
    cache = np.zeros((2, 5, 1), np.float32)

    class After(nn.Module):
        def __init__(self) -> None:
            self.positions = layer

        def forward(self, tokens: nn.Tensor, cache: nn.Tensor) -> nn.Tensor:
            return self.positions(tokens, past=cache.shape[1])

    shapes = {"tokens": "batch seq", "cache": "batch past 1"}
    close(run(After(), shapes, tokens=tokens, cache=cache), table[7:10])


@pytest.mark.parametrize("hidden_size", [1, 2, 7, 8])
def test_the_sinusoidal_table_is_the_papers(hidden_size: int) -> None:
    table = nn.sinusoidal_table(20, hidden_size)
    for position in (0, 1, 19):
        for feature in range(hidden_size):
            angle = position / 10000 ** (2 * (feature // 2) / hidden_size)
            expected = np.cos(angle) if feature % 2 else np.sin(angle)
            assert table[position, feature] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("hidden_size", [6, 7])
def test_sines_before_cosines_are_marians(hidden_size: int, close: Callable[..., None]) -> None:
    theirs = MarianSinusoidalPositionalEmbedding(20, hidden_size).create_weight()
    close(nn.sinusoidal_table(20, hidden_size, interleaved=False), theirs.numpy())


def test_sinusoidal_positions_are_added_as_a_constant(run: Callable[..., Any]) -> None:
    layer = nn.SinusoidalPositions(2000, 16)
    assert not layer.state_dict()
    graph = trace(layer, tokens=spec("int64", ["batch", "seq"]))
    assert "table" in {value.name for value in graph.constants}
    table = nn.sinusoidal_table(2000, 16)
    np.testing.assert_array_equal(run(layer, tokens=np.zeros((1, 5), np.int64)), table[:5])


@pytest.mark.parametrize("base", [10000.0, 500000.0])
def test_rotary_positions_are_llamas(
    base: float, run: Callable[..., Any], close: Callable[..., None], rng: np.random.Generator
) -> None:
    settings = LlamaConfig(
        hidden_size=32, num_attention_heads=4, rope_parameters={"rope_type": "default", "rope_theta": base}
    )
    theirs = LlamaRotaryEmbedding(settings)
    x = rng.standard_normal((2, 4, 5, 8), np.float32)
    ids = np.array([[0, 1, 2, 3, 4], [7, 300, 2, 90, 1000]])
    cos, sin = theirs(torch.from_numpy(x), torch.from_numpy(ids))
    expected, _ = apply_rotary_pos_emb(torch.from_numpy(x), torch.from_numpy(x), cos, sin)
    layer = nn.RotaryPositions(8, base=base)
    result = run(layer, {"x": "batch 4 seq 8", "position_ids": "batch seq"}, x=x, position_ids=ids)
    assert np.abs(result - expected.numpy()).max() < 2e-4  # angles up to 1000 radians, rounded to float32
    near = {"x": x[:1], "position_ids": ids[:1]}
    close(run(layer, **near), expected.numpy()[:1])


@pytest.mark.parametrize("rotary_dim", [4, 8])
def test_rotary_tables_are_gptjs(rotary_dim: int) -> None:
    assert GPTJConfig().rotary_dim == 64
    theirs = create_sinusoidal_positions(50, rotary_dim).numpy()
    layer = nn.RotaryPositions(8, max_positions=50, interleaved=True, rotary_dim=rotary_dim)
    assert layer.sin is not None and layer.cos is not None
    ours = np.concatenate([layer.sin.data.numpy(), layer.cos.data.numpy()], -1)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_rotary_angles_of_the_paper() -> None:
    angles = rotary_angles(100, rotary_frequencies(8, 10000.0))
    np.testing.assert_allclose(angles[3], [3, 0.3, 0.03, 0.003], rtol=1e-6)
    assert angles.dtype == np.float32


def test_rotary_tables_are_shared_and_lazy() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            rotary = nn.RotaryPositions(8, max_positions=10**5)
            self.layers = nn.ModuleList(nn.MultiHeadAttention(16, 2, rotary=rotary) for _ in range(2))

        def forward(self, x: nn.Tensor) -> nn.Tensor:
            for layer in self.layers:
                x = layer(x)
            return x

    graph = trace(Two(), x=spec("float32", ["batch", "seq", 16]))
    tables = {value.name: value.constant for value in graph.constants if value.constant and value.constant.size > 10**5}
    assert list(tables) == ["layers.0.rotary.cos", "layers.0.rotary.sin"]
    assert all(isinstance(table, Derived) for table in tables.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head_dim": 7}, "head_dim=7: .* expected an even number up to 7"),
        ({"head_dim": 8, "rotary_dim": 3}, "rotary_dim=3: .* expected an even number up to 8"),
        ({"head_dim": 8, "rotary_dim": 10}, "rotary_dim=10: .* expected an even number up to 8"),
        ({"head_dim": 8, "max_positions": 0}, "max_positions is 0"),
    ],
)
def test_rotary_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        nn.RotaryPositions(**settings)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(
    ("num_buckets", "max_distance"), [(32, 128), (32, 20), (64, 256), (8, 16), (128, 1000), (6, 50), (4, 7)]
)
def test_buckets_are_t5s(num_buckets: int, max_distance: int, bidirectional: bool) -> None:
    distances = np.arange(-3 * max_distance, 3 * max_distance + 1)
    theirs = T5Attention._relative_position_bucket(
        torch.from_numpy(distances), bidirectional, num_buckets, max_distance
    )
    ours = nn.relative_buckets(distances, num_buckets, max_distance, bidirectional)
    np.testing.assert_array_equal(ours, theirs.numpy())
    beyond = nn.relative_buckets(distances.clip(-max_distance, max_distance), num_buckets, max_distance, bidirectional)
    np.testing.assert_array_equal(beyond, ours)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_relative_bias_is_t5s(
    bidirectional: bool, run: Callable[..., Any], close: Callable[..., None], weights: Callable[..., Any]
) -> None:
    bias = weights(nn.RelativeBias(3, num_buckets=8, max_distance=16, bidirectional=bidirectional))
    table = torch.nn.Embedding.from_pretrained(torch.from_numpy(bias.weight.data.numpy()))
    theirs = SimpleNamespace(
        is_decoder=not bidirectional,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=16,
        relative_attention_bias=table,
        _relative_position_bucket=T5Attention._relative_position_bucket,
    )
    expected = T5Attention.compute_bias(theirs, 40, 40, device="cpu").numpy()  # type: ignore[arg-type]
    grid = np.zeros((40, 40), np.float32)
    close(run(Biased(bias), {"grid": "queries keys"}, grid=grid), expected)
    last = np.zeros((3, 40), np.float32)
    past = np.zeros(37, np.float32)
    shapes = {"grid": "seq past+seq", "past": "past"}
    close(run(Biased(bias), shapes, grid=last, past=past), expected[:, :, -3:])


@pytest.mark.parametrize(
    "settings", [{"num_buckets": 3}, {"num_buckets": 1, "bidirectional": False}, {"num_buckets": 32, "max_distance": 8}]
)
def test_relative_bias_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"num_buckets=\d+ and max_distance=\d+: expected at least"):
        nn.RelativeBias(4, **settings)


@pytest.mark.parametrize("num_heads", [1, 2, 3, 6, 8, 12, 16, 20, 40])
def test_alibi_slopes_are_blooms(num_heads: int, close: Callable[..., None]) -> None:
    theirs = build_alibi_tensor(torch.ones(1, 2), num_heads, torch.float32)  # slope times position 0, 1
    close(nn.alibi_slopes(num_heads), theirs[:, 0, 1].numpy())


def test_alibi_slopes_of_the_paper() -> None:
    np.testing.assert_array_equal(nn.alibi_slopes(8), [2.0**-power for power in range(1, 9)])


@pytest.mark.parametrize("num_heads", [4, 6])
def test_alibi_with_left_padding_is_blooms(
    num_heads: int, run: Callable[..., Any], close: Callable[..., None], rng: np.random.Generator
) -> None:
    """BLOOM's bias grows with the position of the key among the tokens; after the softmax that is the same."""
    mask = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    theirs = build_alibi_tensor(torch.from_numpy(mask), num_heads, torch.float32).reshape(2, num_heads, 1, 5).numpy()
    ours = run(Biased(nn.AlibiBias(num_heads)), {"grid": "queries keys"}, grid=np.zeros((5, 5), np.float32))
    scores = rng.standard_normal((2, num_heads, 5, 5), np.float32)
    keep = np.tri(5, dtype=bool) & mask[:, None, None].astype(bool)

    def softmax(biased: Array) -> Array:
        kept = torch.softmax(torch.from_numpy(np.where(keep, biased, -1e9).astype(np.float32)), -1).numpy()
        result: Array = kept[np.broadcast_to(keep.any(-1, keepdims=True), kept.shape)]  # without the padding's rows
        return result

    close(softmax(scores + ours), softmax(scores + theirs))


def test_alibi_in_both_directions(run: Callable[..., Any]) -> None:
    grid = np.zeros((3, 4), np.float32)
    result = run(Biased(nn.AlibiBias(2, bidirectional=True)), {"grid": "queries keys"}, grid=grid)
    distances = np.abs(np.arange(4)[None] - np.arange(3)[:, None])
    np.testing.assert_allclose(result, -nn.alibi_slopes(2)[None, :, None, None] * distances)


@given(batch=st.integers(1, 3), seq=st.integers(1, 5), past=st.integers(0, 4))
def test_positions_of_a_sequence(run: Callable[..., Any], batch: int, seq: int, past: int) -> None:
    def model(tokens: Any, cache: Any) -> Any:
        return nn.sequence_positions(tokens.shape[0], tokens.shape[1], cache.shape[0])

    arrays = {"tokens": np.zeros((batch, seq), np.int64), "cache": np.zeros(past, np.float32)}
    result = run(model, {"tokens": "batch seq", "cache": "past"}, **arrays)
    np.testing.assert_array_equal(result, np.tile(np.arange(past, past + seq), (batch, 1)))
