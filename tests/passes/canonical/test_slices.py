"""Slices that name axes which they keep whole (`passes/canonical/slices.py`)."""

from __future__ import annotations

import numpy as np
import pytest

WHOLE = 10**9  # what tf2onnx writes for "to the end"


def cut(op, starts, ends, axes, steps):
    numbers = [np.asarray(column, np.int64) for column in (starts, ends, axes, steps)]
    return lambda x: op("Relu", op("Slice", x, *numbers))


@pytest.mark.parametrize("end", [WHOLE, 2**31 - 1, 2**63 - 1])
def test_axes_that_are_kept_whole_are_not_named(fires, op, end):
    left = fires(
        "drop_whole_axes", cut(op, [0, 0, 1], [end] * 3, [0, 1, 2], [1, 1, 2]), {"Slice": 1, "Relu": 1}, x="b s 8"
    )
    (slice_,) = (node for node in left if node.key == "Slice")
    assert [operand.content for operand in slice_.inputs[1:]] == [(1,), (end,), (2,), (2,)]


def test_axes_may_count_from_the_end_and_steps_be_left_out(fires, op):
    given = [np.asarray(column, np.int64) for column in ([0, 1], [WHOLE, 3], [0, -1])]
    left = fires("drop_whole_axes", lambda x: op("Slice", x, *given) + 1.0, {"Slice": 1, "Add": 1}, x="b s 8")
    (slice_,) = (node for node in left if node.key == "Slice")
    assert [operand.content for operand in slice_.inputs[1:]] == [(1,), (3,), (-1,), (1,)]


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([1, 1], [WHOLE, 3], [1, 2], [1, 1]),  # both cut
        ([-1, 1], [-WHOLE, 3], [1, 2], [-1, 1]),  # one turned round
        ([0, 1], [3, 3], [1, 2], [1, 1]),  # may cut: it is not known how long the axis is
        ([1], [3], [2], [1]),  # nothing to drop
        ([0, 0], [WHOLE, WHOLE], [1, 2], [1, 1]),  # nothing would be left; `drop_slice` is for this
    ],
)
def test_axes_that_are_cut_stay(leaves, op, starts, ends, axes, steps):
    leaves("drop_whole_axes", cut(op, starts, ends, axes, steps), x="b s 8")


def test_a_slice_with_computed_ends_stays(leaves, op):
    def computed(x):
        ends = op("Concat", op("Shape", x, start=0, end=1), np.asarray([3], np.int64), axis=0)
        return op("Slice", x, np.asarray([0, 1], np.int64), ends, np.asarray([1, 2], np.int64)) + 1.0

    leaves("drop_whole_axes", computed, x="b s 8")
