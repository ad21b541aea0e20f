"""Attention over separate heads: every variant by its definition and spelt by hand, and what only looks like it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import attention
from tfgraph.dsl.functions.attention import LOWEST, causal_keep, repeat_heads
from tfgraph.ir.dtypes import DType

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
    for number, (scale, softcap) in enumerate(itertools.product((None, 0.3, 1.0), (0.0, 20.0))):

        def defined(q, k, v, mask=None, scale=scale, softcap=softcap):
            return attention(q, k, v, mask, is_causal=causal, scale=scale, softcap=softcap)

        def spelt(q, k, v, mask=None, scale=scale, softcap=softcap):
            return by_hand(q, k, v, mask, scale=scale, softcap=softcap, causal=bool(causal), group=group)

        wanted = {"scale": 1 / math.sqrt(6) if scale is None else scale, "softcap": softcap, "is_causal": causal}
        for forward in (defined, spelt):
            done = optimise(forward, target_with("heads"), sizes=SIZES, **specs)
            node = done.only("Attention")
            assert done.operators == {"Attention": 1}, (scale, softcap, str(done.after))
            assert done.report.near_misses == []
            given = {name: node.attributes.get(name, 0) for name in wanted}
            assert given == pytest.approx(wanted, rel=1e-6)
            assert [value.name for value in node.inputs] == list(specs)
        if number == 0:
            run_onnxruntime(done, SIZES)


@pytest.mark.parametrize("mask", ["heads", "rows", "float"])
def test_masks_of_other_shapes(optimise, run_onnxruntime, target_with, mask):
    for forward in (attention, by_hand):
        forward = forward if forward is by_hand else lambda q, k, v, mask: attention(q, k, v, mask)
        done = optimise(forward, target_with("heads"), sizes=SIZES, **shapes(), **MASKS[mask])
        assert done.operators == {"Attention": 1}
        run_onnxruntime(done, SIZES)


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
        done = optimise(function, target_with("heads"), sizes=SIZES, **specs)
        assert done.operators == {"Attention": 1}, str(done.after)
        assert [value.name for value in done.only("Attention").outputs] == [
            value.name for value in done.after.outputs.values()
        ]
        run_onnxruntime(done, SIZES)


def test_the_scale_wherever_it_is(optimise, target_with):
    spellings = [
        lambda q, k, v: F.matmul(F.softmax(F.matmul(q / 2.0, F.swap_axes(k, 2, 3))), v),
        lambda q, k, v: F.matmul(F.softmax(F.matmul(q, F.swap_axes(k * 0.5, 2, 3))), v),
        lambda q, k, v: F.matmul(F.softmax(F.matmul(q * 0.25, F.swap_axes(k, 2, 3) * 2.0)), v),
        lambda q, k, v: F.matmul(F.softmax(0.5 * F.matmul(q, F.swap_axes(k, 2, 3))), v),
        lambda q, k, v: F.matmul(F.softmax((F.matmul(q, F.swap_axes(k, 2, 3)) * 4.0) / 8.0 + 1.0), v),
    ]
    for spelling in spellings:
        node = optimise(spelling, target_with("heads"), **shapes()).only("Attention")
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


def test_a_query_that_sees_nothing_sees_everything_equally(optimise, run_onnxruntime, target_with):
    """A boolean mask that forbids all keys gives equal weights, in the graph, in the interpreter and in the kernels."""
    keep = np.zeros((2, 1, 5, 3), bool)
    keep[:, :, 1:] = True
    specs = {**shapes(), "mask": "bool batch 1 seq keys"}
    done = optimise(by_hand, target_with("heads"), inputs={"mask": keep}, **specs)
    assert done.operators == {"Attention": 1}
    run_onnxruntime(done, inputs={"mask": keep})


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
