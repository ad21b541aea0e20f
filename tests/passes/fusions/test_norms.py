"""LayerNorm and RMSNorm as models spell them, alone and with the residual sum; and what only looks like them."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.capabilities import Capabilities, Support
from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import layer_norm, rms_norm, skip_layer_norm, skip_rms_norm

F32 = np.float32
RNG = np.random.default_rng(5)
WEIGHT, BIAS, SHIFT = (RNG.standard_normal(8).astype(F32) for _ in range(3))
SKIP_LAYER, SKIP_RMS = "com.microsoft::SkipLayerNormalization", "com.microsoft::SkipSimplifiedLayerNormalization"
SIZES = ({}, {"batch": 1, "seq": 1})


def mean(x):
    return F.reduce_mean(x, (-1,))


def by_power(x):  # as torch exports it
    centred = x - mean(x)
    return centred / F.sqrt(mean(centred**2.0) + 1e-5) * WEIGHT + BIAS


def by_product(x):
    centred = F.subtract(x, F.reduce_mean(x, (2,)))
    return BIAS + WEIGHT * ((centred * centred + 0.0) * 0.0 + centred) / F.sqrt(1e-5 + mean(centred * centred))


def by_reciprocal(x, op):
    centred = x - mean(x)
    return centred * op("Reciprocal", F.sqrt(mean(F.multiply(centred, centred)) + 1e-5)) * WEIGHT + BIAS


def centred_twice(x):  # torch's older exporter: the difference is computed for each use
    variance = mean((x - mean(x)) ** 2.0)
    return (x - mean(x)) / (variance + 1e-5) ** 0.5 * WEIGHT + BIAS


def by_tensorflow(x, op):
    centre = mean(x)
    factor = F.multiply(op("Reciprocal", F.sqrt(mean((x - centre) ** 2.0) + 1e-5)), WEIGHT)
    return x * factor + F.subtract(BIAS, centre * factor)


def tensor(array):
    return F.as_tensor(array)


@pytest.mark.parametrize("shape", ["batch seq 8", "8", "batch 3 seq 8"])
def test_a_layer_norm_by_its_definition(optimise, run_onnxruntime, shape):
    done = optimise(lambda x: layer_norm(x, tensor(WEIGHT), tensor(BIAS), epsilon=1e-3), x=shape, sizes=SIZES)
    node = done.only("LayerNormalization")
    assert node.attributes == {"epsilon": 1e-3}
    assert [value.constant is not None for value in node.inputs] == [False, True, True]
    assert done.operators == {"LayerNormalization": 1}
    assert done.report.fused == {"LayerNormalization": 1}
    run_onnxruntime(done, SIZES)


@pytest.mark.parametrize("spelling", [by_power, by_reciprocal, centred_twice, by_tensorflow])
def test_a_layer_norm_as_models_spell_it(optimise, run_onnxruntime, op, spelling):
    forward = (lambda x: spelling(x, op)) if "op" in spelling.__code__.co_varnames else spelling
    done = optimise(forward, x="batch seq 8", sizes=SIZES)
    assert done.operators == {"LayerNormalization": 1}
    assert done.only("LayerNormalization").attributes == {}  # 1e-5 is the default
    run_onnxruntime(done, SIZES)


def test_a_layer_norm_without_a_bias(optimise, run_onnxruntime):
    done = optimise(lambda x: layer_norm(x, tensor(WEIGHT)), x="batch seq 8", sizes=SIZES)
    assert len(done.only("LayerNormalization").inputs) == 2
    run_onnxruntime(done, SIZES)


def test_a_layer_norm_in_half_precision(optimise, op):
    half = {"scale": WEIGHT.astype(np.float16), "bias": BIAS.astype(np.float16)}

    def plain(x):
        centred = x - mean(x)
        return centred / F.sqrt(mean(centred * centred) + 1e-5) * half["scale"] + half["bias"]

    def widened(x):  # statistics in float32, as the operator has them
        wide = F.cast(x, "float32")
        centred = wide - mean(wide)
        normal = centred / F.sqrt(mean(centred * centred) + 1e-5)
        return F.cast(normal * WEIGHT + BIAS, "float16")

    assert optimise(plain, x="float16 batch seq 8").operators == {"LayerNormalization": 1}
    assert optimise(widened, x="float16 batch seq 8").operators == {"Cast": 2, "LayerNormalization": 1}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_statistics_in_float32(optimise, dtype):
    """As the definitions have it, and as LLaMA spells it: the weight is applied in the dtype of the input."""

    def typed(array):
        return F.cast(array, dtype)

    def llama(x):
        wide = F.cast(x, "float32")
        normal = wide * (1.0 / F.sqrt(mean(wide**2.0) + 1e-6))
        return typed(WEIGHT) * F.cast(normal, dtype)

    forms = {
        "LayerNormalization": [
            lambda x: layer_norm(x, typed(WEIGHT), typed(BIAS)),
            lambda x: layer_norm(x, typed(WEIGHT)),
        ],
        "RMSNormalization": [lambda x: rms_norm(x, typed(WEIGHT))],
    }
    if dtype != "float64":  # of which another order of the float32 operations shows
        forms["RMSNormalization"].append(llama)
    target = Capabilities("any", 24, 12, operators={key: Support() for key in forms})
    for key, spelt in forms.items():
        for form in spelt:
            done = optimise(form, target, x=f"{dtype} batch seq 8")
            assert done.operators == {key: 1}, str(done.after)


def test_statistics_in_half_precision_are_not_taken_for_float32(optimise):
    def narrow(x):
        half = F.cast(x, "float16")
        normal = half / F.sqrt(mean(half * half) + 1e-3)
        return F.cast(normal, "float32") * WEIGHT

    done = optimise(narrow, x="batch seq 8", inputs={"x": np.ones((2, 5, 8), F32)})
    assert "RMSNormalization" not in done.operators


def test_weights_that_are_inputs(optimise, run_onnxruntime):
    done = optimise(layer_norm, x="batch seq 8", scale="8", bias="8", sizes=SIZES)
    assert done.operators == {"LayerNormalization": 1}
    run_onnxruntime(done, SIZES)


@pytest.mark.parametrize(
    "spelling",
    [
        lambda x: rms_norm(x, tensor(WEIGHT), epsilon=1e-6),
        lambda x: x / F.sqrt(mean(x * x) + 1e-6) * WEIGHT,
        lambda x: F.multiply(WEIGHT, x * (1.0 / F.sqrt(mean(x**2.0) + 1e-6))),
        lambda x: x * (mean(x**2.0) + 1e-6) ** -0.5 * WEIGHT,
        lambda x: x * F.multiply(WEIGHT, (mean(x**2.0) + 1e-6) ** -0.5),
    ],
)
def test_an_rms_norm(optimise, run_onnxruntime, spelling):
    done = optimise(spelling, x="batch seq 8", sizes=SIZES)
    assert done.operators == {"RMSNormalization": 1}
    assert done.only("RMSNormalization").attributes == {"epsilon": 1e-6}
    run_onnxruntime(done, SIZES)


def test_a_scale_in_front_stays_in_front(optimise):
    """T5 and others scale what they normalise: the epsilon keeps the scale from cancelling."""
    done = optimise(lambda x: rms_norm(x * 0.5, tensor(WEIGHT)), x="batch seq 8")
    assert done.operators["RMSNormalization"] == 1
    assert done.operators["Mul"] == 1


# -- what only looks like a norm ---------------------------------------------------------------------------------------


def two_axes(x):
    centred = x - F.reduce_mean(x, (1, 2))
    return centred / F.sqrt(F.reduce_mean(centred * centred, (1, 2)) + 1e-5) * WEIGHT + BIAS


def without_epsilon(x):
    centred = x - mean(x)
    return centred / F.sqrt(mean(centred * centred)) * WEIGHT + BIAS


def unbiased_variance(x):
    centred = x - mean(x)
    return centred / F.sqrt(F.reduce_sum(centred * centred, (-1,)) / 7.0 + 1e-5) * WEIGHT + BIAS


def bessel_corrected(x):
    centred = x - mean(x)
    return centred / F.sqrt(mean(centred * centred) * (8.0 / 7.0) + 1e-5) * WEIGHT + BIAS


def epsilon_outside(x):  # original Transformers divide by (deviation + epsilon)
    centred = x - mean(x)
    return centred / (F.sqrt(mean(centred * centred)) + 1e-5) * WEIGHT + BIAS


def square_of_the_mean(x):
    centred = x - mean(x)
    return centred / F.sqrt(mean(centred) * mean(centred) + 1e-5) * WEIGHT + BIAS


def variance_of_another(x):
    centred = x - mean(x)
    return centred / F.sqrt(mean(x * x) + 1e-5) * WEIGHT + BIAS


def variance_times_itself(x):
    centred = x - mean(x)
    return centred / F.sqrt(mean(centred * x) + 1e-5) * WEIGHT + BIAS


def square_root_missing(x):
    centred = x - mean(x)
    return centred / (mean(centred * centred) + 1e-5) * WEIGHT + BIAS


def scale_of_one(x):
    centred = x - mean(x)
    return centred / F.sqrt(mean(centred * centred) + 1e-5) * WEIGHT[:1] + BIAS


ROWS = np.linspace(0.5, 1.5, 40, dtype=F32).reshape(5, 8)


def scale_for_each_row(x):
    centred = x - mean(x)
    return centred / F.sqrt(mean(centred * centred) + 1e-5) * ROWS + BIAS


def test_a_scale_for_each_row_is_no_weight(optimise):
    """The norm gets a weight of ones, and the scale stays behind it."""
    done = optimise(scale_for_each_row, x="batch 5 8")
    np.testing.assert_array_equal(done.only("LayerNormalization").required(1).constant.numpy(), np.ones(8, F32))
    assert done.operators == {"LayerNormalization": 1, "Mul": 1, "Add": 1}


def scale_widens(x):  # one feature, eight weights
    first = x[:, :, :1]
    centred = first - mean(first)
    return centred / F.sqrt(mean(centred * centred) + 1e-5) * WEIGHT + BIAS


LOOKALIKES = (
    two_axes, without_epsilon, unbiased_variance, bessel_corrected,
    epsilon_outside, square_of_the_mean, variance_of_another, variance_times_itself, square_root_missing, scale_of_one,
    scale_widens,
)  # fmt: skip


@pytest.mark.parametrize("lookalike", LOOKALIKES)
def test_what_only_looks_like_a_layer_norm_stays(optimise, lookalike):
    done = optimise(lookalike, x="batch 5 8")
    assert not {"LayerNormalization", "RMSNormalization"} & set(done.operators)


@pytest.mark.parametrize("lookalike", [f for f in LOOKALIKES if f is not unbiased_variance])
def test_the_report_names_the_mean_and_its_line(optimise, lookalike):
    """Every mean that is left is a near miss, with the line it is on in this file."""
    done = optimise(lookalike, x="batch 5 8")
    left = [node for node in done.after if node.key == "ReduceMean"]
    assert left and len(done.report.near_misses) == len(left)
    for node, miss in zip(left, done.report.near_misses, strict=True):
        assert miss.operator in ("LayerNormalization", "RMSNormalization")
        assert miss.node.startswith(f"ReduceMean '{node.output.name}' (fusions/test_norms.py:")
        assert 0 <= miss.matched <= miss.size
    text = str(done.report)
    assert "fused: nothing" in text and f"not fused: {done.report.near_misses[0]}" in text


@pytest.mark.parametrize(
    ("lookalike", "reason"),
    [
        (without_epsilon, "ReduceMean 'ReduceMean_1' (fusions/test_norms.py:{line}) where Add is expected"),
        (epsilon_outside, "where Sqrt is expected"),
        (square_root_missing, "where Sqrt is expected"),
        (variance_of_another, "%x should be the same value as %Sub"),
        (scale_of_one, "has shape [1], and [h] is expected"),
    ],
)
def test_the_reason_is_the_one_that_a_reader_would_give(optimise, lookalike, reason):
    reasons = [str(miss) for miss in optimise(lookalike, x="batch 5 8").report.near_misses]
    assert any(reason.format(line=mean.__code__.co_firstlineno + 1) in given for given in reasons), reasons


def test_a_sum_of_squares_is_no_mean(optimise):
    done = optimise(unbiased_variance, x="batch 5 8")
    assert done.operators["ReduceSum"] == 1


def test_a_variance_that_is_also_returned_is_computed_beside_the_norm(optimise):
    def shared(x):
        centred = x - mean(x)
        variance = mean(centred * centred)
        return centred / F.sqrt(variance + 1e-5) * WEIGHT + BIAS, variance

    done = optimise(shared, x="batch seq 8", sizes=SIZES)
    assert done.operators == {"LayerNormalization": 1, "ReduceMean": 2, "Sub": 1, "Mul": 1}


def test_a_norm_that_is_also_returned_without_its_bias_stays(optimise):
    def shared(x):
        weighted = x / F.sqrt(mean(x * x) + 1e-5) * WEIGHT
        return weighted + BIAS, F.exp(weighted)

    done = optimise(shared, x="batch seq 8", sizes=SIZES)
    assert done.operators["RMSNormalization"] == 1


# -- with the residual sum ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["batch seq 8", "tokens 8"])
@pytest.mark.parametrize(
    ("forward", "inputs"),
    [
        (lambda x, y: layer_norm(x + y, tensor(WEIGHT), tensor(BIAS)), 4),
        (lambda x, y: layer_norm(x + y, tensor(WEIGHT)), 3),
        (lambda x, y: layer_norm((x + SHIFT) + y, tensor(WEIGHT), tensor(BIAS)), 5),
        (lambda x, y: layer_norm(y + F.add(SHIFT, x), tensor(WEIGHT), tensor(BIAS)), 5),
    ],
)
def test_a_sum_goes_into_the_layer_norm(optimise, run_onnxruntime, target_with, forward, inputs, shape):
    done = optimise(forward, target_with("heads"), x=shape, y=shape, sizes=SIZES)
    assert done.operators == {SKIP_LAYER: 1}
    node = done.only(SKIP_LAYER)
    assert len(node.inputs) == inputs
    assert node.attributes == {"epsilon": 1e-5}
    run_onnxruntime(done, SIZES)


def test_the_sum_that_is_read_again_comes_from_the_norm(optimise, run_onnxruntime, target_with):
    def block(x, y):
        total = (x + SHIFT) + y
        return layer_norm(total, tensor(WEIGHT), tensor(BIAS)) + total

    done = optimise(block, target_with("heads"), x="batch seq 8", y="batch seq 8", sizes=SIZES)
    assert done.operators == {SKIP_LAYER: 1, "Add": 1}
    assert done.only("Add").required(1) is done.only(SKIP_LAYER).outputs[3]
    run_onnxruntime(done, SIZES)


def test_a_sum_goes_into_the_rms_norm(optimise, run_onnxruntime, target_with):
    for forward, inputs in (
        (lambda x, y: rms_norm(x + y, tensor(WEIGHT)), 3),
        (lambda x, y: (rms_norm((x + SHIFT) + y, tensor(WEIGHT)), (x + SHIFT) + y), 4),
    ):
        done = optimise(forward, target_with("heads"), x="batch seq 8", y="batch seq 8", sizes=SIZES)
        assert done.operators == {SKIP_RMS: 1}
        assert len(done.only(SKIP_RMS).inputs) == inputs
        run_onnxruntime(done, SIZES)


def test_the_definitions_themselves(optimise, target_with):
    for definition, key in ((skip_layer_norm, SKIP_LAYER), (skip_rms_norm, SKIP_RMS)):

        def forward(x, y, definition=definition):
            results = definition(x, y, tensor(WEIGHT), epsilon=1e-6)
            return results[0], results[3]

        done = optimise(forward, target_with("heads"), x="batch seq 8", y="batch seq 8", sizes=SIZES)
        assert done.operators == {key: 1}


def test_sums_that_broadcast_stay_outside(optimise, target_with):
    """The kernels take two operands of one shape."""
    for shape in ("1 seq 8", "8", "seq 8", "batch 1 8"):
        forward = layer_norm_of_sum
        done = optimise(forward, target_with("heads"), x="batch seq 8", y=shape, sizes=SIZES)
        assert done.operators == {"Add": 1, "LayerNormalization": 1}, shape


def layer_norm_of_sum(x, y):
    return layer_norm(x + y, tensor(WEIGHT), tensor(BIAS))


def test_axes_that_the_kernels_lack_stay_outside(optimise, target_with):
    done = optimise(layer_norm_of_sum, target_with("heads"), x="2 batch seq 8", y="2 batch seq 8", sizes=SIZES)
    assert done.operators == {"Add": 1, "LayerNormalization": 1}


def test_a_target_without_the_kernels_keeps_the_sum(optimise):
    done = optimise(layer_norm_of_sum, "onnx", x="batch seq 8", y="batch seq 8")
    assert done.operators == {"Add": 1, "LayerNormalization": 1}
