"""Rotary embedding over all spellings: halves and pairs, tables and angles, whole heads and parts of them."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import rotary_embedding

F32 = np.float32
X = "batch 3 seq 8"
ANGLES = (np.arange(9)[:, None] * np.array([1.0, 0.1, 0.01, 0.001])[None]).astype(F32)  # 9 positions, 4 frequencies
COS, SIN = np.cos(ANGLES), np.sin(ANGLES)
SIZES = ({}, {"batch": 1, "seq": 1})


def tables():
    return F.as_tensor(COS), F.as_tensor(SIN)


@pytest.mark.parametrize("interleaved", [0, 1])
def test_from_tables(optimise, run_onnxruntime, interleaved):
    done = optimise(
        lambda x, ids: rotary_embedding(x, *tables(), ids, interleaved=interleaved),
        x=X,
        ids="int64 batch seq",
        sizes=SIZES,
    )
    assert done.operators == {"RotaryEmbedding": 1}
    node = done.only("RotaryEmbedding")
    assert node.attributes == ({"interleaved": 1} if interleaved else {})
    assert [value.name for value in (node.required(0), node.required(3))] == ["x", "ids"]
    run_onnxruntime(done, SIZES)


@pytest.mark.parametrize("interleaved", [0, 1])
def test_from_angles(optimise, run_onnxruntime, interleaved):
    def forward(x, angles):
        return rotary_embedding(x, F.cos(angles), F.sin(angles), interleaved=interleaved)

    done = optimise(forward, x=X, angles="batch seq 4", sizes=SIZES)
    assert done.operators == {"Cos": 1, "Sin": 1, "RotaryEmbedding": 1}
    run_onnxruntime(done, SIZES)


def with_heads(angles):
    return F.unsqueeze(angles, (1,))


def rotate_half(x):
    half = x.shape[-1] // 2
    return F.concat([F.negate(x[..., half:]), x[..., :half]], -1)


def llama(x, positions):
    """As Hugging Face computes it: frequencies times positions, doubled, for all heads."""
    batch = positions.shape[0]
    frequencies = F.as_tensor(np.array([1.0, 0.1, 0.01, 0.001], F32).reshape(1, 4, 1))
    product = F.matmul(F.expand(frequencies, (batch, 4, 1)), F.cast(F.unsqueeze(positions, (1,)), "float32"))
    angles = F.transpose(product, (0, 2, 1))
    both = F.concat([angles, angles], -1)
    return x * with_heads(F.cos(both)) + rotate_half(x) * with_heads(F.sin(both))


def test_as_llama_spells_it(optimise, run_onnxruntime):
    done = optimise(llama, x=X, positions="int64 batch seq", sizes=SIZES)
    assert done.operators["RotaryEmbedding"] == 1
    assert not {"Neg", "Slice"} & set(done.operators)
    run_onnxruntime(done, SIZES)


def test_queries_and_keys_share_their_angles(optimise, run_onnxruntime):
    def both(q, k, ids):
        cos, sin = (with_heads(F.gather(table, ids)) for table in tables())
        return rotated(q, cos, sin), rotated(k, cos, sin)

    done = optimise(both, q=X, k="batch 1 seq 8", ids="int64 batch seq", sizes=SIZES)
    assert done.operators == {"RotaryEmbedding": 2}
    run_onnxruntime(done, SIZES)


def rotated(x, cos, sin):
    first, second = x[..., :4], x[..., 4:]
    return F.concat([first * cos - second * sin, second * cos + first * sin], -1)


def test_doubled_tables(optimise, run_onnxruntime):
    """GPT-NeoX keeps tables of whole rows; half of each is enough."""
    cos, sin = (np.concatenate([table, table], -1) for table in (COS, SIN))

    def forward(x, ids):
        picked_cos, picked_sin = (with_heads(F.gather(F.as_tensor(table), ids)) for table in (cos, sin))
        return x * picked_cos + rotate_half(x) * picked_sin

    done = optimise(forward, x=X, ids="int64 batch seq", sizes=SIZES)
    assert done.operators == {"RotaryEmbedding": 1}
    assert {value.constant.shape for value in done.only("RotaryEmbedding").inputs if value.constant} == {(9, 4)}
    run_onnxruntime(done, SIZES)


def test_a_part_of_each_head(optimise, run_onnxruntime):
    def forward(x, ids):
        return rotary_embedding(x, *tables(), ids, rotary_embedding_dim=8)

    done = optimise(forward, x="batch 3 seq 12", ids="int64 batch seq", sizes=SIZES)
    assert done.operators == {"Slice": 2, "RotaryEmbedding": 1, "Concat": 1}
    run_onnxruntime(done, SIZES)


def test_constant_positions(optimise, run_onnxruntime):
    """A fixed length: no gather, and the angles of the one sequence are repeated for all."""
    table = (np.concatenate([array[:5], array[:5]], -1)[None, None] for array in (COS, SIN))
    cos, sin = table
    done = optimise(lambda x: x * cos + rotate_half(x) * sin, x="batch 3 5 8", sizes=({}, {"batch": 1}))
    assert done.operators["RotaryEmbedding"] == 1
    run_onnxruntime(done, ({}, {"batch": 1}))


def test_folded_heads(optimise, run_onnxruntime):
    def forward(x, ids):
        return rotary_embedding(x, *tables(), ids, num_heads=3)

    done = optimise(forward, x="batch seq 24", ids="int64 batch seq", sizes=SIZES)
    assert done.operators["RotaryEmbedding"] == 1
    run_onnxruntime(done, SIZES)


# -- what only looks like it -------------------------------------------------------------------------------------------


def wrong_sign(x, cos, sin):
    first, second = x[..., :4], x[..., 4:]
    return F.concat([first * cos + second * sin, second * cos + first * sin], -1)


def wrong_half(x, cos, sin):
    first, second = x[..., :4], x[..., 4:]
    return F.concat([second * cos - first * sin, first * cos + second * sin], -1)


def wrong_order(x, cos, sin):
    first, second = x[..., :4], x[..., 4:]
    return F.concat([second * cos + first * sin, first * cos - second * sin], -1)


def overlapping(x, cos, sin):
    first, second = x[..., :4], x[..., 3:7]
    return F.concat([first * cos - second * sin, second * cos + first * sin], -1)


def twice_the_sine(x, cos, sin):
    first, second = x[..., :4], x[..., 4:]
    return F.concat([first * cos - second * sin, second * cos + first * cos], -1)


@pytest.mark.parametrize("lookalike", [wrong_sign, wrong_half, wrong_order, overlapping, twice_the_sine])
def test_what_only_looks_like_it_stays(optimise, lookalike):
    def forward(x, ids):
        return lookalike(x, *(with_heads(F.gather(table, ids)) for table in tables()))

    done = optimise(forward, x=X, ids="int64 batch seq", sizes=SIZES)
    assert "RotaryEmbedding" not in done.operators


def test_angles_of_one_sequence_are_those_of_all(optimise):
    shape = "1 1 seq 4"
    done = optimise(lambda x, cos, sin: rotated(x, cos, sin), x=X, cos=shape, sin=shape, sizes=SIZES)
    assert done.operators["RotaryEmbedding"] == 1


def test_angles_of_each_head_stay(optimise):
    shape = "batch 3 seq 4"
    done = optimise(lambda x, cos, sin: rotated(x, cos, sin), x=X, cos=shape, sin=shape, sizes=SIZES)
    assert "RotaryEmbedding" not in done.operators


def test_a_product_that_is_also_returned_keeps_it_apart(optimise):
    def forward(x, ids):
        cos, sin = (with_heads(F.gather(table, ids)) for table in tables())
        first, second = x[..., :4], x[..., 4:]
        part = first * cos
        return F.concat([part - second * sin, second * cos + first * sin], -1), part

    assert "RotaryEmbedding" not in optimise(forward, x=X, ids="int64 batch seq").operators
