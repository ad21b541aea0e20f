"""Powers, quotients, differences and scales (`passes/canonical/arithmetic.py`)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfgraph.dsl import functional as F
from tfgraph.ir.copy import copy_graph
from tfgraph.passes.canonical import CANONICAL

F32 = np.float32
W = np.linspace(0.5, 1.5, 8, dtype=F32)
POSITIVE = np.linspace(0.25, 4, 16, dtype=F32).reshape(2, 8)


@pytest.mark.parametrize("key", ["Add", "Mul", "Max", "Min", "Equal"])
def test_a_constant_comes_second(fires, leaves, op, key):
    fires("constants_second", lambda x: op(key, W, x), {key: 1}, x="batch 8")
    leaves("constants_second", lambda x: op(key, x, W), x="batch 8")
    leaves("constants_second", lambda x, y: op(key, x, y), x="batch 8", y="batch 8")
    leaves("constants_second", lambda x: (x, op(key, W, W)), x="batch 8")


def test_a_constant_truth_value_comes_second(fires, leaves, op):
    yes = np.array([True] * 8)
    fires("constants_second", lambda m: op("And", yes, m), {"And": 1}, m="bool batch 8")
    leaves("constants_second", lambda x: op("Sub", W, x), x="batch 8")  # not commutative
    leaves("constants_second", lambda x: op("Max", W, x, x), x="batch 8")  # not two


@pytest.mark.parametrize(
    ("exponent", "expected"),
    [
        (1.0, {"Relu": 1}),
        (2.0, {"Relu": 1, "Mul": 1}),
        (3.0, {"Relu": 1, "Mul": 2}),
        (0.5, {"Relu": 1, "Sqrt": 1}),
        (-0.5, {"Relu": 1, "Sqrt": 1, "Div": 1}),
        (-1.0, {"Relu": 1, "Div": 1}),
    ],
)
def test_small_powers_are_written_out(fires, exponent, expected):
    fires("expand_power", lambda x: F.relu(x) ** exponent, expected, x="batch 8", sizes=({},), inputs={"x": POSITIVE})


def test_other_powers_stay(leaves, op):
    leaves("expand_power", lambda x: F.relu(x) ** 1.5, x="batch 8")
    leaves("expand_power", lambda x, y: F.relu(x) ** y, x="batch 8", y="8")
    leaves("expand_power", lambda x: x**2, x="int64 batch 8")
    leaves("expand_power", lambda x: x ** np.array([[2.0]], F32), x="8")  # the result has one axis more


def test_a_sum_of_many_is_additions(fires, leaves, op):
    fires("sum_is_additions", lambda x, y, z: op("Sum", x, y, z), {"Add": 2}, x="batch 8", y="8", z="batch 1")
    leaves("sum_is_additions", lambda x: op("Sum", x), x="batch 8")
    leaves("sum_is_additions", lambda x, y: op("Mean", x, y), x="batch 8", y="8")


def test_a_reciprocal_is_a_quotient(fires, leaves, op):
    fires("reciprocal_is_quotient", lambda x: op("Reciprocal", x), {"Div": 1}, x="batch 8")
    leaves("reciprocal_is_quotient", lambda x: F.sqrt(F.absolute(x)), x="batch 8")


def test_a_product_with_a_reciprocal_is_a_quotient(fires):
    fires("product_with_reciprocal", lambda x, y: x * (1.0 / y), {"Div": 1}, x="batch 8", y="8")
    fires("product_with_reciprocal", lambda x, y: (1.0 / y) * x, {"Div": 1}, x="batch 8", y="batch 1")


def test_what_is_no_reciprocal_stays(leaves, op):
    leaves("product_with_reciprocal", lambda x, y: x * (2.0 / y), x="batch 8", y="8")
    leaves("product_with_reciprocal", lambda x: x * (x / 1.0), x="batch 8")
    numbers = np.arange(2, 18).reshape(2, 8)
    leaves("product_with_reciprocal", lambda x: x * (1 / x), x="int64 batch 8", sizes=({},), inputs={"x": numbers})
    leaves("product_with_reciprocal", lambda x, y: x * F.divide(np.ones((1, 1, 1), F32), y), x="8", y="8")  # more axes


def test_a_quotient_by_a_number_is_a_product(fires):
    fires("divide_by_constant", lambda x: x / 8.0, {"Mul": 1}, x="batch 8")
    fires("divide_by_constant", lambda x: x / np.full((1, 1), 3.0, F32), {"Mul": 1}, x="batch 8")


def test_other_quotients_stay(leaves):
    leaves("divide_by_constant", lambda x: x / 3, x="int64 batch 8")
    leaves("divide_by_constant", lambda x: x / 0.0, x="batch 8")
    leaves("divide_by_constant", lambda x: x / W, x="batch 8")
    leaves("divide_by_constant", lambda x: x / np.full((1, 1), 3.0, F32), x="8")  # the result has one axis more
    leaves("divide_by_constant", lambda x: F.sqrt(F.absolute(x / 1e-39)), x="batch 8")  # 1e39 is no float32
    leaves("divide_by_constant", lambda x: (x * 1e-6) / 1e-6, x="float16 batch 8")  # 1e6 is no float16


def test_a_difference_with_a_number_is_a_sum(fires, leaves):
    fires("subtract_constant", lambda x: x - 3.0, {"Add": 1}, x="batch 8")
    leaves("subtract_constant", lambda x: x - 3, x="int64 batch 8")
    leaves("subtract_constant", lambda x: x - W, x="batch 8")
    leaves("subtract_constant", lambda x: x - np.full((1, 1), 3.0, F32), x="8")
    leaves("subtract_constant", lambda x: 3.0 - x, x="batch 8")


def test_zero_and_one_are_neutral(fires, leaves):
    fires("drop_neutral", lambda x: F.relu(x + 0.0) * 1.0, {"Relu": 1}, x="batch 8")
    fires("drop_neutral", lambda x: F.relu(x + np.zeros((1, 1), F32)), {"Relu": 1}, x="batch 8")
    fires("drop_neutral", lambda x: F.negate(x * 1), {"Neg": 1}, x="int64 batch 8")
    leaves("drop_neutral", lambda x: x + 1.0, x="batch 8")
    leaves("drop_neutral", lambda x: x * 0.0, x="batch 8")
    leaves("drop_neutral", lambda x: x + np.zeros((3, 8), F32), x="8")  # three rows from one
    leaves("drop_neutral", lambda x: x * np.ones(8, F32), x="batch 8")  # the weight of a norm, not trained yet


def test_scales_meet_outside(fires, leaves):
    fires("gather_scales", lambda x: (x * 0.5) * 4.0, {"Mul": 1}, x="batch 8")
    fires("gather_scales", lambda x, y: (x * 0.5) * y, {"Mul": 2}, x="batch 8", y="8")
    fires("gather_scales", lambda x, y: y * (x * 0.5), {"Mul": 2}, x="8", y="batch 8")

    def read_elsewhere(x, y):
        scaled = x * 0.5
        return scaled * y, scaled

    leaves("gather_scales", read_elsewhere, x="batch 8", y="batch 8")
    leaves("gather_scales", lambda x: (x * 3) * 4, x="int64 batch 8")
    leaves("gather_scales", lambda x: (x * 1e-30) * 1e-30, x="batch 8")  # 0 in float32
    leaves("gather_scales", lambda x: (x * np.full((1, 1), 0.5, F32)) * 4.0, x="8")


def test_scales_whose_product_the_dtype_cannot_hold_stay(leaves):
    small = np.full((2, 8), 1e-20, F32)
    leaves("gather_scales", lambda x: (x * 1e30) * 1e30, x="batch 8", sizes=({},), inputs={"x": small * small})
    half = np.full((2, 8), 6e4, np.float16)
    leaves("gather_scales", lambda x: (x * 1e-4) * 1e-4, x="float16 batch 8", sizes=({},), inputs={"x": half})


def test_a_shifted_normalisation_centres_first(fires, leaves):
    def tensorflow(x, mean, factor, offset):
        return x * factor + (offset - mean * factor)

    given = {"x": "batch 8", "mean": "batch 1", "factor": "batch 8", "offset": "8"}
    fires("shift_before_scale", tensorflow, {"Sub": 1, "Mul": 1, "Add": 1}, **given)
    without_offset = {name: shape for name, shape in given.items() if name != "offset"}

    def unbiased(x, mean, factor):
        return x * factor + -(mean * factor)

    fires("shift_before_scale", unbiased, {"Sub": 1, "Mul": 1}, **without_offset)
    leaves("shift_before_scale", lambda x, mean, factor: x * factor + -(mean * mean), **without_offset)
    leaves("shift_before_scale", lambda x, mean, factor, offset: x * factor + (offset - mean * mean), **given)
    leaves("shift_before_scale", lambda x, mean, factor, offset: x * factor + (mean * factor - offset), **given)


def test_a_weight_comes_last(fires, leaves):
    fires("weight_last", lambda x, y: x * (y * W), {"Mul": 2}, x="batch 8", y="batch 1")
    fires("weight_last", lambda x, y: (y * W) * x, {"Mul": 2}, x="batch 8", y="batch 1")
    fires("weight_last", lambda x, y: x * F.divide(W, y), {"Div": 1, "Mul": 1}, x="batch 8", y="batch 1")
    leaves("weight_last", lambda x, y: (x * y) * W, x="batch 8", y="batch 1")
    leaves("weight_last", lambda x, y: x * (y / W), x="batch 8", y="batch 1")
    leaves("weight_last", lambda x, y: x * (y * W.reshape(1, 8)), x="batch 8", y="batch 1")
    whole = np.array([3], np.int64)
    leaves("weight_last", lambda x, y: x * (F.divide(whole, y + 1)), x="int64 batch 8", y="int64 batch 8")


def test_a_difference_of_quotients_is_divided_once(fires, leaves):
    given = {"x": "batch 8", "y": "batch 8", "d": "batch 1"}
    fires("subtract_before_division", lambda x, y, d: x / d - y / d, {"Sub": 1, "Div": 1}, **given)
    leaves("subtract_before_division", lambda x, y, d: x / d - d / y, **given)
    numbers = {name: f"int64 {shape}" for name, shape in given.items()}
    leaves("subtract_before_division", lambda x, y, d: x / (d + 2) - y / (d + 2), **numbers)

    def whole(x, y, d):
        return x / d - y / d

    odd = {"x": np.full((2, 8), 3), "y": np.full((2, 8), 1), "d": np.full((2, 1), 2)}
    leaves("subtract_before_division", whole, sizes=({},), inputs=odd, **numbers)


@st.composite
def expressions(draw: st.DrawFn, depth: int = 4) -> str:
    """Python text of arithmetic over x, y and d (which is never near 0) with numbers and a vector in it."""
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        return draw(st.sampled_from(["x", "y", "d", "x", "y"]))
    left, right = draw(expressions(depth - 1)), draw(expressions(depth - 1))
    number = draw(st.sampled_from(["2.0", "0.5", "1.0", "0.0", "-1.0", "W"]))
    form = draw(
        st.sampled_from(
            ["({l} + {r})", "({l} * {r})", "({l} - {r})", "({l} / d)", "({l} * (1.0 / d))", "({n} * {l})",
             "({l} + {n})", "({l} - {n})", "({l} * {n})", "({l} / 4.0)", "({l} ** 2.0)", "({n} - {l})",
             "({l} * ({r} * W))"]
        )
    )  # fmt: skip
    return form.format(l=left, r=right, n=number)


@given(text=expressions(), batch=st.integers(1, 3))
@settings(max_examples=60)
def test_any_arithmetic_keeps_its_value(graph_of, same_numbers, text, batch):
    code = compile(text, "<expression>", "eval")

    def forward(x, y, d):
        shared = eval(code, {"W": F.as_tensor(W)}, {"x": x, "y": y, "d": F.absolute(d) + 1.5})
        return (shared * x if text in ("x", "y") else shared), x + y

    before = graph_of(forward, x="batch 8", y="batch 1", d="8")
    after = copy_graph(before)
    CANONICAL.apply(after)
    same_numbers(before, after, ({"batch": batch},), None, text)


def test_the_cubic_of_the_tanh_gelu_is_a_sum(fires):
    expected = {"Mul": 3, "Add": 1}
    fires("cubic_is_sum", lambda x: x * (x * x * 0.044715 + 1.0), expected, x="batch 8")
    fires("cubic_is_sum", lambda x: (x * x * 0.5 + 1.0) * x, expected, x="batch 8")


def test_other_polynomials_stay(leaves):
    leaves("cubic_is_sum", lambda x: x * (x * x * 0.5 + 2.0), x="batch 8")
    leaves("cubic_is_sum", lambda x, y: y * (x * x * 0.5 + 1.0), x="batch 8", y="batch 8")
    leaves("cubic_is_sum", lambda x, y: x * (x * y * 0.5 + 1.0), x="batch 8", y="batch 8")

    def shared(x):
        factor = x * x * 0.5 + 1.0
        return x * factor, factor

    leaves("cubic_is_sum", shared, x="batch 8")


def test_the_half_of_a_gelu_stays_with_it(leaves):
    def gated(x, y):
        return (x * (1.0 + F.tanh(x)) * 0.5) * y

    leaves("gather_scales", gated, x="batch 8", y="batch 8")
    leaves("gather_scales", lambda x, y: (x * (1.0 + F.erf(x)) * 0.5) * y, x="batch 8", y="batch 8")
