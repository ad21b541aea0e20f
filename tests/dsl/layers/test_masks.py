"""What users pass as `attention_mask`, combined with causality, windows and position biases, against plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph import nn
from tfgraph.dsl.functions.attention import LOWEST
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import DTypeError, ShapeError
from tfgraph.ir.dtypes import DType

Array = np.ndarray[Any, Any]
LOW = np.float32(LOWEST[DType.FLOAT32])


def combined(run: Callable[..., Any], shape: str, **settings: Any) -> Callable[..., Array]:
    """`combine_masks` of a mask, and a bias if it is given, for 3 queries and as many keys as the mask has columns."""

    def model(mask: Any, bias: Any = None) -> Any:
        keys = mask.shape[-1]
        return nn.combine_masks(mask, queries=3, keys=keys, position_bias=bias, **settings)

    def call(mask: Array, **arrays: Array) -> Array:
        result: Array = run(model, {"mask": shape}, mask=mask, **arrays)
        return result

    return call


@pytest.mark.parametrize("dtype", ["bool", "int32", "int64", "uint8"])
def test_a_padding_mask(dtype: str, run: Callable[..., Any]) -> None:
    mask = np.array([[1, 0, 1, 1], [0, 0, 0, 1]]).astype(dtype)
    result = combined(run, "batch keys")(mask)
    assert result.dtype == bool
    np.testing.assert_array_equal(result, mask.astype(bool)[:, None, None])


@pytest.mark.parametrize("rank", [3, 4])
@pytest.mark.parametrize("dtype", ["bool", "int64"])
def test_a_mask_for_each_query(dtype: str, rank: int, run: Callable[..., Any], rng: np.random.Generator) -> None:
    mask = rng.integers(0, 2, (2, 3, 4) if rank == 3 else (2, 5, 3, 4)).astype(dtype)
    result = combined(run, "batch 3 keys" if rank == 3 else "batch 5 3 keys")(mask)
    np.testing.assert_array_equal(result, mask[:, None].astype(bool) if rank == 3 else mask.astype(bool))


@pytest.mark.parametrize("rank", [3, 4])
def test_a_float_mask_is_a_bias(rank: int, run: Callable[..., Any], rng: np.random.Generator) -> None:
    mask = rng.standard_normal((2, 3, 4) if rank == 3 else (2, 1, 3, 4), np.float32)
    result = combined(run, "batch 3 keys" if rank == 3 else "batch 1 3 keys")(mask)
    np.testing.assert_array_equal(result, mask.reshape(2, 1, 3, 4))


def test_a_bias_is_the_lowest_number_where_the_mask_forbids(run: Callable[..., Any], rng: np.random.Generator) -> None:
    mask, bias = np.array([[1, 0, 1], [1, 1, 0]]), rng.standard_normal((1, 2, 3, 3), np.float32)
    result = combined(run, "batch 3")(mask, bias=bias)
    np.testing.assert_array_equal(result, np.where(mask[:, None, None] != 0, bias, LOW))


def test_two_biases_are_added(run: Callable[..., Any], rng: np.random.Generator) -> None:
    mask, bias = rng.standard_normal((2, 1, 3, 4), np.float32), rng.standard_normal((1, 2, 3, 4), np.float32)
    np.testing.assert_array_equal(combined(run, "batch 1 3 4")(mask, bias=bias), mask + bias)


@given(
    queries=st.integers(1, 5), past=st.integers(0, 4), window=st.none() | st.integers(1, 6), causal=st.booleans(),
    padded=st.booleans(), biased=st.booleans(),
)  # fmt: skip
def test_limits_are_those_of_a_loop(
    run: Callable[..., Any], queries: int, past: int, window: int | None, causal: bool, padded: bool, biased: bool
) -> None:
    keys = past + queries
    padding = np.arange(keys)[None] != 1
    bias = np.arange(keys * queries, dtype=np.float32).reshape(1, 1, queries, keys)

    def model(padding: Any, bias: Any) -> Any:
        result = nn.combine_masks(
            padding if padded else None, queries=queries, keys=keys, past=past, causal=causal, window=window,
            position_bias=bias if biased else None,
        )  # fmt: skip
        return {"mask": result, "any": padding}

    outputs = run(model, padding=padding, bias=bias)
    expected = np.ones((queries, keys), bool)
    for query in range(queries):
        for key in range(keys):
            distance = query + past - key
            expected[query, key] = not (
                (causal and distance < 0)
                or (window is not None and abs(distance) >= window)
                or (padded and not padding[0, key])
            )
    if not (padded or biased or causal or window):
        np.testing.assert_array_equal(outputs, padding)  # no mask at all
    elif biased:
        np.testing.assert_array_equal(outputs[0], np.where(expected, bias, LOW))
    else:
        np.testing.assert_array_equal(np.broadcast_to(outputs[0], (1, 1, queries, keys))[0, 0], expected)


def mask_error(mask: Any, **settings: Any) -> None:
    trace(
        lambda mask, x: nn.combine_masks(mask, queries=x.shape[1], keys=x.shape[1], **settings),
        mask=mask,
        x=spec("float32", ["batch", "seq", 8]),
    )


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [
        ("int64", ["batch", "past"], r"int64\[batch, past\], .* over seq keys: .*\[seq\], cached keys"),
        ("bool", ["batch", "seq", "past"], r"bool\[batch, seq, past\].*seq queries and seq keys.*\[seq, seq\]"),
        ("bool", ["seq"], r"bool\[seq\]: expected \[batch, queries, keys\].*or a padding mask \[batch, keys\]"),
        ("float32", ["batch", "seq"], r"float32\[batch, seq\]: expected .*or a padding mask .* of int or bool"),
        ("bool", ["batch", 1, 1, 1, "seq"], "expected"),
    ],
)
def test_masks_that_do_not_fit(dtype: str, shape: list[Any], message: str) -> None:
    with pytest.raises(ShapeError, match=r"test_masks\.py:\d+: .*" + message):
        mask_error(spec(dtype, shape))


def test_biases_of_different_dtypes() -> None:
    half = spec("float16", ["batch", 1, "seq", "seq"])
    with pytest.raises(DTypeError, match=r"float32 and float16"):
        trace(
            lambda mask, bias: nn.combine_masks(mask, queries=mask.shape[2], keys=mask.shape[3], position_bias=bias),
            mask=half,
            bias=spec("float32", [1, 1, "seq", "seq"]),
        )


def test_a_dtype_without_a_lowest_number() -> None:
    with pytest.raises(DTypeError, match="attention cannot be computed in float8_e4m3fn: expected one of float32"):
        trace(
            lambda mask, bias: nn.combine_masks(mask, queries=2, keys=2, position_bias=bias),
            mask=spec("bool", ["batch", 2]),
            bias=spec("float8_e4m3fn", [1, 1, 2, 2]),
        )
