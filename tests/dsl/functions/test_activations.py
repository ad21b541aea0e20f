"""The activations against torch, in each float dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tfgraph.dsl.functions import bias_gelu, fast_gelu, gelu, microsoft_gelu, quick_gelu, swish

Array = np.ndarray[Any, Any]


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.gelu(x, approximate="tanh")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (gelu, torch.nn.functional.gelu),
        (lambda x: gelu(x, approximate="tanh"), gelu_tanh),
        (microsoft_gelu, torch.nn.functional.gelu),
        (fast_gelu, gelu_tanh),
        (swish, torch.nn.functional.silu),
        (lambda x: quick_gelu(x, alpha=1.0), torch.nn.functional.silu),
        (quick_gelu, lambda x: x * torch.sigmoid(1.702 * x)),
        (lambda x: swish(x, alpha=2.5), lambda x: x * torch.sigmoid(2.5 * x)),
    ],
    ids=["gelu", "gelu-tanh", "ms-gelu", "fast-gelu", "swish", "silu", "quick-gelu", "swish-alpha"],
)
def test_activation_is_torchs(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    dtype: str,
    run: Callable[..., Any],
    close: Callable[..., None],
) -> None:
    x = np.linspace(-9, 9, 77).reshape(7, 11).astype(dtype)
    close(run(lambda x: ours(x), {"x": "rows 11"}, x=x), theirs(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize(("ours", "theirs"), [(bias_gelu, torch.nn.functional.gelu), (fast_gelu, gelu_tanh)])
def test_activation_with_a_bias(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    run: Callable[..., Any],
    close: Callable[..., None],
    rng: np.random.Generator,
) -> None:
    x, bias = rng.standard_normal((2, 3, 5), np.float32), rng.standard_normal(5, np.float32)
    result = run(lambda x, bias: ours(x, bias), {"x": "batch seq 5"}, x=x, bias=bias)
    close(result, theirs(torch.from_numpy(x + bias)).numpy())


def test_large_arguments_neither_overflow_nor_turn_into_nan(run: Callable[..., Any]) -> None:
    x = np.array([-1e4, -40.0, 40.0, 1e4], np.float32)
    for activation in (gelu, fast_gelu, swish, quick_gelu):
        np.testing.assert_allclose(run(lambda x, f=activation: f(x), x=x), [0, 0, 40, 1e4], atol=1e-15)
