"""The Python operators of tensors and parameters against numpy; what a tensor cannot do."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfgraph import nn
from tfgraph.dsl.tensor import Operable
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import TraceError
from tfgraph.ir.constant import ArrayConstant

Array = np.ndarray[Any, Any]
A = np.array([[1.5, -2.0, 3.0], [0.25, 4.0, 2.0]], np.float32)
B = np.array([[2.0, -2.0, 0.5]], np.float32)
SHAPES = {"a": "rows 3", "b": "1 3"}
ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("operation", [*ARITHMETIC, *COMPARISONS])
def test_two_tensors(operation: Callable[..., Any], run: Callable[..., Any]) -> None:
    a = np.abs(A) if operation is operator.pow else A
    result = run(lambda a, b: operation(a, b), SHAPES, a=a, b=B)
    np.testing.assert_allclose(result, operation(a, B), rtol=1e-6)


@pytest.mark.parametrize("number", [2, 0.5, np.float64(2.5), np.float32(0.5), np.int32(3)])
@pytest.mark.parametrize("operation", ARITHMETIC)
def test_a_number_takes_the_dtype_of_the_tensor(
    operation: Callable[..., Any], number: Any, run: Callable[..., Any]
) -> None:
    a = np.abs(A).astype(np.float16)
    result = run(lambda a: operation(a, number), {"a": "rows 3"}, a=a)
    assert result.dtype == np.float16
    np.testing.assert_allclose(result, operation(a.astype(np.float64), float(number)), rtol=3e-3)
    if operation is not operator.pow:
        result = run(lambda a: operation(float(number), a), {"a": "rows 3"}, a=a)
        np.testing.assert_allclose(result, operation(float(number), a.astype(np.float64)), rtol=3e-3)


def test_a_python_number_on_the_left_of_a_comparison(run: Callable[..., Any]) -> None:
    np.testing.assert_array_equal(run(lambda a: operator.lt(2.0, a), a=A), A > 2)


def test_an_array_is_a_constant(run: Callable[..., Any]) -> None:
    np.testing.assert_array_equal(run(lambda a: a * B.astype(np.float64), a=A), A * B)
    row = np.array([1, 2, 3])
    result = run(lambda a: a + row, a=A)
    np.testing.assert_array_equal(result, A + row)
    assert result.dtype == np.float32


def test_a_parameter_takes_part_like_a_tensor(run: Callable[..., Any]) -> None:
    parameter = nn.Parameter((1, 3))
    parameter.data = ArrayConstant(B)
    np.testing.assert_array_equal(
        run(lambda a: (parameter * 2 + a) @ parameter.transpose(1, 0), a=A), (B * 2 + A) @ B.T
    )
    np.testing.assert_array_equal(run(lambda a: a - (parameter - 1.0), a=A), A - (B - 1))


def test_logic(run: Callable[..., Any]) -> None:
    result = run(lambda a: ((a > 0) & (a < 3)) | ~(a > -3), a=A)
    np.testing.assert_array_equal(result, ((A > 0) & (A < 3)) | ~(A > -3))


def test_negation_and_matrix_product(run: Callable[..., Any]) -> None:
    result = run(lambda a, b: -a @ b, a=A, b=A.T.copy())
    np.testing.assert_allclose(result, -A @ A.T, rtol=1e-6)


def test_methods(run: Callable[..., Any]) -> None:
    np.testing.assert_array_equal(run(lambda a: a.reshape(3, 2).transpose(1, 0), a=A), A.reshape(3, 2).T)
    result = run(lambda a: a.cast("int64"), a=A)
    assert result.dtype == np.int64
    np.testing.assert_array_equal(result, np.trunc(A))


def test_a_tensor_knows_its_dtype_shape_and_rank() -> None:
    def model(x: nn.Tensor) -> nn.Tensor:
        batch, size = x.shape
        assert (str(x.dtype), str(batch), size, x.rank) == ("float32", "batch", 3, 2)
        return x

    trace(model, x=spec("float32", ["batch", 3]))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda x: x if x > 0 else -x, "truth of .* is not known while the model is traced"),
        (lambda x: x and x, "use `where`, or decide on shapes and settings"),
        (lambda x: list(x), "cannot loop over .*: loop over its size, or use `split`"),
        (lambda x: x + "a", "expected a tensor, a parameter, a number or an array, and got str"),
        (lambda x: x + None, "and got NoneType"),
        (lambda x: x * [1, 2], "and got list"),
    ],
)
def test_what_a_tensor_cannot_do(use: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        trace(use, x=spec("float32", ["batch", 3]))


def test_what_is_neither_tensor_nor_parameter_says_so() -> None:
    class Odd(Operable):
        __slots__ = ()

    odd = Odd()
    for use in (lambda: odd.dtype, lambda: odd.shape, lambda: odd.rank):
        with pytest.raises(TraceError, match="Odd has no"):
            use()
    with pytest.raises(TraceError, match="Odd has no value in a trace"):
        trace(lambda x: x + odd, x=spec("float32", [3]))
