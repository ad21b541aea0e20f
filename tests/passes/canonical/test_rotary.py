"""Rotary embedding in the "rotate half" spelling (`passes/canonical/rotary.py`)."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl import functional as F

F32 = np.float32
TURNED = {"Slice": 2, "Mul": 4, "Sub": 1, "Add": 1, "Concat": 1}
ANGLES = np.arange(6)[:, None] * np.array([1.0, 0.1, 0.01, 0.001])[None]  # 6 positions, 4 frequencies
TABLE = np.concatenate([ANGLES, ANGLES], -1).astype(F32)  # [6, 8]
COS, SIN = np.cos(TABLE)[None, None], np.sin(TABLE)[None, None]  # [1, 1, 6, 8]


def rotate_half(x):
    half = x.shape[-1] // 2
    return F.concat([F.negate(x[..., half:]), x[..., :half]], -1)


def rotate(x, cos, sin):
    return x * cos + rotate_half(x) * sin


def with_heads(angles):
    """[B, S, R] -> [B, 1, S, R]."""
    return F.reshape(angles, (angles.shape[0], 1, *angles.shape[1:]))


def test_angles_that_are_doubled_in_the_graph(fires):
    def given(x, angles):
        both = with_heads(F.concat([angles, angles], -1))
        return rotate(x, F.cos(both) * 2.0, F.sin(both))

    expected = {**TURNED, "Reshape": 2, "Cos": 1, "Sin": 1, "Mul": 5}
    fires("rotate_by_halves", given, expected, x="batch 3 seq 8", angles="batch seq 4")


def test_angles_that_are_picked_from_a_table(fires):
    def given(x, ids):
        cos, sin = (with_heads(F.gather(table[0, 0], ids)) for table in (COS, SIN))
        return rotate(x, cos, sin)

    expected = {**TURNED, "Reshape": 2, "Gather": 2}
    fires("rotate_by_halves", given, expected, x="batch 3 seq 8", ids="int64 batch seq")


def test_tables_that_are_cut_to_the_length(fires):
    def given(x):
        cos, sin = (F.as_tensor(np.concatenate([table, table], 2))[:, :, :6] for table in (COS, SIN))
        return rotate(x, cos, sin)

    fires("rotate_by_halves", given, {**TURNED, "Slice": 4}, x="1 3 6 8")


def test_tables_that_are_cut_to_other_features_stay(leaves):
    def given(x):
        cos, sin = (F.as_tensor(np.concatenate([table, table], -1))[..., 4:12] for table in (COS, SIN))
        return rotate(x, cos, sin)

    leaves("rotate_by_halves", given, x="1 3 6 8")


def test_operands_in_another_order_and_a_negative_scale(fires, op):
    def given(x):
        first, second = op("Split", x, axis=-1, num_outputs=2, outputs=2)
        turned = F.multiply(SIN, F.concat([second * -1.0, first], -1))
        return turned + F.multiply(COS, x)

    fires("rotate_by_halves", given, TURNED, x="1 3 6 8")


def test_tables_are_repeated_for_every_sequence(fires):
    after = fires(
        "rotate_by_halves",
        lambda x: rotate(x, COS, SIN),
        {**TURNED, "Shape": 2, "Concat": 3, "Expand": 2, "Reshape": 4},
        x="2 3 6 8",
    )
    assert {node.output.shape for node in after if node.key == "Expand"} == {(2, 6, 4)}


@pytest.mark.parametrize(
    ("cos", "sin"),
    [
        (np.cos(np.arange(48.0).reshape(1, 1, 6, 8)).astype(F32), SIN),  # halves that differ
        (COS, np.sin(np.arange(48.0).reshape(1, 1, 6, 8)).astype(F32)),
        (np.repeat(COS, 3, 1), np.repeat(SIN, 3, 1)),  # for every head
        (np.repeat(COS, 2, 0), np.repeat(SIN, 2, 0)),  # for more sequences than there are
    ],
)
def test_other_tables_stay(leaves, cos, sin):
    leaves("rotate_by_halves", lambda x: rotate(x, cos, sin), x="1 3 6 8")


def test_what_is_no_rotation_stays(leaves):
    def swapped(x):
        return x * COS + F.concat([x[..., 4:], F.negate(x[..., :4])], -1) * SIN

    def unsigned(x):
        return x * COS + F.concat([x[..., 4:], x[..., :4]], -1) * SIN

    def other_axis(x):
        return x * COS[..., :6, :] + F.concat([F.negate(x[..., 3:, :]), x[..., :3, :]], 2) * SIN

    def uneven(x):
        return x * COS + F.concat([F.negate(x[..., 5:]), x[..., :5]], -1) * SIN

    def of_another(x, y):
        return x * COS + rotate_half(y) * SIN

    def of_three_axes(x):
        return rotate(x, COS[0], SIN[0])

    for forward in (swapped, unsigned, other_axis, uneven):
        leaves("rotate_by_halves", forward, x="1 3 6 8")
    leaves("rotate_by_halves", of_another, x="1 3 6 8", y="1 3 6 8")
    leaves("rotate_by_halves", of_three_axes, x="3 6 8")


def test_angles_at_the_end_of_a_long_chain(fires):
    """Longer than Python's stack is deep."""

    def given(x, angles):
        both = with_heads(F.concat([angles, angles], -1))
        for _ in range(1500):
            both = F.sin(both)
        return rotate(x, F.cos(both), F.sin(both))

    expected = {**TURNED, "Cos": 1, "Sin": 2 * 1500 + 1, "Reshape": 2}
    fires("rotate_by_halves", given, expected, x="batch 3 seq 8", angles="batch seq 4")
