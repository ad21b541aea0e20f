"""Linear, Embedding, the normalisations and the MLP against torch; settings that are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tfgraph import nn
from tfgraph.dsl import layers
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import ConfigError, DTypeError, ShapeError

Array = np.ndarray[Any, Any]


def torch_weight(parameter: nn.Parameter | None) -> torch.Tensor | None:
    return None if parameter is None else torch.from_numpy(parameter.data.numpy())


@pytest.mark.parametrize("bias", [True, False])
def test_linear(
    bias: bool,
    run: Callable[..., Any],
    close: Callable[..., None],
    weights: Callable[..., Any],
    rng: np.random.Generator,
) -> None:
    layer = weights(nn.Linear(5, 3, bias=bias))
    x = rng.standard_normal((2, 4, 5), np.float32)
    expected = torch.nn.functional.linear(torch.from_numpy(x), torch_weight(layer.weight), torch_weight(layer.bias))
    close(run(layer, {"x": "batch seq 5"}, x=x), expected.numpy())


def test_linear_is_a_transpose_and_a_product_of_its_parameter() -> None:
    graph = trace(nn.Linear(5, 3), x=spec("float32", ["batch", 5]))
    assert [node.op for node in graph] == ["Transpose", "MatMul", "Add"]
    assert [value.name for value in graph.constants] == ["weight", "bias"]


def test_linear_refuses_an_input_of_another_size() -> None:
    with pytest.raises(ShapeError, match=r"MatMul of \[batch, 4\] and \[5, 3\]"):
        trace(nn.Linear(5, 3), x=spec("float32", ["batch", 4]))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_embedding(
    dtype: str, run: Callable[..., Any], close: Callable[..., None], weights: Callable[..., Any]
) -> None:
    layer = weights(nn.Embedding(7, 3))
    ids = np.array([[0, 6, 2], [3, 3, 1]], dtype)
    close(run(layer, {"ids": "batch seq"}, ids=ids), layer.weight.data.numpy()[ids])


def test_embedding_refuses_ids_that_are_no_integers() -> None:
    with pytest.raises(DTypeError, match=r"test_small_layers\.py:\d+: .*float32 was given"):
        trace(nn.Embedding(7, 3), ids=spec("float32", ["batch"]))


def test_a_shared_table_is_in_the_graph_once(run: Callable[..., Any], weights: Callable[..., Any]) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.embedding = nn.Embedding(7, 3)
            self.head = nn.Linear(3, 7, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, ids: nn.Tensor) -> nn.Tensor:
            return self.head(self.embedding(ids))

    model = weights(Tied())
    assert list(model.state_dict()) == ["embedding.weight"]
    graph = trace(model, ids=spec("int64", ["batch"]))
    assert [value.name for value in graph.constants] == ["embedding.weight"]
    table = model.embedding.weight.data.numpy()
    np.testing.assert_allclose(run(model, ids=np.array([4])), table[[4]] @ table.T, rtol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm(
    bias: bool,
    run: Callable[..., Any],
    close: Callable[..., None],
    weights: Callable[..., Any],
    rng: np.random.Generator,
) -> None:
    layer = weights(nn.LayerNorm(6, eps=1e-3, bias=bias))
    x = rng.standard_normal((2, 3, 6), np.float32)
    expected = torch.nn.functional.layer_norm(
        torch.from_numpy(x), (6,), torch_weight(layer.weight), torch_weight(layer.bias), 1e-3
    )
    close(run(layer, {"x": "batch seq 6"}, x=x), expected.numpy())


def test_rms_norm(
    run: Callable[..., Any], close: Callable[..., None], weights: Callable[..., Any], rng: np.random.Generator
) -> None:
    layer = weights(nn.RMSNorm(6, eps=1e-3))
    x = rng.standard_normal((2, 3, 6), np.float32)
    expected = torch.nn.functional.rms_norm(torch.from_numpy(x), (6,), torch_weight(layer.weight), 1e-3)
    close(run(layer, {"x": "batch seq 6"}, x=x), expected.numpy())


def test_fresh_norms_scale_by_one(
    run: Callable[..., Any], close: Callable[..., None], rng: np.random.Generator
) -> None:
    x = rng.standard_normal((2, 6), np.float32)
    for layer in (nn.LayerNorm(6), nn.RMSNorm(6)):
        layer.init_weights()
        result = run(layer, x=x)
        np.testing.assert_allclose((result * result).mean(-1), 1, rtol=1e-4)


ORACLES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "gelu_new": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "gelu_fast": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": torch.relu,
    "relu2": lambda x: torch.relu(x) ** 2,
    "silu": torch.nn.functional.silu,
    "swish": torch.nn.functional.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


@pytest.mark.parametrize("activation", nn.ACTIVATIONS)
@pytest.mark.parametrize("gated", [False, True])
def test_mlp(
    gated: bool,
    activation: str,
    run: Callable[..., Any],
    close: Callable[..., None],
    weights: Callable[..., Any],
    rng: np.random.Generator,
) -> None:
    layer = weights(nn.MLP(4, 6, activation=activation, gated=gated))
    x = rng.standard_normal((2, 3, 4), np.float32)

    def linear(part: nn.Linear, given: torch.Tensor) -> torch.Tensor:
        weight = torch_weight(part.weight)
        assert weight is not None
        return torch.nn.functional.linear(given, weight, torch_weight(part.bias))

    given = torch.from_numpy(x)
    if gated:
        inner = ORACLES[activation](linear(layer.gate, given)) * linear(layer.up, given)
    else:
        inner = ORACLES[activation](linear(layer.up, given))
    close(run(layer, {"x": "batch seq 4"}, x=x), linear(layer.down, inner).numpy())


def test_mlp_without_bias_has_none() -> None:
    assert sorted(nn.MLP(4, 6, gated=True, bias=False).state_dict()) == ["down.weight", "gate.weight", "up.weight"]


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        ("gelo", r"unknown activation 'gelo': did you mean 'gelu'\? It can be 'gelu', 'gelu_tanh', .*'tanh'"),
        ("", r"unknown activation '': it can be 'gelu'"),
        (None, "unknown activation None: it can be"),
    ],
)
def test_an_unknown_activation(activation: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        nn.MLP(4, 6, activation=activation)


@pytest.mark.parametrize("sizes", [(0, 6), (4, -1), (4.0, 6), (True, 6)])
def test_sizes_that_cannot_be(sizes: tuple[Any, Any]) -> None:
    with pytest.raises(ConfigError, match=r"(hidden|intermediate)_size is .*: expected a whole number of at least 1"):
        nn.MLP(*sizes)


def test_nn_has_every_layer_and_what_modules_are_made_of() -> None:
    assert {*layers.__all__, "Module", "ModuleList", "Parameter", "Buffer", "Tensor"} == set(nn.__all__)
    assert all(getattr(nn, name) is getattr(layers, name) for name in layers.__all__)
