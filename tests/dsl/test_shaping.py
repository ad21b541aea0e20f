"""Reshapes, expansions and slices with symbolic sizes against numpy, over random shapes and indices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.dsl import functional as F
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import ShapeError, TraceError
from tfgraph.ir.dims import symbol
from tfgraph.ir.interpret import interpret

Array = np.ndarray[Any, Any]
X = np.arange(2 * 3 * 8, dtype=np.float32).reshape(2, 3, 8)
XS = {"x": "batch seq 8"}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (lambda b, s: (b, s, 2, 4), (2, 3, 2, 4)),
        (lambda b, s: (b, s, -1, 2), (2, 3, 4, 2)),
        (lambda b, s: (b * s, 8), (6, 8)),
        (lambda b, s: (-1, 8), (6, 8)),
        (lambda b, s: (s, b, 8), (3, 2, 8)),
        (lambda b, s: (s * 2, b * 4), (6, 8)),
        (lambda b, s: (b * s * 8,), (48,)),
        (lambda b, s: (1, b, 1, s, 8), (1, 2, 1, 3, 8)),
        (lambda b, s: (2, b, s, 4), (2, 2, 3, 4)),
    ],
)
def test_reshape(shape: Callable[..., Any], expected: tuple[int, ...], run: Callable[..., Any]) -> None:
    result = run(lambda x: F.reshape(x, shape(*x.shape[:2])), XS, x=X)
    np.testing.assert_array_equal(result, X.reshape(expected))


def test_a_reshape_that_copies_its_sizes_reads_no_shape() -> None:
    graph = trace(lambda x: F.reshape(x, (*x.shape[:2], 2, 4)), x=spec("float32", ["batch", "seq", 8]))
    assert [node.op for node in graph] == ["Reshape"]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (lambda b, s: (b, s, 3, -1), r"\[batch, seq, 8\] to \[batch, seq, 3, -1\]: 8\*batch\*seq is no multiple of"),
        (lambda b, s: (b, s, 9), r"\[batch, seq, 8\] to \[batch, seq, 9\]: 8\*batch\*seq and 9\*batch\*seq elements"),
        (lambda b, s: (-1, -1), "more than one dimension is -1"),
        (lambda b, s: (b, s), r"to \[batch, seq\]: .* elements"),
    ],
)
def test_a_reshape_that_cannot_be(shape: Callable[..., Any], message: str) -> None:
    with pytest.raises(ShapeError, match=r"dsl/test_shaping\.py:\d+: cannot reshape .*" + message):
        trace(lambda x: F.reshape(x, shape(*x.shape[:2])), x=spec("float32", ["batch", "seq", 8]))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (lambda b, s: (b, s, 8), (2, 3, 8)),
        (lambda b, s: (s, b, s, 8), (3, 2, 3, 8)),
        (lambda b, s: (5, b * 2, b, s, 8), (5, 4, 2, 3, 8)),
    ],
)
def test_expand(shape: Callable[..., Any], expected: tuple[int, ...], run: Callable[..., Any]) -> None:
    result = run(lambda x: F.expand(x, shape(*x.shape[:2])), XS, x=X)
    np.testing.assert_array_equal(result, np.broadcast_to(X, expected))


def test_an_expansion_that_cannot_be() -> None:
    with pytest.raises(ShapeError, match=r"dsl/test_shaping\.py:\d+: .*\[batch, 8\].*\[batch, 9\]"):
        trace(lambda x: F.expand(x, (x.shape[0], 9)), x=spec("float32", ["batch", 8]))


bound = st.none() | st.integers(-12, 12)
item = st.one_of(
    st.integers(-3, 2), st.builds(slice, bound, bound, st.none() | st.sampled_from([1, 2, 3, -1, -2])), st.none()
)


@given(items=st.lists(item, max_size=4), ellipsis=st.none() | st.integers(0, 4))
def test_indexing_is_numpys(items: list[Any], ellipsis: int | None) -> None:
    array = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
    if sum(part is not None for part in items) > 3:
        items = items[:3]
    key = tuple(items)
    if ellipsis is not None:
        key = (*key[:ellipsis], ..., *key[ellipsis:])
    graph = trace(lambda x: x[key], x=spec("float32", [3, 4, 5]))
    np.testing.assert_array_equal(interpret(graph, {"x": array})["output"], array[key])


@given(start=st.integers(-4, 6), stop=st.none() | st.integers(-4, 6), step=st.integers(1, 3), size=st.integers(1, 5))
def test_a_slice_of_a_symbolic_axis(start: int, stop: int | None, step: int, size: int) -> None:
    array = np.arange(size * 2, dtype=np.float32).reshape(size, 2)
    graph = trace(lambda x: x[start:stop:step], x=spec("float32", ["rows", 2]))
    np.testing.assert_array_equal(interpret(graph, {"x": array})["output"], array[start:stop:step])


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (lambda x, b, s: x[:, : s - 1], X[:, :2]),
        (lambda x, b, s: x[:, s - 2 :], X[:, 1:]),
        (lambda x, b, s: x[:, s - 1], X[:, 2]),
        (lambda x, b, s: x[b - 1, ..., -1], X[1, :, -1]),
        (lambda x, b, s: x[..., ::-1], X[..., ::-1]),
        (lambda x, b, s: x[:, ::-1], X[:, ::-1]),
        (lambda x, b, s: x[None, :, None, :, 2:6:2], X[None, :, None, :, 2:6:2]),
    ],
)
def test_indices_of_symbolic_sizes(index: Callable[..., Any], expected: Array, run: Callable[..., Any]) -> None:
    np.testing.assert_array_equal(run(lambda x: index(x, *x.shape[:2]), XS, x=X), expected)


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (lambda x: x[0, 0, 0, 0], ShapeError, r"cannot index a tensor of shape \[batch, seq, 8\] with 4 items"),
        (lambda x: x[..., ...], ShapeError, "with 2 items"),
        (lambda x: x[..., 8], ShapeError, r"cannot take element 8 of axis 2 of \[batch, seq, 8\]: it has 8 elements"),
        (lambda x: x[..., -9], ShapeError, "cannot take element -9 of axis 2"),
        (lambda x: x["a"], TraceError, "cannot index a tensor with str: use integers, slices, None or '...'"),
        (lambda x: x[1.0], TraceError, "cannot index a tensor with float"),
        (lambda x: x[True], TraceError, "cannot index a tensor with bool"),
        (lambda x: x[[0, 1]], TraceError, "cannot index a tensor with list"),
        (lambda x: x[x], TraceError, "cannot index a tensor with Tensor"),
        (lambda x: x[::0], ShapeError, "cannot take a slice with step 0: expected an integer other than 0"),
    ],
)
def test_an_index_that_cannot_be(index: Callable[..., Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=r"dsl/test_shaping\.py:\d+: .*" + message):
        trace(index, x=spec("float32", ["batch", "seq", 8]))


@pytest.mark.parametrize(
    "size",
    [
        lambda b, s: b * s + 1,
        lambda b, s: 3 * b - s,
        lambda b, s: s // 2 + s % 2,
        lambda b, s: b * b * s * 2,
    ],
)
@given(batch=st.integers(1, 4), seq=st.integers(1, 3))
def test_arithmetic_over_sizes_is_computed_when_the_model_runs(size: Callable[..., Any], batch: int, seq: int) -> None:
    graph = trace(lambda x: F.arange(0, size(*x.shape)), x=spec("float32", ["batch", "seq"]))
    result = interpret(graph, {"x": np.zeros((batch, seq), np.float32)})["output"]
    assert len(result) == max(0, math.floor(size(batch, seq)))


def test_a_size_that_an_input_has_is_read_from_it() -> None:
    graph = trace(
        lambda x, mask: F.arange(0, mask.shape[0]), x=spec("float32", ["seq"]), mask=spec("int64", ["past + seq"])
    )
    assert [node.op for node in graph] == ["Shape", "Squeeze", "Range"]


def test_a_size_that_nothing_has_is_refused() -> None:
    with pytest.raises(TraceError, match=r"test_shaping\.py:\d+: the size 'other' is needed when the model runs"):
        trace(lambda x: F.arange(0, symbol("other") + 1), x=spec("float32", ["seq"]))
