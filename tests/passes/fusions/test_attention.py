"""Attention over separate heads: every variant by its definition and spelt by hand, and what only looks like it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import attention
from tfgraph.dsl.functions.attention import LOWEST, causal_keep, repeat_heads
from tfgraph.ir.dtypes import DType
from tfgraph.ir.interpret import interpret
from tfgraph.random_inputs import random_inputs

F32 = np.float32
LOW = LOWEST[DType.FLOAT32]
SIZES = ({}, {"batch": 1, "seq": 1, "keys": 1, "past": 2})
MASKS = {
    "none": {},
    "float": {"mask": "batch 1 1 keys"},
    "bool": {"mask": "bool batch 1 seq keys"},
    "heads": {"mask": "1 4 seq keys"},
    "rows": {"mask": "seq keys"},
}


def shapes(kv_heads=4, size=6, keys="keys", seq="seq"):
    return {"q": f"batch 4 {seq} {size}", "k": f"batch {kv_heads} {keys} {size}", "v": f"batch {kv_heads} {keys} 5"}


def by_hand(q, k, v, mask=None, *, scale=None, softcap=0.0, causal=False, group=1):
    """As a model spells it, on primitives alone."""
    k, v = repeat_heads(k, group), repeat_heads(v, group)
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = F.matmul(q, F.transpose(k, (0, 1, 3, 2)))
    scores = scores if factor == 1.0 else scores * factor
    if softcap:
        scores = F.tanh(scores / softcap) * softcap
    if mask is not None:
        scores = F.where(mask, scores, LOW) if mask.dtype is DType.BOOL else scores + mask
    if causal:
        scores = F.where(causal_keep(q.shape[2], k.shape[2]), scores, LOW)
    return F.matmul(F.softmax(scores), v)


@pytest.mark.parametrize("mask", ["none", "float", "bool"])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("causal", [0, 1])
def test_each_variant(optimise, run_onnxruntime, target_with, mask, kv_heads, causal):
    """Grouped or not, causal or not, with each kind of mask; by the definition and by hand, with each scale and cap."""
    specs = {**shapes(kv_heads), **MASKS[mask]}
    group = 4 // kv_heads
    for number, (scale, softcap) in enumerate(((None, 0.0), (0.3, 20.0), (1.0, 0.0), (1.0, 20.0))):

        def defined(q, k, v, mask=None, scale=scale, softcap=softcap):
            return attention(q, k, v, mask, is_causal=causal, scale=scale, softcap=softcap)

        def spelt(q, k, v, mask=None, scale=scale, softcap=softcap):
            return by_hand(q, k, v, mask, scale=scale, softcap=softcap, causal=bool(causal), group=group)

        wanted = {"scale": 1 / math.sqrt(6) if scale is None else scale, "softcap": softcap, "is_causal": causal}
        for forward in (defined, spelt):
            done = optimise(forward, target_with("heads", whole_masks=False), sizes=SIZES, **specs)
            node = done.only("Attention")
            assert done.operators == {"Attention": 1}, (scale, softcap, str(done.after))
            assert done.report.near_misses == []
            given = {name: node.attributes.get(name, 0) for name in wanted}
            assert given == pytest.approx(wanted, rel=1e-6)
            assert [value.name for value in node.inputs] == list(specs)
        if number == 0:
            run_onnxruntime(optimise(spelt, target_with("heads"), **specs), SIZES)


@pytest.mark.parametrize("mask", ["heads", "rows", "float"])
def test_masks_of_other_shapes(optimise, run_onnxruntime, target_with, mask):
    def defined(q, k, v, mask):
        return attention(q, k, v, mask)

    specs = {**shapes(), **MASKS[mask]}
    for forward in (defined, by_hand):
        assert optimise(forward, target_with("heads", whole_masks=False), sizes=SIZES, **specs).operators == {
            "Attention": 1
        }
        written_out = optimise(forward, target_with("heads"), sizes=SIZES, **specs)
        assert written_out.operators["Attention"] == 1
        assert set(written_out.operators) <= {"Attention", "Shape", "Concat", "Expand"}
        run_onnxruntime(written_out, SIZES)


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("causal", [0, 1])
def test_with_a_past(optimise, run_onnxruntime, target_with, mask, kv_heads, causal):
    past = {"past_key": f"batch {kv_heads} past 6", "past_value": f"batch {kv_heads} past 5"}
    specs = {**shapes(kv_heads), **past, **({"mask": "batch 1 1 past+keys"} if mask else {})}

    def forward(q, k, v, past_key, past_value, mask=None):
        return attention(q, k, v, mask, past_key, past_value, is_causal=causal)

    def spelt(q, k, v, past_key, past_value, mask=None):
        keys, values = F.concat([past_key, k], 2), F.concat([past_value, v], 2)
        all_keys, all_values = repeat_heads(keys, 4 // kv_heads), repeat_heads(values, 4 // kv_heads)
        scores = F.matmul(q * 6**-0.25, F.swap_axes(all_keys, 2, 3) * 6**-0.25)
        scores = scores if mask is None else mask + scores
        if causal:
            scores = F.where(causal_keep(q.shape[2], keys.shape[2], past_key.shape[2]), scores, LOW)
        return F.matmul(F.softmax(scores), all_values), keys, values

    for function in (forward, spelt):
        done = optimise(function, target_with("heads", whole_masks=False), sizes=SIZES, **specs)
        assert done.operators == {"Attention": 1}, str(done.after)
        assert [value.name for value in done.only("Attention").outputs] == [
            value.name for value in done.after.outputs.values()
        ]
        run_onnxruntime(optimise(function, target_with("heads"), **specs), SIZES)


def test_the_scale_wherever_it_is(optimise, target_with):
    spellings = [
        lambda q, k, v: F.matmul(F.softmax(F.matmul(q / 2.0, F.swap_axes(k, 2, 3))), v),
        lambda q, k, v: F.matmul(F.softmax(F.matmul(q, F.swap_axes(k * 0.5, 2, 3))), v),
        lambda q, k, v: F.matmul(F.softmax(F.matmul(q * 0.25, F.swap_axes(k, 2, 3) * 2.0)), v),
        lambda q, k, v: F.matmul(F.softmax(0.5 * F.matmul(q, F.swap_axes(k, 2, 3))), v),
        lambda q, k, v: F.matmul(F.softmax((F.matmul(q, F.swap_axes(k, 2, 3)) * 4.0) / 8.0 + 1.0), v),
    ]
    for spelling in spellings:
        node = optimise(spelling, target_with("heads", whole_masks=False), **shapes()).only("Attention")
        assert node.attributes["scale"] == pytest.approx(0.5)


def test_heads_from_one_layout_or_another(optimise, run_onnxruntime, target_with):
    """[B, S, H * D] split into heads, with the keys transposed in one step or in two."""

    def split(x):
        return F.reshape(x, (*x.shape[:2], 4, 6))

    def forward(x, y):
        q, v = (F.transpose(split(part), (0, 2, 1, 3)) for part in (x, y))
        k = F.transpose(split(y), (0, 2, 3, 1))
        result = F.matmul(F.softmax(F.matmul(q, k) * 0.4), v)
        return F.reshape(F.transpose(result, (0, 2, 1, 3)), x.shape)

    done = optimise(forward, target_with("folded"), x="batch seq 24", y="batch keys 24", sizes=SIZES)
    assert done.operators == {"Attention": 1}
    assert done.only("Attention").attributes["q_num_heads"] == 4
    run_onnxruntime(done, SIZES)


def test_a_query_that_sees_nothing_sees_everything_equally(optimise, target_with):
    """So the definition says, before and after. ONNX Runtime's kernel gives zeros: such a row means nothing."""
    keep = np.zeros((2, 1, 5, 3), bool)
    keep[:, :, 1:] = True
    specs = {**shapes(), "mask": "bool batch 1 seq keys"}
    done = optimise(by_hand, target_with("heads"), inputs={"mask": keep}, **specs)
    assert done.operators == {"Where": 1, "Attention": 1}
    given = random_inputs(done.before)
    result = interpret(done.after, {**given, "mask": keep})["output"]
    np.testing.assert_allclose(result[:, :, 0], given["v"].mean(axis=2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("mask", [{}, {"mask": "bool batch 1 seq keys"}])
def test_half_precision(optimise, dtype, mask):
    """The lowest finite number is another one there."""
    specs = {name: f"{dtype} {shape}" for name, shape in shapes().items()}

    def forward(q, k, v, mask=None):
        return attention(q, k, v, mask, is_causal=1)

    from tfgraph.capabilities import Capabilities, Support

    target = Capabilities("any", 24, 12, operators={"Attention": Support()})
    assert optimise(forward, target, **specs, **mask).operators == {"Attention": 1}


# -- what only looks like it -------------------------------------------------------------------------------------------


def product(q, k):
    return F.matmul(q, F.swap_axes(k, 2, 3)) * 0.4


LOOKALIKES = {
    "softmax over queries": lambda q, k, v: F.matmul(F.softmax(product(q, k), axis=2), v),
    "softmax over heads": lambda q, k, v: F.matmul(F.softmax(product(q, k), axis=1), v),
    "no softmax": lambda q, k, v: F.matmul(product(q, k), v),
    "weights transposed": lambda q, k, v: F.matmul(F.swap_axes(F.softmax(product(q, k)), 2, 3), v),
    "rectified": lambda q, k, v: F.matmul(F.softmax(F.relu(product(q, k))), v),
    "two softmaxes": lambda q, k, v: F.matmul(F.softmax(F.softmax(product(q, k))), v),
    "weights clipped": lambda q, k, v: F.matmul(F.minimum(F.softmax(product(q, k)), 0.5), v),
}
LONE = {
    "keys not transposed": lambda q, k, v: F.matmul(F.softmax(F.matmul(q, k) * 0.4), v),
    "queries transposed": lambda q, k, v: F.matmul(F.softmax(F.matmul(F.swap_axes(q, 2, 3), k) * 0.4), v),
}
SQUARE = {"q": "batch 4 6 6", "k": "batch 4 6 6", "v": "batch 4 6 6"}


@pytest.mark.parametrize("name", [*LOOKALIKES, *LONE])
def test_what_only_looks_like_attention_stays(optimise, target_with, name):
    forward = {**LOOKALIKES, **LONE}[name]
    done = optimise(forward, target_with("heads"), **SQUARE)
    assert "Attention" not in done.operators
    left = [node for node in done.after if node.key == "Softmax"]
    assert len(done.report.near_misses) == len(left)
    line = forward.__code__.co_firstlineno
    for node, miss in zip(left, done.report.near_misses, strict=True):
        assert miss.operator == "Attention"
        assert miss.node == f"Softmax '{node.output.name}' (fusions/test_attention.py:{line})"


MASKED_WRONGLY = {
    "multiplied": (lambda q, k, v, mask: F.matmul(F.softmax(product(q, k) * mask), v), "constant of one element"),
    "one number": (
        lambda q, k, v, mask: F.matmul(F.softmax(F.where(mask > 0.0, product(q, k), -1.0)), v),
        "should be the constant [-3.4028234663852886e+38]",
    ),
}


@pytest.mark.parametrize("name", MASKED_WRONGLY)
def test_masks_that_do_something_else_stay(optimise, target_with, name):
    forward, reason = MASKED_WRONGLY[name]
    done = optimise(forward, target_with("heads"), **shapes(), mask="batch 1 seq keys")
    assert "Attention" not in done.operators
    (miss,) = done.report.near_misses
    assert f"(fusions/test_attention.py:{forward.__code__.co_firstlineno})" in miss.node
    assert reason in miss.reason


def test_a_mask_of_what_is_hidden(optimise, run_onnxruntime, target_with):
    """Scores are replaced where the mask is true, by a number that is low enough, minus infinity included."""
    for low in (LOW, -1e9, -10000.0, -np.inf):
        hidden = np.zeros((2, 1, 5, 3), bool)
        hidden[..., 1:] = True

        def forward(q, k, v, mask, low=low):
            return F.matmul(F.softmax(F.where(mask, low, product(q, k))), v)

        specs = {**shapes(), "mask": "bool batch 1 seq keys"}
        done = optimise(forward, target_with("heads"), inputs={"mask": hidden}, **specs)
        assert done.operators["Attention"] == 1 and "Softmax" not in done.operators
        run_onnxruntime(done, inputs={"mask": hidden})


def test_a_mask_added_to_the_weights_stays(optimise, target_with):
    def forward(q, k, v, mask):
        return F.matmul(F.softmax(product(q, k)) + mask, v)

    done = optimise(forward, target_with("heads"), **shapes(), mask="batch 1 seq keys")
    assert "Attention" not in done.operators


def test_one_sequence_of_keys_for_a_batch_stays(optimise, target_with):
    done = optimise(by_hand, target_with("heads"), q="batch 4 seq 6", k="1 4 keys 6", v="1 4 keys 5", sizes=SIZES)
    assert "Attention" not in done.operators
    (miss,) = done.report.near_misses
    assert "is expected" in miss.reason and "shape" in miss.reason


def test_one_head_of_keys_for_all_queries(optimise, run_onnxruntime, target_with):
    """Multi-query attention that leaves the repetition to the product."""
    done = optimise(by_hand, target_with("heads"), sizes=SIZES, **shapes(1))
    assert done.operators == {"Attention": 1}
    run_onnxruntime(done, SIZES)


@pytest.mark.parametrize("which", ["scores", "masked", "weights"])
def test_what_is_also_returned_keeps_it_apart(optimise, target_with, which):
    def forward(q, k, v, mask):
        scores = product(q, k)
        masked = scores + mask
        weights = F.softmax(masked)
        return F.matmul(weights, v), {"scores": scores, "masked": masked, "weights": weights}[which]

    done = optimise(forward, target_with("heads"), **shapes(), mask="batch 1 seq keys")
    assert "Attention" not in done.operators
    (miss,) = done.report.near_misses
    assert "inside it, is an output of the graph" in miss.reason


def test_weights_that_are_read_elsewhere_keep_it_apart(optimise, target_with):
    def forward(q, k, v):
        weights = F.softmax(product(q, k))
        return F.matmul(weights, v), F.reduce_max(weights, (-1,))

    done = optimise(forward, target_with("heads"), **shapes())
    (miss,) = done.report.near_misses
    assert "%Softmax, inside it, is also read by ReduceMax" in miss.reason


def test_a_classifier_is_no_attention(optimise):
    weight = np.ones((8, 3), F32)
    done = optimise(lambda x: F.softmax(F.matmul(x, weight)), x="batch 8")
    (miss,) = done.report.near_misses
    assert (miss.matched, miss.size) == (0, 0)
    assert str(miss).startswith("Softmax 'Softmax' (fusions/test_attention.py:")


def test_a_mask_of_five_axes_is_refused(optimise, target_with):
    def forward(q, k, v, mask):
        return F.matmul(F.softmax(product(q, k) + mask), v)

    done = optimise(forward, target_with("heads"), q="1 4 seq 6", k="1 4 keys 6", v="1 4 keys 5", mask="1 1 1 seq keys")
    assert "Attention" not in done.operators


def test_a_mask_that_is_computed_from_the_present_keys_keeps_it_apart(optimise, target_with):
    """The operator gives the present keys, and cannot read what is computed from them."""

    def forward(q, k, v, past_key, past_value):
        keys, values = F.concat([past_key, k], 2), F.concat([past_value, v], 2)
        bias = F.swap_axes(F.reduce_mean(keys, (3,)), 2, 3)  # [B, H, 1, T]
        return F.matmul(F.softmax(product(q, keys) + bias), values), keys, values

    past = {"past_key": "batch 4 past 6", "past_value": "batch 4 past 5"}
    done = optimise(forward, target_with("heads", whole_masks=False), sizes=SIZES, **shapes(), **past)
    assert done.operators["Attention"] == 1
    assert done.operators["Concat"] == 2  # fused over keys that are put together outside
    assert len(done.only("Attention").outputs) == 1
