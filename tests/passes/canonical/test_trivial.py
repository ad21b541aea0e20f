"""Nodes that do nothing, and settings with two spellings (`passes/canonical/trivial.py`)."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl import functional as F

F32 = np.float32


def test_identities_go(fires, op):
    fires("drop_identity", lambda x: F.relu(op("Identity", op("Dropout", x))), {"Relu": 1}, x="batch 8")


def test_a_dropout_that_may_be_on_or_whose_mask_is_read_stays(leaves, op):
    def masked(x):
        result, mask = op("Dropout", x, outputs=2)
        return result, mask

    leaves("drop_identity", masked, x="batch 8")
    leaves(
        "drop_identity",
        lambda x: op("Dropout", x, np.asarray(0.5, F32), np.asarray(False)),
        x="batch 8",
    )


def test_casts_that_change_nothing_go(fires, op):
    fires("drop_cast", lambda x: F.relu(op("Cast", x, to="float32")), {"Relu": 1}, x="batch 8")
    fires("drop_cast", lambda x: F.relu(F.cast(F.cast(x, "float64"), "float32")), {"Relu": 1}, x="batch 8")
    fires("drop_cast", lambda m: F.cast(F.cast(m, "float32"), "bool"), {}, m="bool batch 8")
    fires("drop_cast", lambda m: F.cast(F.cast(m, "int64"), "float32"), {"Cast": 1}, m="bool batch 8")
    fires("drop_cast", lambda x: F.cast(F.cast(x, "float32"), "bfloat16"), {"Cast": 1}, x="float16 batch 8")


@pytest.mark.parametrize(
    ("source", "middle", "target"),
    [
        ("float32", "float16", "float32"),  # loses bits
        ("float32", "int64", "float32"),  # truncates
        ("int64", "int32", "int64"),  # wraps
        ("int64", "float64", "int64"),  # 2 ** 53 + 1
        ("int64", "bool", "int64"),  # 2 becomes 1
        ("float16", "bfloat16", "float16"),  # fewer bits of fraction
        ("int32", "float32", "int32"),  # 2 ** 24 + 1
    ],
)
def test_casts_that_lose_something_stay(leaves, op, source, middle, target):
    extremes = {"int64": 2**53 + 1, "int32": 2**24 + 1}
    x = np.full((2, 8), extremes.get(source, 1.2345), source)
    leaves(
        "drop_cast",
        lambda x: op("Cast", op("Cast", x, to=middle), to=target),
        x=f"{source} batch 8",
        sizes=({},),
        inputs={"x": x},
    )


def test_an_expansion_to_the_same_shape_goes(fires):
    fires("drop_expand", lambda x: F.expand(F.relu(x), x.shape), {"Relu": 1}, x="batch seq 8")


def test_an_expansion_that_repeats_stays(leaves):
    leaves("drop_expand", lambda x, y: F.expand(x, y.shape), x="1 8", y="batch 8")
    leaves("drop_expand", lambda x, y: F.expand(x, y.shape), x="batch 8", y="seq batch 8")


@pytest.mark.parametrize("key", ["Concat", "Sum", "Max", "Min", "Mean"])
def test_one_operand_is_the_result(fires, leaves, op, key):
    attributes = {"axis": 0} if key == "Concat" else {}
    fires("drop_single", lambda x: F.relu(op(key, x, **attributes)), {"Relu": 1}, x="batch 8")
    leaves("drop_single", lambda x: op(key, x, x, **attributes), x="batch 8")


def test_a_slice_of_everything_goes(fires, op):
    fires("drop_slice", lambda x: F.relu(x[0:9, 0:8]), {"Relu": 1}, x="3 8")
    fires("drop_slice", lambda x: F.relu(x[:, 0:]), {"Relu": 1}, x="batch seq")
    fires("drop_slice", lambda x: F.relu(op("Slice", x, np.array([0]), np.array([8]))), {"Relu": 1}, x="3 8")


def test_a_slice_that_reverses_or_drops_stays(leaves):
    leaves("drop_slice", lambda x: x[::-1], x="batch 8")
    leaves("drop_slice", lambda x: x[:, 1:], x="batch 8")
    leaves("drop_slice", lambda x: x[:, ::2], x="batch 8")


def test_axes_are_counted_from_the_end(fires, op):
    def each(x):
        first, second = op("Split", op("Concat", op("Softmax", x, axis=2), x, axis=1), outputs=2, axis=1, num_outputs=2)
        return op("LogSoftmax", first, axis=0) + second

    after = fires(
        "count_axis_from_end", each, {"Softmax": 1, "Concat": 1, "Split": 1, "LogSoftmax": 1, "Add": 1}, x="4 6 8"
    )
    axes = {node.key: node.attributes.get("axis") for node in after}
    assert axes == {"Softmax": None, "Concat": -2, "Split": -2, "LogSoftmax": -3, "Add": None}  # -1 is the default


def test_axes_that_count_from_the_end_stay(leaves, op):
    leaves("count_axis_from_end", lambda x: op("Softmax", op("Concat", x, x, axis=-2), axis=-1), x="batch seq 8")


def test_axes_of_reductions_ascend_from_the_end(fires, op):
    after = fires(
        "count_axes_from_end",
        lambda x: op("ReduceSum", op("ReduceMean", x, np.array([2, 1])), np.array([0, -1])),
        {"ReduceMean": 1, "ReduceSum": 1},
        x="batch seq 8",
    )
    assert [node.required(1).content for node in after] == [(-2, -1), (-3, -1)]


def test_axes_of_reductions_that_ascend_from_the_end_stay(leaves, op):
    leaves("count_axes_from_end", lambda x: op("ReduceMax", x, np.array([-2, -1])), x="batch seq 8")
    leaves("count_axes_from_end", lambda x: op("ReduceMax", x), x="batch seq 8")  # all axes: none are named
    leaves(
        "count_axes_from_end",
        lambda x: op("ReduceSum", x, np.array([], np.int64), noop_with_empty_axes=1),
        x="batch seq 8",
    )


def test_equal_sizes_of_a_split_become_a_number(fires, op):
    def halves(x):
        first, second = op("Split", x, np.array([4, 4]), axis=-1, outputs=2)
        return first - second

    after = fires("split_evenly", halves, {"Split": 1, "Sub": 1}, x="batch 8")
    assert next(iter(after)).attributes == {"axis": -1, "num_outputs": 2}


def test_unequal_sizes_of_a_split_stay(leaves, op):
    def parts(x):
        return op("Split", x, np.array([5, 3]), axis=-1, outputs=2)

    leaves("split_evenly", parts, x="batch 8")


def test_a_global_pool_is_a_mean(fires, op):
    fires("pool_is_mean", lambda x: op("GlobalAveragePool", x), {"ReduceMean": 1}, x="batch 3 seq 5")


def test_a_global_maximum_is_no_mean(leaves, op):
    leaves("pool_is_mean", lambda x: op("GlobalMaxPool", x), x="batch 3 seq 5")


def test_an_operand_filled_with_one_number(fires, leaves, op):
    def filled(x, keep):
        return F.where(keep, x, op("ConstantOfShape", op("Shape", x), value=-1e9, dtype="float32"))

    fires("drop_filled_operand", filled, {"Where": 1}, x="batch 8", keep="bool batch 8")

    def spread(x, shape):
        return x + op("ConstantOfShape", shape, value=1.0, dtype="float32")

    leaves("drop_filled_operand", spread, x="1 8", shape="int64 2", inputs={"shape": np.asarray([3, 8])})


def test_ones_for_every_head(fires, leaves):
    ones = np.ones((1, 3, 1, 1), np.float32)
    fires("drop_neutral", lambda x: F.sin(x) * ones, {"Sin": 1}, x="batch 3 5 8")
    leaves("drop_neutral", lambda x: x * np.ones(8, np.float32), x="batch 3 5 8")  # the weight of a norm
    leaves("drop_neutral", lambda x: x * (ones * 2), x="batch 3 5 8")
    leaves("drop_neutral", lambda x: x * ones, x="batch 1 5 8")  # it repeats x
