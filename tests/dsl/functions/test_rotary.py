"""The rotary embedding against what transformers does in LLaMA and in GPT-J."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as rotate_as_gptj
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as rotate_as_llama

from tfgraph.dsl.functions import rotary_embedding
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import ShapeError

Array = np.ndarray[Any, Any]
POSITIONS = np.array([[0, 1, 2], [4, 9, 3]], np.int64)


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return rng.standard_normal((2, 4, 3, 8), np.float32)


def tables(rotary_dim: int) -> tuple[Array, Array]:
    angles = np.outer(np.arange(10), 1 / 10000 ** (np.arange(0, rotary_dim, 2) / rotary_dim)).astype(np.float32)
    return np.cos(angles), np.sin(angles)


def test_halves_as_llama_pairs_them(run: Callable[..., Any], close: Callable[..., None], x: Array) -> None:
    cos, sin = tables(8)
    doubled = [torch.from_numpy(np.concatenate([table[POSITIONS]] * 2, -1)) for table in (cos, sin)]
    expected, _ = rotate_as_llama(torch.from_numpy(x), torch.from_numpy(x), *doubled)
    shapes = {"x": "batch 4 seq 8", "ids": "batch seq"}
    result = run(lambda x, c, s, ids: rotary_embedding(x, c, s, ids), shapes, x=x, c=cos, s=sin, ids=POSITIONS)
    close(result, expected.numpy())


@pytest.mark.parametrize("rotary_dim", [4, 8])
def test_neighbours_as_gptj_pairs_them(
    rotary_dim: int, run: Callable[..., Any], close: Callable[..., None], x: Array
) -> None:
    cos, sin = tables(rotary_dim)
    turned = torch.from_numpy(x.swapaxes(1, 2)[..., :rotary_dim].copy())  # [B, S, H, R], as GPT-J has it
    expected = x.copy()
    rotated = rotate_as_gptj(turned, torch.from_numpy(sin[POSITIONS]), torch.from_numpy(cos[POSITIONS]))
    expected[..., :rotary_dim] = rotated.numpy().swapaxes(1, 2)

    def model(x: Any, c: Any, s: Any, ids: Any) -> Any:
        return rotary_embedding(x, c, s, ids, interleaved=1, rotary_embedding_dim=rotary_dim)

    close(run(model, {"x": "batch 4 seq 8", "ids": "batch seq"}, x=x, c=cos, s=sin, ids=POSITIONS), expected)


@pytest.mark.parametrize("interleaved", [0, 1])
def test_scores_depend_on_the_distance_alone(
    interleaved: int, run: Callable[..., Any], x: Array, rng: np.random.Generator
) -> None:
    cos, sin = tables(8)
    key = rng.standard_normal((2, 4, 3, 8), np.float32)

    def model(q: Any, k: Any, c: Any, s: Any, q_ids: Any, k_ids: Any) -> Any:
        query = rotary_embedding(q, c, s, q_ids, interleaved=interleaved)
        return (query * rotary_embedding(k, c, s, k_ids, interleaved=interleaved)).reshape(2, 12, 8)

    def scores(q_ids: int, k_ids: int) -> Array:
        ids = [np.full((2, 3), position, np.int64) for position in (q_ids, k_ids)]
        products = run(model, q=x, k=key, c=cos, s=sin, q_ids=ids[0], k_ids=ids[1])
        result: Array = products.sum(-1)
        return result

    np.testing.assert_allclose(scores(5, 2), scores(9, 6), atol=1e-5)
    assert np.abs(scores(5, 2) - scores(6, 2)).max() > 0.1


def test_folded_heads_are_the_same_heads(run: Callable[..., Any], close: Callable[..., None], x: Array) -> None:
    cos, sin = tables(8)
    folded = x.swapaxes(1, 2).reshape(2, 3, 32)
    given = {"c": cos, "s": sin, "ids": POSITIONS}
    expected = run(lambda x, c, s, ids: rotary_embedding(x, c, s, ids), x=x, **given)
    shapes = {"x": "batch seq 32", "ids": "batch seq"}
    result = run(lambda x, c, s, ids: rotary_embedding(x, c, s, ids, num_heads=4), shapes, x=folded, **given)
    close(result, expected.swapaxes(1, 2).reshape(2, 3, 32))


def test_operands_of_a_wrong_rank() -> None:
    flat, table = spec("float32", ["batch", "seq"]), spec("float32", [10, 4])
    with pytest.raises(ShapeError, match=r"test_rotary\.py:\d+: .*head_dim\], and got \[batch, seq\]"):
        trace(lambda x, c: rotary_embedding(x, c, c), x=flat, c=table)
