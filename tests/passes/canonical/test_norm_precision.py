"""Norms whose statistics are wider than their input (`passes/canonical/norm_precision.py`)."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl import functional as F

WEIGHT = np.linspace(0.5, 1.5, 8).astype(np.float16)
HALF = "float16 batch seq 8"


def mean(x):
    return F.reduce_mean(x, (-1,))


def wide(x, dtype="float32"):
    return F.cast(x, dtype)


def half(x):
    return F.cast(x, "float16")


def deviation(x, epsilon=1e-5):
    return F.sqrt(mean(x * x) + epsilon)


def divided_in(dtype, epsilon=1e-5):
    """TorchScript at opset 14: the mean in half precision, the variance and the quotient in `dtype`."""

    def normalise(x):
        centred = wide(x - mean(x), dtype)
        return half(centred / deviation(centred, epsilon)) * WEIGHT + WEIGHT

    return normalise


def quotient_in_half(x):
    """The variance in float32, and the rest in half precision."""
    centred = x - mean(x)
    return centred / half(deviation(wide(centred))) * WEIGHT + WEIGHT


def product_in_half(x):
    centred = x - mean(x)
    return centred * half(1.0 / deviation(wide(centred))) * WEIGHT + WEIGHT


@pytest.mark.parametrize(
    "normalise", [divided_in("float32"), divided_in("float64", 1e-12), quotient_in_half, product_in_half]
)
def test_wide_statistics_are_one_layer_normalization(optimise, run_onnxruntime, normalise):
    result = optimise(normalise, x=HALF)
    assert result.only("LayerNormalization").required(0).dtype.value == "float16"
    run_onnxruntime(result)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_wide_root_mean_square_is_one_rms_normalization(optimise, dtype):
    def normalise(x):
        given = wide(x, dtype)
        return half(given / deviation(given)) * WEIGHT

    assert optimise(normalise, x=HALF).operators == {"RMSNormalization": 1}


def test_a_norm_of_float32_with_half_weights_is_cast_after_its_weight(optimise):
    def residual(x):
        return half(x / deviation(x)) * WEIGHT

    assert optimise(residual, x="batch seq 8").operators == {"RMSNormalization": 1, "Cast": 1}

    def centred(x):
        difference = x - mean(x)
        return half(difference / deviation(difference)) * WEIGHT + WEIGHT

    assert optimise(centred, x="batch seq 8").operators == {"LayerNormalization": 1, "Cast": 1}


def test_the_input_is_cast_before_it_is_centred(fires):
    expected = {"Cast": 2, "ReduceMean": 1, "Sub": 1}
    fires("cast_before_centring", lambda x: half(wide(x - mean(x))), expected, x=HALF)


def test_the_quotient_is_rounded_in_place_of_the_deviation(fires):
    centring, statistics = {"ReduceMean": 2, "Sub": 1}, {"Mul": 1, "Add": 1, "Sqrt": 1}

    def quotient(x):
        centred = x - mean(x)
        return centred / half(deviation(wide(centred)))

    fires("divide_in_dtype_of_deviation", quotient, {**centring, **statistics, "Cast": 3, "Div": 1}, x=HALF)

    def product(x):
        centred = x - mean(x)
        return half(1.0 / deviation(wide(centred))) * centred

    expected = {**centring, **statistics, "Mul": 2, "Cast": 3, "Div": 1}
    fires("divide_in_dtype_of_deviation", product, expected, x=HALF)


def test_statistics_in_float64_are_in_float32(fires):
    def normalise(x):
        given = wide(x, "float64")
        return half(given / deviation(given))

    expected = {"Cast": 3, "Mul": 1, "ReduceMean": 1, "Add": 1, "Sqrt": 1, "Div": 1}
    fires("statistics_in_float32", normalise, expected, x=HALF)


def test_the_weight_is_applied_before_the_result_is_rounded(fires):
    expected = {"Mul": 2, "ReduceMean": 1, "Add": 1, "Sqrt": 1, "Div": 1, "Cast": 2}
    fires("weigh_in_dtype_of_input", lambda x: half(x / deviation(x)) * WEIGHT, expected, x="batch seq 8")


def test_the_cast_of_other_differences_stays(leaves):
    leaves("cast_before_centring", lambda x, y: wide(x - mean(y)), x=HALF, y=HALF)
    leaves("cast_before_centring", lambda x: F.cast(x - mean(x), "float16"), x="batch seq 8")  # to a narrower dtype
    leaves("cast_before_centring", lambda x: wide(x - F.reduce_max(x, (-1,))), x=HALF)


def test_other_quotients_stay_in_half_precision(leaves):
    leaves("divide_in_dtype_of_deviation", lambda x, y: x / half(deviation(wide(y))), x=HALF, y=HALF)
    leaves("divide_in_dtype_of_deviation", lambda x: x / half(F.sqrt(wide(x) * wide(x) + 1.0)), x=HALF)
    leaves("divide_in_dtype_of_deviation", lambda x: x * half(2.0 / deviation(wide(x))), x=HALF)


def test_float64_stays_where_it_says_more(leaves):
    leaves("statistics_in_float32", lambda x: x / deviation(x), x="float64 batch seq 8")  # the input is float64

    def normalised(x):
        return wide(x, "float64") / deviation(wide(x, "float64"))

    leaves("statistics_in_float32", normalised, x=HALF)  # so is the result
    leaves("statistics_in_float32", lambda x: (half(normalised(x)), normalised(x) * 2.0), x=HALF)
    leaves("statistics_in_float32", lambda x: wide(normalised(x)), x="batch seq 8")

    def of_another(x, y):
        return wide(x, "float64") / deviation(wide(y, "float64"))

    leaves("statistics_in_float32", of_another, x=HALF, y=HALF)
    leaves("statistics_in_float32", lambda x: wide(x, "float64") / deviation(wide(x, "float64"), 1e-60), x=HALF)


def test_other_products_are_rounded_as_they_were(leaves):
    leaves(
        "weigh_in_dtype_of_input", lambda x: half(wide(x) / deviation(wide(x))) * WEIGHT, x=HALF
    )  # the form of the definition
    leaves("weigh_in_dtype_of_input", lambda x: half(x / (mean(x) + 2.0)) * WEIGHT, x="batch seq 8")
    leaves("weigh_in_dtype_of_input", lambda x, y: half(x / deviation(x)) * y, x="batch seq 8", y=HALF)

    def shared(x):
        rounded = half(x / deviation(x))
        return rounded * WEIGHT, rounded

    leaves("weigh_in_dtype_of_input", shared, x="batch seq 8")
