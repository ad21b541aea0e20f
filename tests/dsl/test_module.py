"""Modules: paths of parameters, state dicts, initial weights, buffers, and the messages of mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfgraph import nn
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import CheckpointError, ShapeError, TraceError
from tfgraph.ir.constant import ArrayConstant

Array = np.ndarray[Any, Any]


class Tower(nn.Module):
    def __init__(self, depth: int = 2) -> None:
        self.scale = 3.0
        self.norm = nn.LayerNorm(4)
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(depth))
        self.table = nn.Buffer(ArrayConstant(np.arange(4, dtype=np.float32)))
        self.gain = nn.Parameter((4,), initial="ones")

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.norm(x) * self.gain + self.table


PATHS = ["gain", "norm.weight", "norm.bias", "layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]


def zeros(model: nn.Module) -> dict[str, Array]:
    return {path: np.zeros(handle.shape, np.float32) for path, handle in model.state_dict().items()}


def test_parameters_are_named_by_their_paths() -> None:
    model = Tower()
    assert list(model.state_dict()) == PATHS
    assert model.num_parameters() == 4 + 8 + 2 * 20
    assert [path for path, _ in model.named_modules()] == ["", "norm", "layers", "layers.0", "layers.1"]
    assert [path for path, _ in model.named_buffers()] == ["table"]


def test_a_shared_parameter_counts_once_and_is_found_at_each_of_its_paths() -> None:
    model = Tower()
    model.layers[1].weight = model.layers[0].weight
    assert "layers.1.weight" not in model.state_dict()
    assert model.num_parameters() == 4 + 8 + 16 + 2 * 4
    assert "layers.1.weight" in [path for path, _ in model.all_parameter_paths()]


def test_weights_are_taken_by_path_and_cast() -> None:
    model = Tower()
    weights = {path: array + number for number, (path, array) in enumerate(zeros(model).items())}
    model.load_state_dict({path: array.astype(np.float64) for path, array in weights.items()})
    for path, handle in model.state_dict().items():
        assert str(handle.dtype) == "float32"
        np.testing.assert_array_equal(handle.numpy(), weights[path])


def test_all_that_does_not_fit_is_listed_and_nothing_is_taken() -> None:
    model = Tower()
    weights = zeros(model)
    del weights["gain"]
    weights["extra.weight"] = np.zeros(3, np.float32)
    weights["norm.bias"] = np.zeros((4, 1), np.float32)
    with pytest.raises(CheckpointError) as caught:
        model.load_state_dict(weights)
    assert str(caught.value).splitlines() == [
        "these weights do not fit Tower:",
        "  missing: gain",
        "  unknown: extra.weight",
        "  norm.bias: has shape [4, 1], and the model needs [4]",
    ]
    assert not any(handle.has_data for handle in model.state_dict().values())


def test_a_long_list_of_problems_is_cut() -> None:
    with pytest.raises(CheckpointError, match="and 34 more"):
        Tower(depth=20).load_state_dict(
            zeros(Tower(depth=0))
            | {"norm.bias": np.zeros(1, np.float32)}
            | {f"other.{index}": np.zeros(1, np.float32) for index in range(5)}
        )


def test_initial_weights_are_declared_and_reproducible() -> None:
    first, second, other = Tower(), Tower(), Tower()
    first.init_weights(seed=1)
    second.init_weights(seed=1)
    other.init_weights(seed=2, scale=1.0)
    for path in PATHS:
        np.testing.assert_array_equal(first.state_dict()[path].numpy(), second.state_dict()[path].numpy())
    np.testing.assert_array_equal(first.state_dict()["gain"].numpy(), np.ones(4))
    np.testing.assert_array_equal(first.state_dict()["layers.0.bias"].numpy(), np.zeros(4))
    assert 0.005 < first.state_dict()["layers.0.weight"].numpy().std() < 0.05
    assert other.state_dict()["layers.0.weight"].numpy().std() > 0.3


def test_initial_weights_leave_what_is_there() -> None:
    model = Tower()
    model.gain.data = ArrayConstant(np.full(4, 7.0, np.float32))
    model.init_weights()
    np.testing.assert_array_equal(model.gain.data.numpy(), np.full(4, 7.0))


def test_a_weight_that_was_never_loaded_says_what_to_do() -> None:
    with pytest.raises(
        CheckpointError, match=r"float32\[4, 4\] has no values: load a checkpoint, or call `init_weights"
    ):
        Tower().layers[0].weight.data.numpy()


def test_a_module_remembers_no_trace() -> None:
    model = Tower()
    before = {path: vars(module).copy() for path, module in model.named_modules()}
    trace(model, x=spec("float32", ["batch", 4]))
    assert {path: vars(module) for path, module in model.named_modules()} == before


def test_a_model_is_traced_with_its_buffers(run: Any, weights: Any) -> None:
    model = weights(Tower(depth=0))
    names = {value.name for value in trace(model, x=spec("float32", ["batch", 4])).constants}
    assert {"norm.weight", "norm.bias", "gain", "table"} <= names
    state = {path: handle.numpy() for path, handle in model.state_dict().items()}
    x = np.array([[1.0, 2.0, 4.0, 8.0]], np.float32)
    normed = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * state["norm.weight"] + state["norm.bias"]
    np.testing.assert_allclose(run(model, x=x), normed * state["gain"] + np.arange(4), rtol=1e-5)


def test_a_plain_list_of_modules_is_refused() -> None:
    class Listed(nn.Module):
        def __init__(self, parts: Any) -> None:
            self.parts = parts

    for parts in ([nn.Linear(2, 2)], (nn.Linear(2, 2),), {"a": nn.Linear(2, 2)}):
        kind = type(parts).__name__
        with pytest.raises(TraceError, match=rf"Listed\.parts is a {kind} of modules, .*: make it a ModuleList"):
            Listed(parts).state_dict()
    assert not Listed([1, 2]).state_dict()


def test_a_module_without_forward() -> None:
    class Empty(nn.Module):
        pass

    with pytest.raises(TraceError, match=r"Empty has no forward\(\): define what it computes"):
        trace(Empty(), x=spec("float32", [1]))


def test_module_lists() -> None:
    layers = nn.ModuleList([nn.Linear(2, 3)])
    layers.append(nn.Linear(3, 4))
    assert len(layers) == 2 and layers[1] is list(layers)[1]
    assert [path for path, _ in layers.named_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]


@pytest.mark.parametrize("shape", [(2, -1), (2, "seq"), (2.0,)])
def test_a_parameter_has_fixed_sizes(shape: Any) -> None:
    with pytest.raises(ShapeError, match=r"a parameter of shape .* cannot be: .* is not a fixed size"):
        nn.Parameter(shape)


def test_representations() -> None:
    assert repr(nn.Linear(2, 3)) == "Linear()"
    assert repr(nn.MLP(2, 3)) == "MLP(up=Linear, down=Linear)"
    assert repr(nn.Parameter((2, 3), "float16")) == "Parameter(float16[2, 3], absent)"
    assert repr(Tower().table) == "Buffer(float32[4])"
