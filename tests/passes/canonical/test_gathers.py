"""Rows of tables that are gathered element by element (`passes/canonical/gathers.py`)."""

from __future__ import annotations

import numpy as np

from tfgraph.dsl import functional as F

RNG = np.random.default_rng(4)
TABLE = RNG.standard_normal((1, 16, 6)).astype(np.float32)
IDS = {"ids": RNG.integers(-16, 16, (2, 3))}
GIVEN = {"ids": "int64 batch seq", "like": "batch"}
SIZES = ({"batch": 2, "seq": 3},)


def looked_up(op, repeat, *, table=TABLE, axis=1, width=6):
    def forward(ids, like):
        count = op("Concat", op("Shape", like), np.asarray([1, 1], np.int64), axis=0)
        wide = op(repeat, F.unsqueeze(ids, (-1,)), np.asarray([1, 1, width], np.int64))
        return F.relu(op("GatherElements", op(repeat, table, count), wide, axis=axis))

    return forward


def test_rows_are_gathered(fires, op):
    for repeat in ("Tile", "Expand"):
        for axis in (1, -2):
            left = fires(
                "gather_whole_rows",
                looked_up(op, repeat, axis=axis),
                {"Unsqueeze": 1, "Reshape": 2, "Gather": 1, "Relu": 1},
                sizes=SIZES,
                inputs=IDS,
                **GIVEN,
            )
            assert left.outputs["output"].shape[2] == 6


def test_parts_of_rows_and_other_axes_stay(leaves, op):
    for forward in (
        looked_up(op, "Tile", width=5),  # the first five of each row
        looked_up(op, "Tile", axis=2, table=TABLE.transpose(0, 2, 1)[:, :1].repeat(3, 1)),  # along the row
    ):
        leaves("gather_whole_rows", forward, sizes=SIZES, inputs=IDS, **GIVEN)


def test_a_table_for_each_of_the_batch_and_indices_of_their_own_stay(leaves, op):
    def own_table(tables, ids):
        return F.relu(op("GatherElements", tables, op("Tile", F.unsqueeze(ids, (-1,)), np.asarray([1, 1, 6])), axis=1))

    leaves("gather_whole_rows", own_table, sizes=SIZES, inputs=IDS, tables="batch 16 6", ids="int64 batch seq")
    own = {"ids": RNG.integers(0, 16, (1, 3, 6))}
    leaves(
        "gather_whole_rows",
        lambda ids: op("GatherElements", TABLE, ids, axis=1) + 1.0,
        inputs=own,
        sizes=({"seq": 3},),
        ids="int64 1 seq 6",
    )
