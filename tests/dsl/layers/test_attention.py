"""MultiHeadAttention against torch: masks, contexts, shared heads, windows, caches; settings that are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tfgraph import nn
from tfgraph.dsl.functions.attention import LOWEST
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import ConfigError, ShapeError, TraceError
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph

Array = np.ndarray[Any, Any]
X = "batch seq 12"


def torch_attention(layer: Any, x: Array, source: Array | None = None, mask: Array | None = None) -> Array:
    """What the layer computes, with torch; `mask` is bool or a bias, [B, H, S, T]."""

    def project(part: Any, given: Array, heads: int) -> torch.Tensor:
        bias = None if part.bias is None else torch.from_numpy(part.bias.data.numpy())
        weight = torch.from_numpy(part.weight.data.numpy())
        projected = torch.nn.functional.linear(torch.from_numpy(given), weight, bias)
        return projected if heads == 0 else projected.unflatten(-1, (heads, -1)).transpose(1, 2)

    source = x if source is None else source
    attended = torch.nn.functional.scaled_dot_product_attention(
        project(layer.query, x, layer.num_heads),
        project(layer.key, source, layer.num_kv_heads),
        project(layer.value, source, layer.num_kv_heads),
        None if mask is None else torch.from_numpy(mask.copy()),
        scale=layer.scale,
        enable_gqa=True,
    )
    result: Array = project(layer.output, attended.transpose(1, 2).flatten(2).numpy(), 0).numpy()
    return result


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return rng.standard_normal((2, 5, 12), np.float32)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_heads": 4},
        {"num_heads": 1},
        {"num_heads": 12},
        {"num_heads": 4, "bias": False},
        {"num_heads": 4, "bias": False, "out_bias": True},
        {"num_heads": 4, "out_bias": False},
        {"num_heads": 4, "head_dim": 5},
        {"num_heads": 5, "head_dim": 7},
        {"num_heads": 4, "num_kv_heads": 2},
        {"num_heads": 4, "num_kv_heads": 1, "head_dim": 3},
        {"num_heads": 4, "scale": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("seq", [5, 1])
def test_self_attention(
    settings: dict[str, Any],
    seq: int,
    run: Callable[..., Any],
    close: Callable[..., None],
    weights: Callable[..., Any],
    x: Array,
) -> None:
    layer = weights(nn.MultiHeadAttention(12, **settings))
    close(run(layer, {"x": X}, x=x[:, :seq]), torch_attention(layer, x[:, :seq]))


@pytest.mark.parametrize("padding", [[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1]], ids=["right", "left", "holes"])
@pytest.mark.parametrize("dtype", ["int64", "int32", "bool"])
def test_padding(
    padding: list[int], dtype: str, run: Callable[..., Any], close: Callable[..., None], weights: Callable[..., Any],
    x: Array,
) -> None:  # fmt: skip
    layer = weights(nn.MultiHeadAttention(12, 3))
    mask = np.array([padding, [1] * 5]).astype(dtype)
    result = run(layer, {"x": X, "attention_mask": "batch seq"}, x=x, attention_mask=mask)
    close(result, torch_attention(layer, x, mask=mask.astype(bool)[:, None, None]))


@pytest.mark.parametrize("kv_hidden_size", [None, 7])
def test_cross_attention(
    kv_hidden_size: int | None, run: Callable[..., Any], close: Callable[..., None], weights: Callable[..., Any],
    x: Array, rng: np.random.Generator,
) -> None:  # fmt: skip
    layer = weights(nn.MultiHeadAttention(12, 4, num_kv_heads=2, kv_hidden_size=kv_hidden_size, causal=True))
    context = rng.standard_normal((2, 3, kv_hidden_size or 12), np.float32)
    mask = np.array([[1, 1, 0], [0, 1, 1]])
    shapes = {"x": X, "context": f"batch keys {kv_hidden_size or 12}", "attention_mask": "batch keys"}
    result = run(layer, shapes, x=x, context=context, attention_mask=mask)
    close(result, torch_attention(layer, x, context, mask.astype(bool)[:, None, None]))


def test_a_context_can_be_projected_once(
    run: Callable[..., Any], close: Callable[..., None], weights: Callable[..., Any], x: Array, rng: np.random.Generator
) -> None:
    layer = weights(nn.MultiHeadAttention(12, 4, num_kv_heads=2))
    context = rng.standard_normal((2, 3, 12), np.float32)

    class Projection(nn.Module):
        def __init__(self) -> None:
            self.attention = layer

        def forward(self, context: nn.Tensor) -> tuple[nn.Tensor, nn.Tensor]:
            keys_and_values: tuple[nn.Tensor, nn.Tensor] = self.attention.project_context(context)
            return keys_and_values

    key_value = run(Projection(), {"context": "batch keys 12"}, context=context)
    assert [part.shape for part in key_value] == [(2, 2, 3, 3)] * 2
    result = run(layer, {"x": X, "context": "batch 2 keys 3"}, x=x, context=key_value)
    close(result, torch_attention(layer, x, context))


@pytest.mark.parametrize("padded", [False, True])
def test_causal(
    padded: bool, run: Callable[..., Any], close: Callable[..., None], weights: Callable[..., Any], x: Array
) -> None:
    layer = weights(nn.MultiHeadAttention(12, 4, causal=True))
    mask = np.array([[1, 1, 0, 1, 1], [1, 1, 1, 1, 0]])
    arrays = {"x": x, **({"attention_mask": mask} if padded else {})}
    keep = np.tri(5, dtype=bool) & (mask.astype(bool)[:, None, None] if padded else True)
    result = run(layer, {"x": X, "attention_mask": "batch seq"}, **arrays)
    close(result, torch_attention(layer, x, mask=np.broadcast_to(keep, (2, 1, 5, 5))))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [1, 2, 4, 9])
def test_window(
    window: int,
    causal: bool,
    run: Callable[..., Any],
    close: Callable[..., None],
    weights: Callable[..., Any],
    x: Array,
) -> None:
    layer = weights(nn.MultiHeadAttention(12, 4, causal=causal, window=window))
    distance = np.arange(5)[:, None] - np.arange(5)
    keep = (distance < window) & ((distance >= 0) if causal else (-distance < window))
    close(run(layer, {"x": X}, x=x), torch_attention(layer, x, mask=np.broadcast_to(keep, (2, 1, 5, 5))))


def test_position_bias_with_padding(
    run: Callable[..., Any], close: Callable[..., None], weights: Callable[..., Any], x: Array, rng: np.random.Generator
) -> None:
    layer = weights(nn.MultiHeadAttention(12, 4, scale=1.0))
    bias, mask = rng.standard_normal((1, 4, 5, 5), np.float32), np.array([[0, 1, 1, 0, 1], [1, 1, 1, 1, 0]])
    shapes = {"x": X, "attention_mask": "batch seq", "position_bias": "1 4 seq seq"}
    result = run(layer, shapes, x=x, attention_mask=mask, position_bias=bias)
    combined = np.where(mask[:, None, None] == 1, bias, np.float32(LOWEST[DType.FLOAT32]))
    close(result, torch_attention(layer, x, mask=combined))


SETTINGS = [
    {},
    {"num_kv_heads": 2},
    {"window": 3},
    {"rotary": nn.RotaryPositions(6, max_positions=16)},
    {"rotary": nn.RotaryPositions(6, max_positions=16, interleaved=True, rotary_dim=4), "num_kv_heads": 1, "window": 2},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=["plain", "grouped", "window", "rotary", "everything"])
@pytest.mark.parametrize("steps", [[5], [1, 1, 1, 1, 1], [3, 1, 1], [2, 3]], ids=str)
def test_a_cache_gives_what_the_whole_sequence_gives(
    settings: dict[str, Any], steps: list[int], run: Callable[..., Any], close: Callable[..., None],
    weights: Callable[..., Any], rng: np.random.Generator,
) -> None:  # fmt: skip
    layer = weights(nn.MultiHeadAttention(24, 4, causal=True, **settings))
    x, mask = rng.standard_normal((2, 5, 24), np.float32), np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0]])
    shapes = {
        "x": "batch seq 24", "attention_mask": "batch past+seq", "past_key_value": f"batch {layer.num_kv_heads} past 6",
    }  # fmt: skip
    expected = run(layer, {"x": "batch seq 24", "attention_mask": "batch seq"}, x=x, attention_mask=mask)
    cached = _Cached(layer)
    done = 0
    cache: Any = None
    for size in steps:
        part = {"x": x[:, done : done + size], "attention_mask": mask[:, : done + size]}
        if cache is None:
            result, *cache = run(cached, {"x": "batch seq 24", "attention_mask": "batch seq"}, **part)
        else:
            result, *cache = run(cached, shapes, **part, past_key_value=tuple(cache))
        close(result, expected[:, done : done + size], f"positions from {done}")
        done += size
        assert [array.shape for array in cache] == [(2, layer.num_kv_heads, done, 6)] * 2


class _Cached(nn.Module):
    def __init__(self, attention: nn.MultiHeadAttention) -> None:
        self.attention = attention

    def forward(self, x: nn.Tensor, attention_mask: nn.Tensor, past_key_value: Any = None) -> Any:
        return self.attention(x, attention_mask=attention_mask, past_key_value=past_key_value, use_cache=True)


def test_position_ids_of_left_padded_sequences(
    run: Callable[..., Any], close: Callable[..., None], weights: Callable[..., Any], x: Array
) -> None:
    layer = weights(nn.MultiHeadAttention(12, 2, causal=True, rotary=nn.RotaryPositions(6, max_positions=16)))
    mask, ids = np.array([[0, 0, 1, 1, 1], [1] * 5]), np.array([[0, 0, 0, 1, 2], [0, 1, 2, 3, 4]])
    shapes = {"x": X, "attention_mask": "batch seq", "position_ids": "batch seq"}
    padded = run(layer, shapes, x=x, attention_mask=mask, position_ids=ids)
    close(padded[0, 2:], run(layer, {"x": X}, x=x[:1, 2:])[0])


def operators(graph: Graph) -> list[str]:
    return [node.op for node in graph]


def test_plain_causal_attention_makes_no_mask_of_its_own() -> None:
    """One triangle, made by the definition of attention, so that the pattern of causal attention is found in it."""
    x = spec("float32", ["batch", "seq", 12])
    causal = operators(trace(nn.MultiHeadAttention(12, 4, causal=True), x=x))
    assert causal.count("Where") == 1 and causal.count("LessOrEqual") == 1 and "And" not in causal
    assert "Where" not in operators(trace(nn.MultiHeadAttention(12, 4), x=x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"num_heads": 5},
            r"num_heads=5 does not divide hidden_size=12: expected one of 1, 2, 3, 4, 6, 12, or head_dim",
        ),
        ({"num_heads": 0}, "num_heads is 0: expected a whole number of at least 1"),
        ({"num_heads": 4, "num_kv_heads": 3}, "num_kv_heads=3 does not divide num_heads=4: expected one of 1, 2, 4"),
        ({"num_heads": 4, "num_kv_heads": 8}, "num_kv_heads=8 does not divide num_heads=4: expected one of 1, 2, 4"),
        ({"num_heads": 4, "window": 0}, "window is 0: expected a whole number of at least 1"),
        ({"num_heads": 4, "head_dim": -1}, "head_dim is -1"),
        (
            {"num_heads": 2, "rotary": nn.RotaryPositions(4)},
            r"heads of 4 features do not fit attention with head_dim=6: expected RotaryPositions\(6\)",
        ),
    ],
    ids=str,
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        nn.MultiHeadAttention(12, **settings)


def test_a_mask_for_too_few_keys_is_refused_at_the_users_line() -> None:
    layer = nn.MultiHeadAttention(12, 4, causal=True)

    def model(x: Any, attention_mask: Any, cache: Any) -> Any:
        return layer(x, attention_mask=attention_mask, past_key_value=cache)

    with pytest.raises(ShapeError, match=r"test_attention\.py:\d+: .*\[batch, seq\], .* past \+ seq keys"):
        trace(
            model,
            x=spec("float32", ["batch", "seq", 12]),
            attention_mask=spec("int64", ["batch", "seq"]),
            cache=(spec("float32", ["batch", 4, "past", 3]),) * 2,
        )


def test_a_context_with_a_past_is_refused() -> None:
    x, cache = spec("float32", ["batch", "seq", 12]), spec("float32", ["batch", 4, "past", 3])
    with pytest.raises(TraceError, match=r"past_key_value with a context: .*pass them as context"):
        trace(nn.MultiHeadAttention(12, 4), x=x, context=x, past_key_value=(cache, cache))


def test_an_input_of_a_wrong_rank_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[batch, seq, hidden\], and got \[seq, 12\]"):
        trace(nn.MultiHeadAttention(12, 4), x=spec("float32", ["seq", 12]))


def test_the_seed_documents_two_heads(run: Callable[..., Any]) -> None:
    """Section 4.2 of the seed document: of four features, the first head sees the first two, the second the other two.

    W1 and W2, side by side, are the identity, so that each head is attention over its own two features; the document
    breaks off before any numbers, which are therefore those of the formula of section 4.1 for each half.
    """
    layer = nn.MultiHeadAttention(4, 2, bias=False)
    first, second = np.eye(4, dtype=np.float32)[:, :2], np.eye(4, dtype=np.float32)[:, 2:]
    columns = np.concatenate([first, second], 1)
    layer.load_state_dict({f"{part}.weight": columns.T for part in ("query", "key", "value", "output")})
    x = np.array([[[0.1, 0.2, 1.0, -1.0], [0.3, 0.4, 0.5, 2.0], [0.5, 0.1, -1.5, 0.0]]], np.float32)

    def head(half: Array) -> Array:
        scores = half @ half.T / np.sqrt(2)
        powers = np.exp(scores)
        result: Array = powers / powers.sum(-1, keepdims=True) @ half
        return result

    expected = np.concatenate([head(x[0, :, :2]), head(x[0, :, 2:])], -1)
    np.testing.assert_allclose(run(layer, x=x)[0], expected, atol=1e-6)
