"""Pooling against its definition, written out text by text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import ConfigError
from tfgraph.ir.interpret import interpret
from tfgraph.models.pooling import POOLINGS, Pooling

MASK = np.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 0, 0, 1]])


def pooled(modes, hidden_state, attention_mask, normalize=False):
    graph = trace(
        Pooling(modes, normalize),
        hidden_state=spec(str(hidden_state.dtype), ["batch", "seq", hidden_state.shape[-1]]),
        attention_mask=spec("int64", ["batch", "seq"]),
    )
    return interpret(graph, {"hidden_state": hidden_state, "attention_mask": attention_mask})["output"]


def expected(mode, tokens):
    """The pooled vector of one text: `tokens` [its tokens, H]."""
    return {
        "max": tokens.max(axis=0),
        "mean": tokens.mean(axis=0),
        "mean_sqrt_len": tokens.sum(axis=0) / np.sqrt(len(tokens)),
    }[mode]


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("mode", ["max", "mean", "mean_sqrt_len"])
def test_over_the_tokens_only(mode, normalize, rng):
    hidden_state = rng.normal(size=(4, 5, 7)).astype(np.float32)
    result = pooled((mode,), hidden_state, MASK, normalize)
    for row, text, mask in zip(result, hidden_state, MASK, strict=True):
        wanted = expected(mode, text[mask == 1].astype(np.float64))
        if normalize:
            wanted = wanted / np.linalg.norm(wanted)
        np.testing.assert_allclose(row, wanted, rtol=1e-5, atol=1e-6)


SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)


@given(hnp.arrays(np.int64, SHAPES, elements=st.integers(0, 1)), st.integers(0, 99))
def test_mean_for_any_mask(mask, seed):
    generator = np.random.default_rng(seed)
    hidden_state = generator.normal(size=(*mask.shape, 3)).astype(np.float32)
    result = pooled(("mean",), hidden_state, mask)
    for row, text, kept in zip(result, hidden_state, mask, strict=True):
        wanted = text[kept == 1].mean(axis=0) if kept.any() else np.zeros(3)
        np.testing.assert_allclose(row, wanted, rtol=1e-5, atol=1e-6)


def test_cls_takes_the_first_position(rng):
    hidden_state = rng.normal(size=(4, 5, 7)).astype(np.float32)
    assert np.array_equal(pooled(("cls",), hidden_state, MASK), hidden_state[:, 0])


def test_several_modes_are_concatenated_in_a_fixed_order(rng):
    hidden_state = rng.normal(size=(4, 5, 7)).astype(np.float32)
    parts = [pooled((mode,), hidden_state, MASK) for mode in ("cls", "max", "mean", "mean_sqrt_len")]
    for modes in (tuple(POOLINGS), tuple(reversed(POOLINGS))):
        np.testing.assert_array_equal(pooled(modes, hidden_state, MASK), np.concatenate(parts, axis=-1))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_text_without_tokens_becomes_zero(dtype, normalize):
    hidden_state = np.ones((1, 5, 7), dtype)
    result = pooled(("mean",), hidden_state, np.zeros((1, 5), np.int64), normalize)
    assert result.dtype == dtype
    assert np.array_equal(result, np.zeros((1, 7), dtype))


def test_long_texts_do_not_overflow_in_half_precision():
    hidden_state = np.full((1, 512, 3), 300.0, np.float16)  # their sum is beyond float16
    result = pooled(("mean",), hidden_state, np.ones((1, 512), np.int64))
    assert np.array_equal(result, np.full((1, 3), 300.0, np.float16))


@pytest.mark.parametrize(
    "modes, message",
    [
        ((), "no pooling mode is given: expected one or more of cls, max, mean, mean_sqrt_len"),
        (("meen",), "unknown pooling mode 'meen': did you mean 'mean'?"),
        (("mean", "lasttoken"), "unknown pooling mode 'lasttoken'"),
    ],
)
def test_unknown_modes(modes, message):
    with pytest.raises(ConfigError) as caught:
        Pooling(modes)
    assert str(caught.value).startswith(message)
