"""GELU and SiLU in other arrangements (`passes/canonical/curves.py`)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tfgraph.dsl import functional as F

X = "batch seq 8"
ROOT, SLOPE, CUBE = math.sqrt(2.0), math.sqrt(2 / math.pi), 0.044715


def polynomial(x):
    return (x + x * x * x * CUBE) * SLOPE


GELUS = {
    "halves inside": lambda x: x * (F.erf(x / ROOT) * 0.5 + 0.5),
    "expanded": lambda x: x * 0.5 * F.erf(x / ROOT) + x * 0.5,
    "complement": lambda x: x * 0.5 * F.subtract(1.0, F.erf(F.negate(x / ROOT))),
    "halves inside tanh": lambda x: x * (F.tanh(polynomial(x)) * 0.5 + 0.5),
    "distributed": lambda x: x * 0.5 * (F.tanh(x * SLOPE + x * x * x * (SLOPE * CUBE)) + 1.0),
    "factored": lambda x: x * 0.5 * (F.tanh(x * (x * x * (SLOPE * CUBE) + SLOPE)) + 1.0),
    "by sigmoid": lambda x: x * F.sigmoid(polynomial(x) * 2.0),
}


@pytest.mark.parametrize("name", GELUS)
def test_it_is_one_gelu(optimise, name):
    done = optimise(GELUS[name], x=X)
    assert sum(done.operators.get(key, 0) for key in ("Gelu", "com.microsoft::FastGelu")) == 1, str(done.after)


def test_silu_by_exp_is_one_operator(optimise):
    done = optimise(lambda x: x / (F.exp(F.negate(x)) + 1.0), x=X)
    assert done.operators == {"com.microsoft::QuickGelu": 1}


def test_each_rule(fires):
    fires("half_outside_curve", lambda x: F.erf(x) * 0.5 + 0.5, {"Erf": 1, "Add": 1, "Mul": 1}, x=X)
    fires("gather_curve", lambda x: x * F.erf(x) + x, {"Erf": 1, "Add": 1, "Mul": 1}, x=X)
    fires("gather_curve", lambda x: x * F.tanh(x) * 0.5 + x * 0.5, {"Tanh": 1, "Add": 1, "Mul": 2}, x=X)
    fires("one_minus_curve", lambda x: F.subtract(1.0, F.erf(F.negate(x))), {"Erf": 1, "Add": 1}, x=X)
    fires("one_minus_curve", lambda x: F.subtract(1.0, F.tanh(x * -2.0)), {"Mul": 1, "Tanh": 1, "Add": 1}, x=X)
    spread = lambda x: F.tanh(x * SLOPE + x * x * x * (SLOPE * CUBE))  # noqa: E731
    fires("cubic_in_order", spread, {"Mul": 4, "Add": 1, "Tanh": 1}, x=X)
    by_sigmoid = lambda x: x * F.sigmoid(polynomial(x) * 2.0)  # noqa: E731
    fires("sigmoid_is_tanh", by_sigmoid, {"Mul": 6, "Add": 2, "Tanh": 1}, x=X)
    fires("quotient_is_sigmoid", lambda x: x / (F.exp(F.negate(x)) + 1.0), {"Sigmoid": 1, "Mul": 1}, x=X)
    fires("quotient_is_sigmoid", lambda x: F.divide(1.0, F.exp(x * -2.0) + 1.0), {"Sigmoid": 1, "Mul": 1}, x=X)


def test_other_curves_stay(leaves):
    leaves("half_outside_curve", lambda x: F.erf(x) * 0.5 + 0.25, x=X)
    leaves("half_outside_curve", lambda x: F.sin(x) * 0.5 + 0.5, x=X)
    leaves("gather_curve", lambda x, y: x * F.erf(x) + y, x=X, y=X)
    leaves("gather_curve", lambda x: x * F.erf(x) * 0.5 + x, x=X)
    leaves("gather_curve", lambda x: x * F.sin(x) + x, x=X)
    leaves("one_minus_curve", lambda x: F.subtract(1.0, F.erf(x)), x=X)
    leaves("one_minus_curve", lambda x: F.subtract(2.0, F.erf(F.negate(x))), x=X)
    leaves("cubic_in_order", lambda x: F.tanh(polynomial(x)), x=X)  # the form of the definition
    leaves("cubic_in_order", lambda x: F.tanh(x * SLOPE + x * x * x * (SLOPE * 0.05)), x=X)
    leaves("cubic_in_order", lambda x: F.tanh(x * SLOPE + x * x * x * (SLOPE * 0.0447)), x=X)  # rounded too far
    leaves("sigmoid_is_tanh", lambda x: x * F.sigmoid((x + x * x * x * CUBE) * 1.595), x=X)
    leaves("cubic_in_order", lambda x, y: F.tanh(x * SLOPE + x * x * y * (SLOPE * CUBE)), x=X, y=X)
    leaves("sigmoid_is_tanh", lambda x: x * F.sigmoid(polynomial(x)), x=X)
    leaves("sigmoid_is_tanh", lambda x, y: y * F.sigmoid(polynomial(x) * 2.0), x=X, y=X)
    leaves("quotient_is_sigmoid", lambda x: x / (F.exp(x) + 1.0), x=X)
    leaves("quotient_is_sigmoid", lambda x: x / (F.exp(F.negate(x)) + 2.0), x=X)
    leaves("quotient_is_sigmoid", lambda x: x / (F.exp(F.negate(x)) + np.ones(8, np.float32)), x=X)


def test_constants_of_more_axes_keep_theirs(leaves):
    def of_rank_four(number):
        return np.full((1, 1, 1, 1), number, np.float32)

    leaves("half_outside_curve", lambda x: F.erf(x) * 0.5 + of_rank_four(0.5), x=X)
    leaves("one_minus_curve", lambda x: F.subtract(of_rank_four(1.0), F.erf(F.negate(x))), x=X)
    leaves("cubic_in_order", lambda x: F.tanh((x * x * x * of_rank_four(CUBE) + x) * SLOPE), x=X)
    leaves("quotient_is_sigmoid", lambda x: F.divide(of_rank_four(1.0), F.exp(F.negate(x)) + 1.0), x=X)
