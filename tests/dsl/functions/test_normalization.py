"""The normalisations against torch, and in half precision against the same in double."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tfgraph.dsl.functions import layer_norm, rms_norm, simplified_layer_norm, skip_layer_norm, skip_rms_norm

Array = np.ndarray[Any, Any]
SHAPES = {"x": "batch seq 6", "skip": "batch seq 6"}


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return (rng.standard_normal((2, 3, 6), np.float32) * 3 + 1).astype(np.float32)


@pytest.fixture
def skip(rng: np.random.Generator) -> Array:
    return rng.standard_normal((2, 3, 6), np.float32)


@pytest.fixture
def gamma(rng: np.random.Generator) -> Array:
    return rng.standard_normal(6, np.float32)


@pytest.fixture
def beta(rng: np.random.Generator) -> Array:
    return rng.standard_normal(6, np.float32)


def torch_layer_norm(x: Array, gamma: Array, beta: Array | None, eps: float) -> Array:
    bias = None if beta is None else torch.from_numpy(beta)
    normed = torch.nn.functional.layer_norm(torch.from_numpy(x), gamma.shape, torch.from_numpy(gamma), bias, eps)
    result: Array = normed.numpy()
    return result


def torch_rms_norm(x: Array, gamma: Array, eps: float) -> Array:
    normed = torch.nn.functional.rms_norm(torch.from_numpy(x), gamma.shape, torch.from_numpy(gamma), eps)
    result: Array = normed.numpy()
    return result


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.5])
@pytest.mark.parametrize("with_bias", [True, False])
def test_layer_norm(
    with_bias: bool,
    eps: float,
    run: Callable[..., Any],
    close: Callable[..., None],
    x: Array,
    gamma: Array,
    beta: Array,
) -> None:
    if with_bias:
        result = run(lambda x, g, b: layer_norm(x, g, b, epsilon=eps), SHAPES, x=x, g=gamma, b=beta)
    else:
        result = run(lambda x, g: layer_norm(x, g, epsilon=eps), SHAPES, x=x, g=gamma)
    close(result, torch_layer_norm(x, gamma, beta if with_bias else None, eps))


def test_layer_norm_over_two_axes(
    run: Callable[..., Any], close: Callable[..., None], x: Array, rng: np.random.Generator
) -> None:
    plane, offset = rng.standard_normal((3, 6), np.float32), rng.standard_normal((3, 6), np.float32)
    for axis in (1, -2):
        result = run(lambda x, g, b, axis=axis: layer_norm(x, g, b, axis=axis), x=x, g=plane, b=offset)
        close(result, torch_layer_norm(x, plane, offset, 1e-5))


@pytest.mark.parametrize("definition", [rms_norm, simplified_layer_norm])
@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.5])
def test_rms_norm(
    definition: Callable[..., Any],
    eps: float,
    run: Callable[..., Any],
    close: Callable[..., None],
    x: Array,
    gamma: Array,
) -> None:
    close(run(lambda x, g: definition(x, g, epsilon=eps), SHAPES, x=x, g=gamma), torch_rms_norm(x, gamma, eps))


def test_statistics_of_half_precision_are_computed_in_single(
    run: Callable[..., Any], close: Callable[..., None]
) -> None:
    x = np.linspace(200, 400, 16, dtype=np.float16).reshape(2, 8)  # their squares are beyond float16
    ones = np.ones(8, np.float16)
    expected = torch_rms_norm(x.astype(np.float64), ones.astype(np.float64), 1e-5).astype(np.float16)
    close(run(lambda x, g: rms_norm(x, g), x=x, g=ones), expected)
    expected = torch_layer_norm(x.astype(np.float64), ones.astype(np.float64), None, 1e-5).astype(np.float16)
    close(run(lambda x, g: layer_norm(x, g), x=x, g=ones), expected)


def test_a_constant_row_becomes_the_bias(run: Callable[..., Any], gamma: Array, beta: Array) -> None:
    x = np.full((1, 2, 6), 3.25, np.float32)
    result = run(lambda x, g, b: layer_norm(x, g, b), x=x, g=gamma, b=beta)
    np.testing.assert_array_equal(result, np.broadcast_to(beta, (1, 2, 6)))


@pytest.mark.parametrize("with_bias", [True, False])
def test_skip_layer_norm(
    with_bias: bool,
    run: Callable[..., Any],
    close: Callable[..., None],
    x: Array,
    skip: Array,
    gamma: Array,
    beta: Array,
) -> None:
    def model(x: Any, skip: Any, gamma: Any, beta: Any, bias: Any = None) -> Any:
        return skip_layer_norm(x, skip, gamma, beta, bias, epsilon=1e-3)

    bias = np.linspace(-1, 1, 6, dtype=np.float32)
    arrays = {"x": x, "skip": skip, "gamma": gamma, "beta": beta, **({"bias": bias} if with_bias else {})}
    output, mean, inverse, total = run(model, SHAPES, **arrays)
    expected = x + skip + (bias if with_bias else 0)
    close(total, expected.astype(np.float32))
    close(output, torch_layer_norm(expected.astype(np.float32), gamma, beta, 1e-3))
    close(mean, expected.mean(-1, keepdims=True).astype(np.float32))
    close(inverse, (1 / np.sqrt(expected.var(-1, keepdims=True) + 1e-3)).astype(np.float32))


def test_skip_rms_norm(
    run: Callable[..., Any], close: Callable[..., None], x: Array, skip: Array, gamma: Array, beta: Array
) -> None:
    def model(x: Any, skip: Any, gamma: Any, bias: Any) -> Any:
        return skip_rms_norm(x, skip, gamma, bias, epsilon=1e-3)

    results = run(model, SHAPES, x=x, skip=skip, gamma=gamma, bias=beta)
    close(results[3], x + skip + beta)
    close(results[0], torch_rms_norm(x + skip + beta, gamma, 1e-3))
