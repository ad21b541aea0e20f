"""The GELU family and SiLU as models spell them, with the bias of a linear layer, and what only looks like them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import fast_gelu, gelu, quick_gelu, swish

F32 = np.float32
BIAS = np.linspace(-1, 1, 8, dtype=F32)
ROOT_TWO, ROOT = math.sqrt(2.0), math.sqrt(2.0 / math.pi)
QUICK, BIASED, FAST = "com.microsoft::QuickGelu", "com.microsoft::BiasGelu", "com.microsoft::FastGelu"
SIZES = ({}, {"batch": 1})

EXACT = {
    "definition": gelu,
    "torch": lambda x: x * 0.5 * (1.0 + F.erf(x / ROOT_TWO)),
    "huggingface": lambda x: x * (F.erf(x / ROOT_TWO) + 1.0) * 0.5,
    "reciprocal root": lambda x: (0.5 * x) * (1.0 + F.erf(x * 0.7071067811865475)),
    "distribution first": lambda x: x * ((F.erf(x * (1 / ROOT_TWO)) + 1.0) * 0.5),
}
TANH = {
    "definition": lambda x: gelu(x, approximate="tanh"),
    "huggingface": lambda x: 0.5 * x * (1.0 + F.tanh(ROOT * (x + 0.044715 * x**3.0))),
    "google": lambda x: x * (0.5 * (1.0 + F.tanh(0.7978845608 * (x + 0.044715 * F.multiply(F.multiply(x, x), x))))),
    "torch": lambda x: 0.5 * x * (F.tanh((x + x**3.0 * 0.044715) * ROOT) + 1.0),
}
SILU = {
    "definition": lambda x: quick_gelu(x, alpha=1.0),
    "swish": swish,
    "plain": lambda x: F.sigmoid(x) * x,
}


@pytest.mark.parametrize("spelling", EXACT)
def test_the_exact_gelu(optimise, run_onnxruntime, spelling):
    done = optimise(EXACT[spelling], x="batch 3 8", sizes=SIZES)
    assert done.operators == {"Gelu": 1}
    assert done.only("Gelu").attributes == {}
    run_onnxruntime(done, SIZES)


@pytest.mark.parametrize("spelling", TANH)
def test_the_gelu_by_tanh(optimise, run_onnxruntime, spelling):
    done = optimise(TANH[spelling], "onnx", x="batch 3 8", sizes=SIZES)
    assert done.operators == {"Gelu": 1}
    assert done.only("Gelu").attributes == {"approximate": "tanh"}
    run_onnxruntime(done, SIZES)


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_other_dtypes(optimise, dtype):
    every = optimise(gelu, "onnx", x=f"{dtype} batch 8")
    assert every.operators == {"Gelu": 1}
    assert optimise(lambda x: gelu(x, approximate="tanh"), "onnx", x=f"{dtype} batch 8").operators == {"Gelu": 1}


@pytest.mark.parametrize("spelling", SILU)
def test_silu(optimise, run_onnxruntime, target_with, spelling):
    done = optimise(SILU[spelling], target_with("heads"), x="batch 3 8", sizes=SIZES)
    assert done.only(QUICK).attributes == {"alpha": 1.0}
    run_onnxruntime(done, SIZES)


def test_quick_gelu(optimise, run_onnxruntime, target_with):
    for alpha in (1.702, 0.5, -2.0):
        done = optimise(
            lambda x, alpha=alpha: x * F.sigmoid(alpha * x), target_with("heads"), x="batch 3 8", sizes=SIZES
        )
        assert done.operators == {QUICK: 1}
        assert done.only(QUICK).attributes.get("alpha", 1.702) == alpha  # 1.702 is the default
        run_onnxruntime(done, SIZES)


def test_a_bias_goes_in(optimise, run_onnxruntime, target_with):
    weight = np.ones((5, 8), F32)
    exact = optimise(lambda x: gelu(F.matmul(x, weight) + BIAS), target_with("heads"), x="batch 3 5", sizes=SIZES)
    assert exact.operators == {"MatMul": 1, BIASED: 1}
    run_onnxruntime(exact, SIZES)
    for spelling in (lambda x: gelu(x + BIAS, approximate="tanh"), lambda x: fast_gelu(x, F.as_tensor(BIAS))):
        done = optimise(spelling, target_with("heads"), x="batch 3 8", sizes=SIZES)
        assert done.operators == {FAST: 1}
        assert len(done.only(FAST).inputs) == 2
        run_onnxruntime(done, SIZES)
    alone = optimise(fast_gelu, target_with("heads"), x="batch 3 8", sizes=SIZES)
    assert alone.operators == {FAST: 1}


def test_sums_that_are_no_bias_stay_outside(optimise, target_with):
    for shape in ("batch 3 8", "1", "3 8", "batch 3 1"):
        done = optimise(lambda x, b: gelu(x + b), target_with("heads"), x="batch 3 8", b=shape)
        assert done.operators == {"Add": 1, "Gelu": 1}, shape

    def shared(x):
        total = x + BIAS
        return gelu(total), total

    assert optimise(shared, target_with("heads"), x="batch 3 8").operators == {"Add": 1, "Gelu": 1}


# -- what only looks like them -----------------------------------------------------------------------------------------


LOOKALIKES = {
    "constant of the root": lambda x: x * 0.5 * (1.0 + F.erf(x / 1.5)),
    "half": lambda x: x * 0.6 * (1.0 + F.erf(x / ROOT_TWO)),
    "one": lambda x: x * 0.5 * (2.0 + F.erf(x / ROOT_TWO)),
    "minus": lambda x: x * 0.5 * (1.0 - F.erf(x / ROOT_TWO)),
    "cubic": lambda x: 0.5 * x * (1.0 + F.tanh(ROOT * (x + 0.0447 * x**3.0))),
    "square": lambda x: 0.5 * x * (1.0 + F.tanh(ROOT * (x + 0.044715 * x**2.0))),
    "root": lambda x: 0.5 * x * (1.0 + F.tanh(0.8 * (x + 0.044715 * x**3.0))),
    "sigmoid": lambda x: x * F.sigmoid(x + 1.0),
    "tanh": lambda x: x * F.tanh(x),
    "no product": lambda x: 0.5 * (1.0 + F.erf(x / ROOT_TWO)),
}
TWO_INPUTS = {
    "erf of another": lambda x, y: x * 0.5 * (1.0 + F.erf(y / ROOT_TWO)),
    "cube of another": lambda x, y: 0.5 * x * (1.0 + F.tanh(ROOT * (x + 0.044715 * y**3.0))),
    "sigmoid of another": lambda x, y: x * F.sigmoid(y),
    "scale that is an input": lambda x, y: x * F.sigmoid(x * y),
}
FUSED = {"Gelu", QUICK, BIASED, FAST}


@pytest.mark.parametrize("name", LOOKALIKES)
def test_what_only_looks_like_an_activation_stays(optimise, target_with, name):
    assert not FUSED & set(optimise(LOOKALIKES[name], target_with("heads"), x="batch 3 8").operators)


@pytest.mark.parametrize("name", TWO_INPUTS)
def test_activations_of_two_values_stay(optimise, target_with, name):
    assert not FUSED & set(optimise(TWO_INPUTS[name], target_with("heads"), x="batch 3 8", y="batch 3 8").operators)


def test_a_value_inside_that_is_read_elsewhere_keeps_it_apart(optimise):
    def shared(x):
        inner = F.erf(x / ROOT_TWO)
        return x * 0.5 * (1.0 + inner), inner * 3.0

    done = optimise(shared, x="batch 3 8")
    assert "Gelu" not in done.operators
    (miss,) = done.report.near_misses
    assert "is also read by Mul" in miss.reason
    assert miss.node.startswith("Erf 'Erf' (fusions/test_activations.py:")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("constant of the root", "should be the constant [0.70710"),
        ("half", "should be the constant [0.5]"),
    ],
)
def test_the_report_says_why(optimise, name, reason):
    done = optimise(LOOKALIKES[name], x="batch 3 8")
    (miss,) = done.report.near_misses
    assert miss.operator == "Gelu"
    assert reason in miss.reason, str(miss)
    line = LOOKALIKES[name].__code__.co_firstlineno
    assert f"(fusions/test_activations.py:{line})" in miss.node
