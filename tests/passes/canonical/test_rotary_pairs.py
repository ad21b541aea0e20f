"""Rotary embedding in the "rotate every two" spelling (`passes/canonical/rotary_pairs.py`)."""

from __future__ import annotations

import numpy as np

from tfgraph.dsl import functional as F

TURNED = {"Slice": 2, "Mul": 4, "Sub": 1, "Add": 1, "Concat": 1}
ANGLES = np.arange(6)[:, None] * np.array([1.0, 0.1, 0.01, 0.001])[None]  # 6 positions, 4 frequencies
TABLE = np.repeat(ANGLES, 2, -1).astype(np.float32)  # [6, 8]
COS, SIN = np.cos(TABLE), np.sin(TABLE)


def rotate_every_two(x):
    pairs = F.concat([F.unsqueeze(F.negate(x[..., 1::2]), (-1,)), F.unsqueeze(x[..., 0::2], (-1,))], -1)
    return F.reshape(pairs, x.shape)


def rotate(x, cos, sin):
    return x * cos + rotate_every_two(x) * sin


def test_tables_of_repeated_elements(fires):
    def heads_first(x):
        return rotate(x, COS[None, None], SIN[None, None])

    fires("rotate_by_pairs", heads_first, {**TURNED, "Reshape": 3}, x="1 3 6 8")

    def heads_last(x):
        return rotate(x, COS[None, :, None], SIN[None, :, None])

    fires("rotate_by_pairs", heads_last, {**TURNED, "Reshape": 5, "Transpose": 2}, x="1 6 3 8")


def test_angles_that_are_repeated_in_the_graph(fires):
    def given(x, angles):
        apart = F.unsqueeze(angles, (-1,))
        both = F.reshape(F.concat([apart, apart], -1), (2, 1, 6, 8))
        return rotate(x, F.cos(both) * 2.0, F.sin(both))

    expected = {**TURNED, "Mul": 5, "Unsqueeze": 1, "Reshape": 5, "Cos": 1, "Sin": 1}
    fires("rotate_by_pairs", given, expected, x="2 3 6 8", angles="2 1 6 4")


def test_other_rotations_stay(leaves):
    halves = np.concatenate([ANGLES, ANGLES], -1).astype(np.float32)
    leaves("rotate_by_pairs", lambda x: rotate(x, np.cos(halves)[None, None], SIN[None, None]), x="1 3 6 8")
    leaves("rotate_by_pairs", lambda x: x * COS[None, None] - rotate_every_two(x) * SIN[None, None], x="1 3 6 8")
    leaves("rotate_by_pairs", lambda x, y: x * COS[None, None] + rotate_every_two(y) * SIN[None, None],
           x="1 3 6 8", y="1 3 6 8")  # fmt: skip

    def not_negated(x):
        pairs = F.concat([F.unsqueeze(x[..., 1::2], (-1,)), F.unsqueeze(x[..., 0::2], (-1,))], -1)
        return x * COS[None, None] + F.reshape(pairs, x.shape) * SIN[None, None]

    leaves("rotate_by_pairs", not_negated, x="1 3 6 8")
    per_head = np.stack([COS, COS * 2, COS * 3])[None]
    leaves("rotate_by_pairs", lambda x: rotate(x, per_head, SIN[None, None]), x="1 3 6 8")
