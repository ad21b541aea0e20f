"""Sizes that are read off the graph's inputs (`passes/canonical/sizes.py`)."""

from __future__ import annotations

import numpy as np

from tfgraph.dsl import functional as F


def size_of(x, axis, op):
    """As exporters read a size: the whole shape, and one element of it."""
    return op("Gather", op("Shape", x), np.asarray(axis), axis=0)


def test_a_size_is_read_off_an_input(fires, op):
    def forward(x):
        return size_of(F.exp(x), 1, op)

    after = fires("size_of_input", forward, {"Shape": 1, "Squeeze": 1}, x="batch seq 8")
    shape = next(node for node in after if node.key == "Shape")
    assert shape.required(0) is after.inputs["x"]
    assert shape.attributes == {"start": 1, "end": 2}


def test_a_size_of_another_dtype_and_rank(fires, op):
    def as_vector(x):
        return op("Unsqueeze", F.cast(size_of(F.exp(x), 0, op), "int32"), np.array([0]))

    fires("size_of_input", as_vector, {"Shape": 1, "Cast": 1}, x="batch seq 8")
    fires("size_of_input", lambda x: op("Shape", F.exp(x), start=1, end=2), {"Shape": 1}, x="batch seq 8")


def test_a_size_that_decides_a_shape(fires, op):
    def forward(x, y):
        inner = F.matmul(x, y)
        rows = op("Unsqueeze", size_of(inner, 0, op), np.array([0]))
        return op("Expand", op("Shape", x, end=1), op("Concat", rows, np.array([3]), axis=0))

    fires("size_of_input", forward, {"Shape": 2, "Concat": 1, "Expand": 1}, x="batch 8", y="8 6")


def test_other_numbers_stay(leaves, op):
    leaves("size_of_input", lambda x: op("Shape", x, start=1, end=2), x="batch seq 8")  # already is
    leaves("size_of_input", lambda x: op("Shape", F.exp(x)), x="batch seq 8")  # more than one
    leaves("size_of_input", lambda x: size_of(F.exp(x), 2, op), x="batch seq 8")  # 8, which folding finds
    leaves("size_of_input", lambda x: op("Shape", F.concat([x, x], 0), end=1), x="batch 8")  # no input has 2 * batch
    leaves("size_of_input", lambda ids: op("Gather", ids, np.asarray(0), axis=0), ids="int64 batch")  # not known
