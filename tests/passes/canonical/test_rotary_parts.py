"""Rotary embedding over parts of a tensor, in other layouts (`rotary_parts.py` and `rotary_layouts.py`)."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl import functional as F

X = "batch 3 seq 8"
ANGLES = np.arange(64)[:, None] * np.array([1.0, 0.1, 0.01, 0.001])[None]
COS, SIN = np.cos(ANGLES).astype(np.float32), np.sin(ANGLES).astype(np.float32)  # [64, 4]


def cut(table, length, axes=(0, 1)):
    return F.unsqueeze(F.as_tensor(table)[:length], axes)


def angles(x, axis=2, axes=(0, 1)):
    return cut(COS, x.shape[axis], axes), cut(SIN, x.shape[axis], axes)


def turned(a, b, cos, sin):
    return a * cos - b * sin, a * sin + b * cos


def stacked(first, second, shape):
    return F.reshape(F.concat([F.unsqueeze(first, (-1,)), F.unsqueeze(second, (-1,))], -1), shape)


def halves(x):
    return F.concat(list(turned(x[..., :4], x[..., 4:], *angles(x))), -1)


def halves_by_split(x):
    return F.concat(list(turned(*F.split(x, (4, 4), -1), *angles(x))), -1)


def halves_by_negation(x):
    (cos, sin), a, b = angles(x), x[..., :4], x[..., 4:]
    return F.concat([a * cos + F.negate(b) * sin, a * sin + b * cos], -1)


def halves_of_sequences_first(x):
    cos, sin = angles(x, 1, (0, 2))
    return F.transpose(F.concat(list(turned(x[..., :4], x[..., 4:], cos, sin)), -1), (0, 2, 1, 3))


def complex_numbers(x):
    apart = F.reshape(x, (*x.shape[:3], 4, 2))
    real, imaginary = (F.gather(apart, np.asarray(index), axis=-1) for index in (0, 1))
    return stacked(*turned(real, imaginary, *angles(x)), x.shape)


def every_second(x):
    return stacked(*turned(x[..., 0::2], x[..., 1::2], *angles(x)), x.shape)


def complex_numbers_of_projections(x):
    """x [batch, seq, 24] is taken apart into heads and complex numbers at once."""
    apart = F.reshape(x, (*x.shape[:2], 3, 4, 2))
    real, imaginary = (F.gather(apart, np.asarray(index), axis=-1) for index in (0, 1))
    cos, sin = angles(x, 1, (0, 2))
    return F.transpose(stacked(*turned(real, imaginary, cos, sin), (*x.shape[:2], 3, 8)), (0, 2, 1, 3))


ROTATION = np.zeros((8, 8), np.float32)
ROTATION[4:, :4], ROTATION[:4, 4:] = -np.eye(4), np.eye(4)


def doubled(x):
    return (cut(np.concatenate([table, table], -1), x.shape[2]) for table in (COS, SIN))


def by_matrix(x):
    cos, sin = doubled(x)
    return x * cos + F.matmul(x, F.as_tensor(ROTATION)) * sin


def subtracted(x):
    cos, sin = doubled(x)
    return x * cos - F.concat([x[..., 4:], F.negate(x[..., :4])], -1) * sin


SPELLINGS = {
    halves: X, halves_by_split: X, halves_by_negation: X, halves_of_sequences_first: "batch seq 3 8", by_matrix: X,
    complex_numbers: X, every_second: X, complex_numbers_of_projections: "batch seq 24", subtracted: X,
}  # fmt: skip


@pytest.mark.parametrize("rotate", SPELLINGS, ids=lambda function: function.__name__)
def test_it_is_one_rotary_embedding(optimise, run_onnxruntime, rotate):
    done = optimise(rotate, x=SPELLINGS[rotate], sizes=({}, {"batch": 1, "seq": 1}))
    pairs = rotate in (complex_numbers, every_second, complex_numbers_of_projections)
    assert done.only("RotaryEmbedding").attributes.get("interleaved", 0) == pairs
    run_onnxruntime(done)


def test_halves_and_pairs_come_in_the_form_of_the_definition(fires):
    batched = {"x": "1 3 6 8"}
    table = {"Slice": 4, "Unsqueeze": 2, "Mul": 4, "Sub": 1, "Add": 1}
    fires("rotate_halves", halves_by_split, {**table, "Concat": 1}, **batched)
    fires("rotate_pairs", complex_numbers, {**table, "Concat": 1, "Reshape": 3}, **batched)


def test_a_rotation_by_a_matrix_and_a_difference_are_rewritten(fires, leaves):
    fires("rotation_is_concat", lambda x: F.matmul(x, F.as_tensor(ROTATION)), {"Slice": 2, "Neg": 1, "Concat": 1}, x=X)
    expected = {"Slice": 4, "Unsqueeze": 2, "Mul": 2, "Neg": 1, "Concat": 1, "Add": 1}
    fires("add_rotated", subtracted, expected, x="1 3 6 8")
    leaves("rotation_is_concat", lambda x: F.matmul(x, F.as_tensor(-ROTATION)), x=X)
    leaves("rotation_is_concat", lambda x: F.matmul(x, F.as_tensor(np.eye(8, dtype=np.float32))), x=X)
    leaves("add_rotated", lambda x, y: x - F.concat([x[..., 4:], x[..., :4]], -1) * y, x=X, y=X)
    leaves("add_rotated", lambda x, y: x - F.concat([x[..., :4], F.negate(x[..., 4:])], -1) * y, x=X, y=X)


def test_other_sums_of_products_stay(leaves):
    def signs_exchanged(x):
        (cos, sin), a, b = angles(x), x[..., :4], x[..., 4:]
        return F.concat([a * cos + b * sin, a * sin - b * cos], -1)

    leaves("rotate_halves", signs_exchanged, x="1 3 6 8")

    def parts_exchanged(x):
        return F.concat(list(turned(x[..., 4:], x[..., :4], *angles(x))), -1)

    leaves("rotate_halves", parts_exchanged, x="1 3 6 8")

    def of_two(x, y):
        return F.concat(list(turned(x[..., :4], y[..., 4:], *angles(x))), -1)

    leaves("rotate_halves", of_two, x="1 3 6 8", y="1 3 6 8")

    def conjugated(x):
        (cos, sin), a, b = angles(x), x[..., 0::2], x[..., 1::2]
        return stacked(a * sin + b * cos, a * cos - b * sin, x.shape)

    leaves("rotate_pairs", conjugated, x="1 3 6 8")
    leaves("rotate_pairs", every_second, x="1 3 6 8")  # the form of the definition
    leaves("rotate_halves", halves, x="1 3 6 8")


def test_lengths_of_parts_are_no_parts(leaves, op):
    """A reduction takes an axis of one element away, as a view does, and gives something else."""

    def lengths(x, c, s):
        parts = op("Split", F.reshape(x, (1, 2, 4, 2, 4)), np.asarray([1, 1]), axis=-2, outputs=2)
        first, second = (op("ReduceL2", part, np.asarray([-2]), keepdims=0) for part in parts)
        return F.concat(turned(first, second, c, s), -1)

    leaves("rotate_halves", lengths, x="1 2 4 8", c="1 1 4 4", s="1 1 4 4")
