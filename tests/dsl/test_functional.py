"""Every primitive as a function against numpy and torch; numbers that do not fit the tensor beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tfgraph.dsl import functional as F
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import DTypeError, ShapeError

Array = np.ndarray[Any, Any]
X = np.linspace(-2.5, 2.5, 24, dtype=np.float32).reshape(2, 3, 4)
Y = np.linspace(3, -1, 12, dtype=np.float32).reshape(3, 4)
T = torch.from_numpy(X)

UNARY: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "negate": (F.negate, -X),
    "absolute": (F.absolute, np.abs(X)),
    "sqrt": (lambda x: F.sqrt(F.absolute(x)), np.sqrt(np.abs(X))),
    "exp": (F.exp, np.exp(X)),
    "log": (lambda x: F.log(F.absolute(x)), np.log(np.abs(X))),
    "erf": (F.erf, torch.erf(T).numpy()),
    "tanh": (F.tanh, np.tanh(X)),
    "sigmoid": (F.sigmoid, torch.sigmoid(T).numpy()),
    "relu": (F.relu, torch.relu(T).numpy()),
    "sin": (F.sin, np.sin(X)),
    "cos": (F.cos, np.cos(X)),
    "not": (lambda x: F.logical_not(x > 0), ~(X > 0)),
    "softmax": (F.softmax, torch.softmax(T, -1).numpy()),
    "softmax-first": (lambda x: F.softmax(x, 0), torch.softmax(T, 0).numpy()),
    "mean": (lambda x: F.reduce_mean(x, (-1,)), X.mean(-1, keepdims=True)),
    "mean-two": (lambda x: F.reduce_mean(x, (0, 2), keepdims=False), X.mean((0, 2))),
    "sum": (lambda x: F.reduce_sum(x, (1,)), X.sum(1, keepdims=True)),
    "max": (lambda x: F.reduce_max(x, (-1,), keepdims=False), X.max(-1)),
    "cumulative": (lambda x: F.cumulative_sum(x, 1), X.cumsum(1)),
    "argmax": (F.argmax, X.argmax(-1)),
    "argmax-keep": (lambda x: F.argmax(x, 1, keepdims=True), X.argmax(1, keepdims=True)),
    "cast": (lambda x: F.cast(x, "int32"), X.astype(np.int32)),
    "reshape": (lambda x: F.reshape(x, (4, -1)), X.reshape(4, 6)),
    "transpose": (lambda x: F.transpose(x, (2, 0, -2)), X.transpose(2, 0, 1)),
    "swap": (lambda x: F.swap_axes(x, -1, 0), X.swapaxes(-1, 0)),
    "unsqueeze": (lambda x: F.unsqueeze(x, (0, -1)), X[None, ..., None]),
    "squeeze": (lambda x: F.squeeze(F.unsqueeze(x, (1,)), (1,)), X),
    "expand": (lambda x: F.expand(F.unsqueeze(x, (1,)), (2, 5, 3, 4)), np.repeat(X[:, None], 5, 1)),
    "concat": (lambda x: F.concat([x, x * 2], -1), np.concatenate([X, X * 2], -1)),
    "gather": (lambda x: F.gather(x, np.array([[2, 0]]), 1), X[:, [[2, 0]]]),
    "top-k": (lambda x: F.top_k(x, 2, 1)[0], -np.sort(-X, 1)[:, :2]),
    "top-k-where": (lambda x: F.top_k(x, 3)[1], np.argsort(-X, -1)[..., :3]),
    "nonzero": (lambda x: F.nonzero(x > 0.5), np.array(np.nonzero(X > 0.5))),
    "scatter-rows": (lambda x: F.scatter_rows(x[0], np.array([2, 0]), x[1, :2]), np.stack([X[1, 1], X[0, 1], X[1, 0]])),
    "split": (lambda x: F.split(x, (1, 3), -1)[1], X[..., 1:]),
    "split-equal": (lambda x: F.split(x, (2, 2), -1)[1], X[..., 2:]),
    "split-symbolic": (lambda x: F.split(F.concat([x, x * 2], 0), (x.shape[0], x.shape[0]), 0)[1], X * 2),
}


@pytest.mark.parametrize("name", UNARY)
def test_of_one_tensor(name: str, run: Callable[..., Any], close: Callable[..., None]) -> None:
    function, expected = UNARY[name]
    shape = "2 3 4" if name == "expand" else "batch 3 4"
    close(run(lambda x: function(x), {"x": shape}, x=X), expected)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (F.add, X + Y),
        (F.subtract, X - Y),
        (F.multiply, X * Y),
        (F.divide, X / Y),
        (F.maximum, np.maximum(X, Y)),
        (F.minimum, np.minimum(X, Y)),
        (F.equal, X == Y),
        (F.less, X < Y),
        (F.less_equal, X <= Y),
        (F.greater, X > Y),
        (F.greater_equal, X >= Y),
        (lambda x, y: F.power(F.absolute(x), y), np.abs(X) ** Y),
        (lambda x, y: F.logical_and(x > 0, y > 0), (X > 0) & (Y > 0)),
        (lambda x, y: F.logical_or(x > 0, y > 0), (X > 0) | (Y > 0)),
        (lambda x, y: F.where(x > y, x, y), np.where(X > Y, X, Y)),
        (lambda x, y: F.where(x > y, 1.0, y), np.where(X > Y, np.float32(1), Y)),
        (lambda x, y: F.where(x > y, x, -1), np.where(X > Y, X, np.float32(-1))),
        (lambda x, y: F.where(x > y, 2.0, 3.0), np.where(X > Y, np.float32(2), np.float32(3))),
        (lambda x, y: F.matmul(x, F.swap_axes(y, 0, 1)), X @ Y.T),
    ],
)
def test_of_two_tensors(
    function: Callable[..., Any], expected: Array, run: Callable[..., Any], close: Callable[..., None]
) -> None:
    close(run(lambda x, y: function(x, y), {"x": "batch 3 4"}, x=X, y=Y), expected)


def test_a_range_of_symbolic_sizes(run: Callable[..., Any]) -> None:
    def model(x: Any) -> Any:
        batch, seq, _ = x.shape
        return F.arange(batch, batch * seq + 1)

    np.testing.assert_array_equal(run(model, {"x": "batch seq 4"}, x=X), np.arange(2, 7))


def test_a_size_is_a_number(run: Callable[..., Any]) -> None:
    result = run(lambda x: x * x.shape[0] + (x.shape[1] - x.shape[0] * 2), {"x": "batch seq 4"}, x=X)
    np.testing.assert_array_equal(result, X * 2 + (3 - 4))
    assert result.dtype == np.float32


def test_casting_to_the_dtype_it_has_records_nothing() -> None:
    assert len(trace(lambda x: F.cast(x, "float32"), x=spec("float32", [2]))) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (0.5, r"0\.5 cannot become int64"),
        (2**63, "9223372036854775808 cannot become int64"),
        (float("nan"), "nan cannot become int64"),
        (float("inf"), "inf cannot become int64"),
        (np.array([1.0, 2.5]), "an array of float64 cannot become int64"),
        (np.array(["a"]), "an array of <U1 cannot become int64"),
    ],
)
def test_a_number_that_does_not_fit(given: Any, message: str) -> None:
    with pytest.raises(DTypeError, match=r"test_functional\.py:\d+: " + message):
        trace(lambda x: x + given, x=spec("int64", ["batch", 2]))


def test_whole_numbers_fit_integers(run: Callable[..., Any]) -> None:
    x = np.array([1, 2, 3])
    result = run(lambda x: x * 2.0 + np.array([1.0, 0.0, -1.0]), x=x)
    np.testing.assert_array_equal(result, [3, 4, 5])
    assert result.dtype == np.int64


def test_a_number_beside_no_tensor_has_its_natural_dtype(run: Callable[..., Any]) -> None:
    def model(x: Any) -> Any:
        return {
            "int": F.as_tensor(3),
            "float": F.as_tensor(0.5),
            "bool": F.as_tensor(True),
            "np": F.as_tensor(np.int64(3)),
        }

    graph = trace(model, x=spec("float32", [1]))
    assert [str(value.dtype) for value in graph.outputs.values()] == ["int64", "float32", "bool", "int64"]


def test_unpack_shape() -> None:
    def model(x: Any) -> Any:
        batch, seq, size = F.unpack_shape(x, "batch seq hidden")
        assert (str(batch), str(seq), size) == ("b", "s", 4)
        return x

    trace(model, x=spec("float32", ["b", "s", 4]))
    with pytest.raises(
        ShapeError, match=r"test_functional\.py:\d+: expected .*\[batch, seq, hidden\], and got \[b, 4\]"
    ):
        trace(model, x=spec("float32", ["b", 4]))
