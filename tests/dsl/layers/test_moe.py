"""The mixture of experts against a dense computation over all experts, with numpy and as ONNX Runtime runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tfgraph
from tfgraph import nn
from tfgraph.dsl.layers.moe import ExpertOptions, MixtureOfExperts
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import ConfigError
from tfgraph.ir.transforms import cast

Array = np.ndarray[Any, Any]


def dense(layer: MixtureOfExperts, x: Array) -> Array:
    """Every expert for every token, those that are not chosen weighted with 0; in float64."""

    def product(values: Array, linear: nn.Linear) -> Array:
        result = values @ linear.weight.data.numpy().astype(np.float64).T
        return result if linear.bias is None else result + linear.bias.data.numpy()

    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    scores = product(rows, layer.router)
    probabilities = np.exp(scores - scores.max(-1, keepdims=True))
    probabilities /= probabilities.sum(-1, keepdims=True)
    lowest = np.sort(probabilities, -1)[:, -layer.options.experts_per_token, None]
    weights = np.where(probabilities >= lowest, probabilities, 0)
    if layer.options.normalise:
        weights /= weights.sum(-1, keepdims=True)
    total = np.zeros_like(rows)
    for index, expert in enumerate(layer.experts):
        assert expert.gate is not None
        gate = product(rows, expert.gate)
        total += weights[:, index, None] * product(gate / (1 + np.exp(-gate)) * product(rows, expert.up), expert.down)
    return total.reshape(x.shape)


@given(
    batch=st.integers(1, 3),
    seq=st.integers(1, 5),
    experts=st.integers(1, 6),
    chosen=st.integers(1, 6),
    normalise=st.booleans(),
    seed=st.integers(0, 99),
)
def test_as_if_every_expert_were_asked(
    batch: int, seq: int, experts: int, chosen: int, normalise: bool, seed: int, run: Callable[..., Any]
) -> None:
    layer = MixtureOfExperts(6, 5, ExpertOptions(experts, min(chosen, experts), normalise), bias=True)
    layer.init_weights(seed, scale=0.7)
    x = np.random.default_rng(seed).standard_normal((batch, seq, 6)).astype(np.float32)
    result = run(layer, {"x": "batch seq 6"}, x=x)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, dense(layer, x), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 7)])
def test_compiled(dtype: str, shape: tuple[int, int], rng: np.random.Generator, weights: Callable[..., Any]) -> None:
    layer = weights(MixtureOfExperts(16, 24, ExpertOptions(8, 2)))
    x = rng.standard_normal((*shape, 16)).astype(dtype)
    expected = dense(layer, x)
    for parameter in dict(layer.named_parameters()).values():
        parameter.data = cast(parameter.data, dtype)
    graph = trace(layer, x=spec(dtype, ["batch", "seq", 16]))
    compiled = tfgraph.compile(graph, target="cpu")
    (result,) = compiled.run({"x": x}).values()
    assert result.dtype == dtype
    assert np.abs(result - expected).max() <= (1e-5 if dtype == "float32" else 1e-2) * np.abs(expected).max()
    assert compiled.report.as_dict()["fused"] == {"com.microsoft::QuickGelu": 8}


def test_an_expert_is_given_its_own_tokens_alone(weights: Callable[..., Any], run: Callable[..., Any]) -> None:
    """What nobody chooses may be anything: its weights never meet a token."""
    layer = weights(MixtureOfExperts(4, 3, ExpertOptions(3, 1)))
    router = np.zeros((3, 4), np.float32)
    router[1] = 5
    broken = np.full((4, 3), np.nan, np.float32)
    state = {path: handle.numpy() for path, handle in layer.state_dict().items()}
    layer.load_state_dict(
        state | {"router.weight": router, "experts.0.down.weight": broken, "experts.2.down.weight": broken}
    )
    result = run(layer, {"x": "batch seq 4"}, x=np.ones((2, 3, 4), np.float32))
    assert np.isfinite(result).all()


def test_in_a_block(run: Callable[..., Any], weights: Callable[..., Any], rng: np.random.Generator) -> None:
    options = nn.BlockOptions(norm_type="rms", activation="silu", gated=True, bias=False, experts=ExpertOptions(4, 2))
    block = weights(nn.DecoderBlock(8, 2, 12, options))
    x = rng.standard_normal((2, 3, 8)).astype(np.float32)

    def after_attention(x: Any) -> Any:
        return x + block.attention(block.norm1(x))

    summed = run(after_attention, {"x": "batch seq 8"}, x=x)
    normed = run(block.norm2, {"x": "batch seq 8"}, x=summed)
    np.testing.assert_allclose(run(block, {"x": "batch seq 8"}, x=x), summed + dense(block.mlp, normed), atol=1e-4)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0, 1), "num_experts is 0"),
        ((4, 0), "experts_per_token is 0"),
        ((4, 5), "experts_per_token is 5: expected at most num_experts, 4"),
    ],
)
def test_numbers_that_cannot_be(numbers: tuple[int, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ExpertOptions(*numbers)
