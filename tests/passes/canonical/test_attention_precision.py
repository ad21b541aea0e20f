"""Attention whose scores or weights are wider than its operands (`passes/canonical/attention_precision.py`)."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl import functional as F

HALF = {"q": "float16 batch 4 seq 6", "k": "float16 batch 4 keys 6", "v": "float16 batch 4 keys 6"}
LOWEST = -3.4028234663852886e38


def wide(x):
    return F.cast(x, "float32")


def half(x):
    return F.cast(x, "float16")


def scores_of(q, k):
    return F.matmul(q, F.swap_axes(k, -1, -2)) * 0.5


def wide_weights(q, k, v, keep):
    """TorchScript's scaled_dot_product_attention in half precision: the mask and all after it are float32."""
    return half(F.matmul(F.softmax(wide(scores_of(q, k)) + F.where(keep, 0.0, LOWEST)), wide(v)))


def guarded(q, k, v, keep, op):
    weights = F.softmax(wide(scores_of(q, k)) + F.where(keep, 0.0, -np.inf))
    return half(F.matmul(F.where(op("IsNaN", weights), 0.0, weights), wide(v)))


def wide_softmax(q, k, v, keep):
    """Scores in half precision, their softmax in float32."""
    masked = F.where(keep, scores_of(q, k), np.asarray(-65504.0, np.float16))
    return F.matmul(half(F.softmax(wide(masked))), v)


def wide_mask(q, k, v, keep):
    return F.matmul(half(F.softmax(wide(scores_of(q, k)) + F.where(keep, 0.0, LOWEST))), v)


def wide_scale_and_cap(q, k, v, keep):
    scores = F.tanh(wide(F.matmul(q, F.swap_axes(k, -1, -2))) * 0.5 / 30.0) * 30.0
    return F.matmul(half(F.softmax(F.where(keep, scores, LOWEST))), v)


def wide_choice(q, k, v, keep):
    bias = F.expand(F.where(keep, 0.0, LOWEST), (q.shape[0], 1, q.shape[2], k.shape[2]))
    return F.matmul(half(F.softmax(wide(scores_of(q, k)) + bias)), v)


@pytest.mark.parametrize(
    "attend",
    [wide_weights, guarded, wide_softmax, wide_mask, wide_scale_and_cap, wide_choice],
    ids=lambda f: f.__name__,
)
def test_attention_is_of_one_dtype(optimise, attend, op):
    wanted = "float32" if attend in (wide_weights, guarded) else "float16"
    keep = {"keep": np.tri(5, 7, 2)[None, None] > 0}
    sizes = ({"seq": 5, "keys": 7},)
    forward = (lambda q, k, v, keep: guarded(q, k, v, keep, op)) if attend is guarded else attend
    result = optimise(forward, **HALF, keep="bool 1 1 seq keys", inputs=keep, sizes=sizes)
    node = result.only("Attention")
    assert {value.dtype.value for value in node.inputs[:3]} == {wanted}, str(result.after)


def added(q, k, v, mask):
    return F.matmul(half(F.softmax(wide(scores_of(q, k)) + mask)), v)


def test_a_mask_that_is_no_choice_is_clipped_before_it_is_rounded(optimise):
    mask = np.where(np.tri(5, 7, 2) > 0, 0.25, LOWEST).astype(np.float32)[None, None]
    sizes = ({"seq": 5, "keys": 7},)
    result = optimise(added, **HALF, mask="1 1 seq keys", inputs={"mask": mask}, sizes=sizes)
    assert result.only("Attention").required(3).dtype.value == "float16"


def test_scores_are_computed_in_the_dtype_of_their_weights(fires):
    expected = {"Cast": 4, "Transpose": 1, "MatMul": 2, "Mul": 1, "Softmax": 1}
    operands = {name: given.replace("keys", "seq") for name, given in HALF.items()}

    def attend(q, k, v):
        return half(F.matmul(F.softmax(wide(scores_of(q, k))), wide(v)))

    fires("scores_in_dtype_of_weights", attend, expected, **operands)


def test_weights_are_computed_in_the_dtype_of_the_values(fires):
    expected = {"Transpose": 1, "MatMul": 2, "Mul": 1, "Where": 1, "Add": 1, "Softmax": 1}

    def attend(q, k, v, keep):
        return F.matmul(half(F.softmax(wide(scores_of(q, k)) + F.where(keep, 0.0, LOWEST))), v)

    inputs = {"keep": np.tri(4, 5, 1)[None, None] > 0}
    sizes = ({"seq": 4, "keys": 5},)
    fires("weights_in_dtype_of_values", attend, expected, **HALF, keep="bool 1 1 seq keys", inputs=inputs, sizes=sizes)


def test_masks_are_summed_up_before_they_are_narrower(fires):
    """Two that hide the same key, each clipped to the lowest number, would be minus infinity together."""
    expected = {"Transpose": 1, "MatMul": 2, "Mul": 1, "Add": 2, "Max": 1, "Cast": 1, "Softmax": 1}

    def attend(q, k, v, mask, other):
        return F.matmul(half(F.softmax(wide(scores_of(q, k)) + mask + other)), v)

    hidden = np.where(np.tri(4, 5, 0) > 0, 0.0, -1e9).astype(np.float32)[None, None]
    masks = {"mask": "1 1 seq keys", "other": "1 1 seq keys"}
    after = fires(
        "weights_in_dtype_of_values", attend, expected, **HALF, **masks,
        inputs={"mask": hidden, "other": hidden}, sizes=({"seq": 4, "keys": 5},),
    )  # fmt: skip
    softmax = next(node for node in after if node.key == "Softmax")
    assert softmax.required(0).producer.required(0).producer.key == "Mul", str(after)


def test_a_mask_over_a_choice_joins_it(fires):
    expected = {"Transpose": 1, "MatMul": 2, "Mul": 1, "Where": 1, "Add": 1, "Max": 1, "Cast": 1, "Softmax": 1}

    def attend(q, k, v, keep, mask):
        return F.matmul(half(F.softmax(F.where(keep, wide(scores_of(q, k)), LOWEST) + mask)), v)

    inputs = {"keep": np.tri(4, 5, 1)[None, None] > 0}
    given = {"keep": "bool 1 1 seq keys", "mask": "1 1 seq keys"}
    after = fires(
        "weights_in_dtype_of_values", attend, expected, **HALF, **given, inputs=inputs,
        sizes=({"seq": 4, "keys": 5},),
    )  # fmt: skip
    softmax = next(node for node in after if node.key == "Softmax")
    assert softmax.required(0).producer.required(0).producer.key == "Mul", str(after)


def test_scores_stay_narrow_where_their_weights_are(leaves):
    keep = {"keep": "bool 1 1 seq keys"}
    leaves("scores_in_dtype_of_weights", wide_mask, **HALF, **keep)
    leaves("scores_in_dtype_of_weights", lambda q, k: wide(scores_of(q, k)), q=HALF["q"], k=HALF["k"])  # no softmax

    def shared(q, k, v, keep):
        scores = scores_of(q, k)
        return F.matmul(F.softmax(wide(scores)), wide(v)), scores

    leaves("scores_in_dtype_of_weights", shared, **HALF, **keep)


def test_weights_stay_wide_where_no_narrow_scores_are_behind_them(leaves):
    leaves("weights_in_dtype_of_values", lambda x: half(F.softmax(x)), x="batch seq 8")
    leaves(
        "weights_in_dtype_of_values",
        lambda x, y: half(F.softmax(wide(x) * y)),
        x="float16 batch seq 8",
        y="batch seq 8",
    )

    def shared(x):
        weights = F.softmax(wide(x))
        return half(weights), weights

    leaves("weights_in_dtype_of_values", shared, x="float16 batch seq 8")
    leaves("weights_in_dtype_of_values", lambda x: half(F.softmax(wide(x))), x="float16 batch seq 8")  # logits


@pytest.mark.parametrize("scale", [1000.0, 1e-9])
def test_scales_that_half_precision_cannot_follow_stay_wide(leaves, scale):
    def attend(q, k, v):
        return F.matmul(half(F.softmax(wide(scores_of(q, k)) * scale)), v)

    leaves("weights_in_dtype_of_values", attend, **HALF, sizes=({"seq": 4, "keys": 5},))
