"""Means and mean squares in other spellings (`passes/canonical/moments.py`)."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl import functional as F

X = "batch seq 8"
WEIGHT = np.linspace(0.5, 1.5, 8).astype(np.float32)
LAST = np.asarray([-1])


def mean(x):
    return F.reduce_mean(x, (-1,))


def square(x):
    return x * x


@pytest.fixture(scope="module")
def spellings(op):
    def summed(x):
        return op("ReduceSum", x, LAST)

    def by_sums(x):
        centred = x - summed(x) / 8.0
        return centred / F.sqrt(summed(square(centred)) / 8.0 + 1e-5) * WEIGHT + WEIGHT

    def by_moments(x):
        return (x - mean(x)) / F.sqrt(mean(square(x)) - square(mean(x)) + 1e-5) * WEIGHT + WEIGHT

    def by_operator(x):
        """As the body of MeanVarianceNormalization is written."""
        deviation = F.sqrt(mean(square(x)) - square(mean(x)))
        return (x - mean(x)) / (deviation + 1e-9) * WEIGHT + WEIGHT

    def by_instances(x):
        flat = F.reshape(x, (1, x.shape[0] * x.shape[1], 8))
        channels = op("Shape", flat, start=1, end=2)
        ones, zeros = (op("ConstantOfShape", channels, value=number, dtype="float32") for number in (1.0, 0.0))
        return F.reshape(op("InstanceNormalization", flat, ones, zeros, epsilon=1e-5), x.shape) * WEIGHT

    def without_axis(x):
        centred = x - F.unsqueeze(op("ReduceMean", x, LAST, keepdims=0), (-1,))
        variance = F.unsqueeze(op("ReduceMean", square(centred), LAST, keepdims=0), (-1,))
        return centred / F.sqrt(variance + 1e-5) * WEIGHT + WEIGHT

    def weight_first(x):
        centred = x - mean(x)
        return centred * WEIGHT / F.sqrt(mean(square(centred)) + 1e-5)

    def by_sum_of_squares(x):
        return x / F.sqrt(op("ReduceSumSquare", x, LAST) * 0.125 + 1e-6) * WEIGHT

    def by_length(x):
        return x / (op("ReduceL2", x, LAST) * 8**-0.5 + 1e-8) * WEIGHT

    def by_squared_length(x):
        return x / F.sqrt(square(op("ReduceL2", x, LAST)) / 8.0 + 1e-6) * WEIGHT

    def by_unit_length(x):
        return x / op("Max", op("ReduceL2", x, LAST), np.float32(1e-12)) * WEIGHT * 8**0.5

    named = locals()
    return {name: found for name, found in named.items() if callable(found) and name not in ("op", "summed")}


LAYER = ("by_sums", "by_moments", "by_operator", "by_instances", "without_axis", "weight_first")
RMS = ("by_sum_of_squares", "by_length", "by_squared_length", "by_unit_length")


@pytest.mark.parametrize("name", [*LAYER, *RMS])
def test_it_is_one_norm(optimise, spellings, name):
    done = optimise(spellings[name], x=X)
    key = "LayerNormalization" if name in LAYER else "RMSNormalization"
    assert done.operators.get(key) == 1, str(done.after)


def test_sums_become_means(fires, op):
    fires("sum_is_mean", lambda x: op("ReduceSum", x, LAST) * 0.125, {"ReduceMean": 1}, x=X)
    fires("sum_is_mean", lambda x: op("ReduceSumSquare", x, LAST) * 0.125, {"Mul": 1, "ReduceMean": 1}, x=X)
    length = lambda x: op("ReduceL2", x, LAST) * 8**-0.5  # noqa: E731
    fires("norm_is_root_mean_square", length, {"Mul": 1, "ReduceMean": 1, "Sqrt": 1}, x=X)
    root = lambda x: F.sqrt(op("ReduceSum", square(x), LAST)) * 8**-0.5  # noqa: E731
    fires("norm_is_root_mean_square", root, {"Mul": 1, "ReduceMean": 1, "Sqrt": 1}, x=X)
    unit = lambda x: x / op("Max", op("ReduceL2", x, LAST), np.float32(1e-12)) * 8**0.5  # noqa: E731
    fires("unit_length_is_rms", unit, {"Mul": 1, "ReduceMean": 1, "Add": 1, "Sqrt": 1, "Div": 1}, x=X)
    floored = lambda x: x / (F.sqrt(mean(square(x))) + 1e-8)  # noqa: E731
    fires("floor_under_root", floored, {"Mul": 1, "ReduceMean": 1, "Add": 1, "Sqrt": 1, "Div": 1}, x=X)

    def variance(x):
        average = mean(x)
        return mean(square(x)) - average * average

    fires("variance_of_differences", variance, {"ReduceMean": 2, "Sub": 1, "Mul": 1}, x=X)
    kept = lambda x: F.reshape(op("ReduceMean", x, LAST, keepdims=0), (2, 5, 1))  # noqa: E731
    fires("keep_reduced_axes", kept, {"ReduceMean": 1}, x="2 5 8")


def test_norms_of_other_operators_are_written_out(fires, op):
    written = {"ReduceMean": 2, "Sub": 1, "Mul": 1, "Add": 1, "Sqrt": 1, "Div": 1}
    ones, zeros = np.ones(5, np.float32), np.zeros(5, np.float32)
    fires("standardise_instances", lambda x: op("InstanceNormalization", x, ones, zeros), written, x="batch 5 8")
    weigh = lambda x, y: x * WEIGHT / F.sqrt(y)  # noqa: E731
    positive = {"y": np.full((2, 3, 1), 2.0, np.float32)}
    given = {"x": "2 3 8", "y": "2 3 1"}
    fires("weight_after_root", weigh, {"Sqrt": 1, "Div": 1, "Mul": 1}, **given, inputs=positive)


def test_other_sums_stay(leaves, op):
    leaves("sum_is_mean", lambda x: op("ReduceSum", x, LAST) * 0.25, x=X)
    leaves("sum_is_mean", lambda x: op("ReduceSum", x, np.asarray([1])) * 0.125, x=X)  # of no fixed number
    leaves("sum_is_mean", lambda x: op("ReduceSum", x, LAST) * np.full((1, 1, 1, 1), 0.125, np.float32), x=X)
    leaves("sum_is_mean", lambda x: op("ReduceSum", x, LAST) * (1 / 767), x="float16 2 768")  # unbiased
    leaves("norm_is_root_mean_square", lambda x: op("ReduceL2", x, LAST) * 0.125, x=X)
    leaves("norm_is_root_mean_square", lambda x: op("ReduceL2", x, LAST) * -(8**-0.5), x=X)
    floor = lambda x, e: x / op("Max", op("ReduceL2", x, LAST), np.float32(e))  # noqa: E731
    leaves("unit_length_is_rms", lambda x: floor(x, 1e-2) * 8**0.5, x=X)
    leaves("unit_length_is_rms", lambda x: floor(x, 1e-12) * 3.0, x=X)
    leaves("unit_length_is_rms", lambda x, y: x / op("ReduceL2", y, LAST) * 8**0.5, x=X, y=X)
    zeros = {"x": np.zeros((2, 1, 8), np.float32)}
    sizes = ({"batch": 2, "seq": 1},)
    leaves("unit_length_is_rms", lambda x: floor(x, 1e-30) * 8**0.5, x=X, inputs=zeros, sizes=sizes)
    leaves("floor_under_root", lambda x: x / (F.sqrt(mean(square(x))) + 1e-30), x=X, inputs=zeros, sizes=sizes)
    leaves("floor_under_root", lambda x: x / (F.sqrt(mean(square(x))) + 1e-5), x=X)
    leaves("floor_under_root", lambda x, y: y / (F.sqrt(mean(square(x))) + 1e-8), x=X, y=X)
    leaves("variance_of_differences", lambda x, y: mean(square(x)) - square(mean(y)), x=X, y=X)
    leaves("variance_of_differences", lambda x: mean(square(x)) - square(F.reduce_mean(x, (1,))), x="2 1 8")
    leaves("keep_reduced_axes", lambda x: F.reshape(op("ReduceMean", x, LAST, keepdims=0), (5, 2)), x="2 5 8")
    leaves("keep_reduced_axes", lambda x: F.reshape(op("ReduceMax", x, LAST, keepdims=0), (2, 5, 1)), x="2 5 8")


def test_norms_of_images_stay(leaves, op):
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    leaves("standardise_instances", lambda x: op("InstanceNormalization", x, ones, zeros), x="2 3 4 5")
    leaves("standardise_instances", lambda x: op("InstanceNormalization", x, ones * 2, zeros), x="2 3 8")
    leaves("weight_after_root", lambda x, y: x * WEIGHT / F.cos(y), x=X, y="batch seq 1")
    leaves("weight_after_root", lambda x, y: x * 2.0 / F.sqrt(F.exp(y)), x=X, y="batch seq 1")
