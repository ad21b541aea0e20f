"""The definition of attention against torch: masks, shapes, caches, dtypes; and the seed document's worked example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.dsl.functions import attention
from tfgraph.dsl.functions.attention import causal_keep
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import ShapeError
from tfgraph.ir.interpret import interpret

Array = np.ndarray[Any, Any]
SHAPES = {"q": "batch 4 seq 5", "k": "batch 4 keys 5", "v": "batch 4 keys 5", "mask": "batch 1 1 keys"}


def qkv(rng: np.random.Generator, *, seq: int = 3, keys: int = 6, heads: int = 4, kv_heads: int = 4) -> list[Array]:
    sizes = [(2, heads, seq, 5), (2, kv_heads, keys, 5), (2, kv_heads, keys, 5)]
    return [rng.standard_normal(size, np.float32) for size in sizes]


def torch_attention(q: Array, k: Array, v: Array, mask: Array | None = None, **settings: Any) -> Array:
    given = None if mask is None else torch.from_numpy(mask)
    result: Array = torch.nn.functional.scaled_dot_product_attention(
        torch.from_numpy(q), torch.from_numpy(k), torch.from_numpy(v), given, **settings
    ).numpy()
    return result


@pytest.mark.parametrize("scale", [None, 0.7])
def test_without_a_mask(
    scale: float | None, run: Callable[..., Any], close: Callable[..., None], rng: np.random.Generator
) -> None:
    q, k, v = qkv(rng)
    result = run(lambda q, k, v: attention(q, k, v, scale=scale), SHAPES, q=q, k=k, v=v)
    close(result, torch_attention(q, k, v, scale=scale))


@pytest.mark.parametrize(
    "padding",
    [[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 1]],
    ids=["right", "left", "holes", "one-token"],
)
def test_padding(
    padding: list[int], run: Callable[..., Any], close: Callable[..., None], rng: np.random.Generator
) -> None:
    q, k, v = qkv(rng)
    mask = np.array([padding, [1] * 6], bool)[:, None, None]
    result = run(lambda q, k, v, mask: attention(q, k, v, mask), SHAPES, q=q, k=k, v=v, mask=mask)
    close(result, torch_attention(q, k, v, mask))


def test_a_bool_mask_for_each_query_and_head(
    run: Callable[..., Any], close: Callable[..., None], rng: np.random.Generator
) -> None:
    q, k, v = qkv(rng)
    mask = rng.random((2, 4, 3, 6)) < 0.5
    mask[..., 2] = True
    result = run(lambda q, k, v, mask: attention(q, k, v, mask), q=q, k=k, v=v, mask=mask)
    close(result, torch_attention(q, k, v, mask))


def test_a_float_mask_is_added(run: Callable[..., Any], close: Callable[..., None], rng: np.random.Generator) -> None:
    q, k, v = qkv(rng)
    mask = rng.standard_normal((2, 1, 3, 6), np.float32) * 3
    result = run(lambda q, k, v, mask: attention(q, k, v, mask), q=q, k=k, v=v, mask=mask)
    close(result, torch_attention(q, k, v, mask))


def test_a_row_that_is_masked_throughout_is_the_mean_of_the_values(
    run: Callable[..., Any], close: Callable[..., None], rng: np.random.Generator
) -> None:
    """As in models that mask with the lowest finite number; torch and ONNX give zeros, and nothing may give NaN."""
    q, k, v = qkv(rng)
    mask = np.ones((2, 1, 3, 6), bool)
    mask[0, 0, 1] = False
    result = run(lambda q, k, v, mask: attention(q, k, v, mask), q=q, k=k, v=v, mask=mask)
    expected = torch_attention(q, k, v, mask)
    expected[0, :, 1] = v[0].mean(1)
    close(result, expected)


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 2), (4, 1), (6, 3), (3, 3)])
def test_shared_key_heads(
    heads: int, kv_heads: int, run: Callable[..., Any], close: Callable[..., None], rng: np.random.Generator
) -> None:
    q, k, v = qkv(rng, heads=heads, kv_heads=kv_heads)
    shapes = {"q": f"batch {heads} seq 5", "k": f"batch {kv_heads} keys 5", "v": f"batch {kv_heads} keys 5"}
    result = run(lambda q, k, v: attention(q, k, v), shapes, q=q, k=k, v=v)
    close(result, torch_attention(q, k, v, enable_gqa=True))


def test_causal(run: Callable[..., Any], close: Callable[..., None], rng: np.random.Generator) -> None:
    q, k, v = qkv(rng, seq=6)
    shapes = dict.fromkeys("qkv", "batch 4 seq 5")
    result = run(lambda q, k, v: attention(q, k, v, is_causal=1), shapes, q=q, k=k, v=v)
    close(result, torch_attention(q, k, v, is_causal=True))


@pytest.mark.parametrize("kind", ["none", "bool", "float"])
def test_causal_after_a_past_is_the_end_of_causal_without_one(
    kind: str, run: Callable[..., Any], close: Callable[..., None], rng: np.random.Generator
) -> None:
    q, k, v = qkv(rng, seq=7, keys=7, heads=4, kv_heads=2)
    mask: Array | None = None
    if kind == "bool":
        mask = np.ones((2, 1, 1, 7), bool)
        mask[0, ..., [2, 5]] = False
    elif kind == "float":
        mask = rng.standard_normal((2, 1, 1, 7), np.float32)

    def whole(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        return attention(q, k, v, mask, is_causal=1)

    def step(q: Any, k: Any, v: Any, past: Any, mask: Any = None) -> Any:
        return attention(q, k, v, mask, *past, is_causal=1)

    masked = {} if mask is None else {"mask": mask}
    expected = run(whole, q=q, k=k, v=v, **masked)
    for past in (1, 4, 6):
        shapes = {
            "q": "batch 4 seq 5", "k": "batch 2 seq 5", "v": "batch 2 seq 5", "past": "batch 2 past 5",
            "mask": "batch 1 1 past+seq",
        }  # fmt: skip
        arrays = {"q": q[:, :, past:], "k": k[:, :, past:], "v": v[:, :, past:]}
        cache = (k[:, :, :past], v[:, :, :past])
        result, present_key, present_value = run(step, shapes, **arrays, past=cache, **masked)
        close(result, expected[:, :, past:], f"result after {past}")
        np.testing.assert_array_equal(present_key, k)
        np.testing.assert_array_equal(present_value, v)


def test_softcap_bounds_the_scores_before_the_mask(
    run: Callable[..., Any], close: Callable[..., None], rng: np.random.Generator
) -> None:
    q, k, v = qkv(rng)
    bias = rng.standard_normal((2, 4, 3, 6), np.float32)
    result = run(lambda q, k, v, m: attention(q * 9, k, v, m, softcap=2.0), q=q, k=k, v=v, m=bias)
    scores = 2 * np.tanh(9 * q @ k.swapaxes(-1, -2) / np.sqrt(5) / 2) + bias
    expected = torch.softmax(torch.from_numpy(scores), -1).numpy() @ v
    close(result, expected.astype(np.float32))


def test_half_precision_with_its_softmax_in_single(run: Callable[..., Any], rng: np.random.Generator) -> None:
    q, k, v = (array.astype(np.float16) * 4 for array in qkv(rng))
    exact = torch_attention(*(array.astype(np.float64) for array in (q, k, v)))
    half = run(lambda q, k, v: attention(q, k, v), q=q, k=k, v=v)
    single = run(lambda q, k, v: attention(q, k, v, softmax_precision=1), q=q, k=k, v=v)
    assert half.dtype == single.dtype == np.float16
    assert np.abs(single - exact).max() <= np.abs(half - exact).max() < 0.1


@given(queries=st.integers(1, 6), past=st.integers(0, 6), extra=st.integers(0, 3))
def test_causal_keep_is_a_shifted_triangle(queries: int, past: int, extra: int) -> None:
    keys = past + queries + extra
    graph = trace(lambda x: causal_keep(queries, keys, past), x=spec("float32", [1]))
    result = interpret(graph, {"x": np.zeros(1, np.float32)})["output"]
    np.testing.assert_array_equal(result, np.tri(queries, keys, past, dtype=bool))


def test_heads_that_cannot_be_shared() -> None:
    with pytest.raises(ShapeError, match=r"test_attention\.py:\d+: 4 heads cannot share 3 key heads: .* divides 4"):
        trace(
            lambda q, k: attention(q, k, k),
            q=spec("float32", ["batch", 4, "seq", 8]),
            k=spec("float32", ["batch", 3, "seq", 8]),
        )


def test_operands_of_a_wrong_rank() -> None:
    flat = spec("float32", ["batch", "seq"])
    with pytest.raises(ShapeError, match=r"\[batch, heads, seq, head_dim\], and got \[batch, seq\]"):
        trace(lambda q: attention(q, q, q), q=flat)


def test_folded_heads_need_their_number() -> None:
    folded = spec("float32", ["batch", "seq", 8])
    with pytest.raises(ShapeError, match=r"\[batch, seq, 8\] cannot be split into heads"):
        trace(lambda q: attention(q, q, q), q=folded)


def test_a_symbolic_head_size_needs_a_scale() -> None:
    open_size = spec("float32", ["batch", 2, "seq", "size"])
    with pytest.raises(ShapeError, match="fixed head size, or its scale given; the head size is size"):
        trace(lambda q: attention(q, q, q), q=open_size)
    assert trace(lambda q: attention(q, q, q, scale=1.0), q=open_size).outputs["output"].shape == open_size.shape


def test_the_seed_documents_worked_example(run: Callable[..., Any]) -> None:
    """Section 4.1 of the seed document, with the values that its formula gives.

    Its printed arithmetic is wrong: it has 0.2828 and 0.1414 for the scores, 0.7311 and 0.2689 for the weights, and
    [0.6689, 0.7689] for the result. q k1 = 0.11 and q k2 = 0.07, divided by sqrt(2), are 0.07778 and 0.04950.
    """
    q, keys, values = [[0.1, 0.2]], [[0.3, 0.4], [0.5, 0.1]], [[0.6, 0.7], [0.8, 0.9]]
    arrays = {name: np.array(rows, np.float64)[None, None] for name, rows in zip("qkv", (q, keys, values), strict=True)}
    graph = trace(lambda q, k, v: attention(q, k, v), **{name: spec("float64", a.shape) for name, a in arrays.items()})
    by_key = {node.key: node.output for node in graph}
    outputs = interpret(graph, arrays, keep=[by_key["Mul"], by_key["Softmax"]])
    np.testing.assert_allclose(outputs[by_key["Mul"].name].ravel(), [0.07778, 0.04950], atol=5e-6)
    np.testing.assert_allclose(outputs[by_key["Softmax"].name].ravel(), [0.50707, 0.49293], atol=5e-6)
    np.testing.assert_allclose(outputs["output"].ravel(), [0.69859, 0.79859], atol=5e-6)
    np.testing.assert_allclose(run(lambda q, k, v: attention(q, k, v), **arrays).ravel(), [0.69859, 0.79859], atol=5e-6)
