"""Attention as people and exporters spell it: each of these is one Attention, and the numbers stay.

Each spelling is here because it was once left as it was. All take x [batch, seq, 24] with four heads of six.
"""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl import functional as F
from tfgraph.dsl.functions.attention import merge_heads, split_heads

F32 = np.float32
LOWEST = -3.4028234663852886e38
RNG = np.random.default_rng(7)
WEIGHTS = [(RNG.standard_normal((24, 24)) / 5).astype(F32) for _ in range(3)]
BUFFER = np.tril(np.ones((1, 1, 32, 32), F32))
SIZES = ({}, {"batch": 1, "seq": 1})


def projections(x):
    return [F.matmul(x, weight) for weight in WEIGHTS]


def heads_of(x):
    return [split_heads(projection, 4) for projection in projections(x)]


def swap(x):
    return F.swap_axes(x, -1, -2)


def scores_of(q, k):
    return F.matmul(q, swap(k)) * 6**-0.5


def merged(y, x):
    return merge_heads(y, x.shape[0], x.shape[1])


def seen(x):
    positions = F.arange(0, x.shape[1])
    return F.unsqueeze(positions, (0,)) <= F.unsqueeze(positions, (1,))


def attended(x, change, softmax=F.softmax):
    """Attention whose scores go through `change` on their way to the softmax."""
    q, k, v = heads_of(x)
    return merged(F.matmul(softmax(change(scores_of(q, k))), v), x)


def folded(x):
    """[B, H, S, D] -> [B * H, S, D]."""
    return F.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


def apart(x, like):
    return F.reshape(x, (like.shape[0], 4, *x.shape[1:]))


def buffer_of(x):
    return F.as_tensor(BUFFER)[:, :, : x.shape[1], : x.shape[1]]


# -- masks and scales --------------------------------------------------------------------------------------------------


def causal_by_minus_infinity(x, op):
    return attended(x, lambda scores: F.where(seen(x), scores, -np.inf))


def causal_with_soft_cap(x, op):
    return attended(x, lambda scores: F.where(seen(x), F.tanh(scores / 50.0) * 50.0, -1e30))


def causal_with_alibi(x, op):
    distances = F.cast(F.unsqueeze(F.arange(0, x.shape[1]), (0, 1, 2)), "float32")
    slopes = np.array([0.5, 0.25, 0.125, 0.0625], F32).reshape(1, 4, 1, 1)
    return attended(x, lambda scores: F.where(seen(x), scores + distances * slopes, -np.inf))


def scale_after_the_mask(x, op):  # CodeGen
    q, k, v = heads_of(x)
    mask = F.where(F.unsqueeze(seen(x), (0, 1)), 0.0, LOWEST)
    return merged(F.matmul(F.softmax((F.matmul(q, swap(k)) + mask) / 2.4494898), v), x)


def mask_as_a_boolean_again(x, op):  # MPT
    hidden = F.cast(F.where(F.unsqueeze(seen(x), (0, 1)), 0.0, LOWEST), "bool")
    return attended(x, lambda scores: F.where(hidden, LOWEST, scores))


def table_of_ones_multiplied(x, op):  # GPT
    kept = buffer_of(x)
    return attended(x, lambda scores: F.multiply(scores, kept) + F.multiply(F.subtract(1.0, kept), -10000.0))


def floor_under_folded_scores(x, op):  # XGLM
    q, k, v = (folded(projection) for projection in heads_of(x))
    scores = apart(F.matmul(q * 6**-0.5, swap(k)), x) + F.where(F.unsqueeze(seen(x), (0, 1)), 0.0, LOWEST)
    weights = F.softmax(folded(F.maximum(scores, LOWEST)))
    return merged(apart(F.matmul(weights, v), x), x)


def mask_expanded_to_the_scores(x, op):  # XLM
    hidden = F.logical_not(F.unsqueeze(seen(x), (0, 1)))
    return attended(x, lambda scores: F.where(op("Expand", hidden, op("Shape", scores)), -np.inf, scores))


def softmax_by_hand(x, op):
    def softmax(scores):
        powers = op("Exp", scores - F.reduce_max(scores, (-1,)))
        return powers / op("ReduceSum", powers, np.asarray([-1]))

    return attended(x, lambda scores: scores, softmax)


def largest_subtracted(x, op):
    return attended(x, lambda scores: scores - F.reduce_max(scores, (-1,)))


# -- layouts -----------------------------------------------------------------------------------------------------------


def sequence_first(x, op):  # torch.nn.MultiheadAttention
    t = F.transpose(x, (1, 0, 2))
    seq, batch, _ = t.shape
    q, k, v = (F.transpose(F.reshape(p, (seq, batch * 4, 6)), (1, 0, 2)) for p in projections(t))
    y = F.matmul(F.softmax(F.matmul(q * 6**-0.5, swap(k))), v)
    y = F.matmul(F.reshape(F.transpose(y, (1, 0, 2)), (seq * batch, 24)), WEIGHTS[0])
    return F.transpose(F.reshape(y, (seq, batch, 24)), (1, 0, 2))


def keys_in_columns(x, op):  # SqueezeBERT
    q, k, v = heads_of(x)
    return merged(F.matmul(F.softmax(F.matmul(q, F.sin(swap(k)))), v), x)


def scores_of_keys(x, op):
    q, k, v = heads_of(x)
    return merged(F.matmul(F.softmax(swap(F.matmul(k, swap(q)))), v), x)


def softmax_over_columns(x, op):
    q, k, v = heads_of(x)
    return merged(F.matmul(swap(F.softmax(F.matmul(k, swap(q)) * 0.5, -2)), v), x)


def values_in_columns(x, op):
    q, k, v = heads_of(x)
    return merged(swap(F.matmul(swap(v), swap(F.softmax(scores_of(q, k))))), x)


def einsum_with_dots(x, op):
    q, k, v = heads_of(x)
    scores = op("Einsum", q * 0.5, k, equation="... i d, ... j d -> ... i j")
    return merged(op("Einsum", F.softmax(scores), v, equation="... i j, ... j d -> ... i d"), x)


def einsum_of_keys(x, op):  # Keras
    q, k, v = (F.reshape(projection, (*x.shape[:2], 4, 6)) for projection in projections(x))
    weights = F.softmax(op("Einsum", k, q * 0.5, equation="aecd,abcd->acbe"))
    return F.reshape(op("Einsum", weights, v, equation="acbe,aecd->abcd"), x.shape)


def one_head(x, op):
    q, k, v = projections(x)
    return F.matmul(F.softmax(F.matmul(q, swap(k)) * 0.2), v)


def one_masked_head(x, op):
    q, k, v = projections(x)
    return F.matmul(F.softmax(F.where(seen(x), F.matmul(q, swap(k)) * 0.2, LOWEST)), v)


def groups_of_queries(x, op):
    q = F.transpose(F.reshape(projections(x)[0], (*x.shape[:2], 2, 2, 6)), (0, 2, 3, 1, 4))
    k, v = (F.unsqueeze(split_heads(projection[..., :12], 2), (2,)) for projection in projections(x)[1:])
    scores = F.where(seen(x), F.matmul(q, swap(k)) * 0.4, -1e9)
    y = F.matmul(F.softmax(scores), v)
    return F.reshape(F.transpose(y, (0, 3, 1, 2, 4)), x.shape)


SPELLINGS = [
    causal_by_minus_infinity, causal_with_soft_cap, causal_with_alibi, scale_after_the_mask, mask_as_a_boolean_again,
    table_of_ones_multiplied, floor_under_folded_scores, mask_expanded_to_the_scores, softmax_by_hand,
    largest_subtracted, sequence_first, keys_in_columns, scores_of_keys, softmax_over_columns, values_in_columns,
    einsum_with_dots, einsum_of_keys, one_head, one_masked_head, groups_of_queries,
]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda spelling: spelling.__name__)
def test_a_spelling_of_attention(optimise, run_onnxruntime, target_with, op, spelling):
    done = optimise(lambda x: spelling(x, op), target_with("heads"), x="batch seq 24", sizes=SIZES)
    assert done.operators["Attention"] == 1, f"{done.report}\n{done.after}"
    assert not {"Softmax", "Exp"} & set(done.operators)
    run_onnxruntime(done, SIZES)


def test_windows_with_a_mask_each(optimise, run_onnxruntime, target_with):
    """Swin: the windows of all images are in one axis, and each window of an image has its mask."""
    mask = np.where(RNG.random((1, 2, 1, 5, 5)) < 0.3, -100.0, 0.0).astype(F32)

    def forward(images):  # [images, 2 windows, 5, 24]
        x = F.reshape(images, (images.shape[0] * 2, 5, 24))
        q, k, v = heads_of(x)
        scores = F.reshape(scores_of(q, k), (images.shape[0], 2, 4, 5, 5)) + mask
        return merged(F.matmul(F.softmax(F.reshape(scores, (x.shape[0], 4, 5, 5))), v), x)

    sizes = ({"images": 3}, {"images": 1})
    done = optimise(forward, target_with("heads"), images="images 2 5 24", sizes=sizes)
    assert done.operators["Attention"] == 1
    run_onnxruntime(done, sizes)


def folded_but_shown(x, op):
    q, k, v = projections(x)
    weights = F.softmax(F.matmul(q, swap(k)))
    return F.matmul(weights, v), weights


def of_a_constant(x, op):
    return F.matmul(F.softmax(F.matmul(x, WEIGHTS[0])), WEIGHTS[1])


def groups_with_other_masks(x, op):
    q, k, v = (F.reshape(projection, (x.shape[0], 2, 2, x.shape[1], 6)) for projection in projections(x))
    mask = np.array([0.0, -100.0], F32).reshape(1, 1, 2, 1, 1)
    return F.matmul(F.softmax(F.matmul(q, swap(k[:, :, :1])) + mask), v[:, :, :1])


def other_axis(x, op):
    q, k, v = projections(x)
    return F.matmul(F.softmax(F.matmul(q, swap(k)), 0), v)


def test_groups_that_a_mask_tells_apart_stay(optimise, target_with, op):
    done = optimise(lambda x: groups_with_other_masks(x, op), target_with("heads"), x="batch seq 24", sizes=SIZES)
    assert "Attention" not in done.operators


@pytest.mark.parametrize("lookalike", [folded_but_shown, of_a_constant, other_axis], ids=lambda form: form.__name__)
def test_what_is_no_attention_gets_no_head_axis(optimise, target_with, op, lookalike):
    done = optimise(lambda x: lookalike(x, op), target_with("heads"), x="batch seq 24", sizes=SIZES)
    assert "Attention" not in done.operators and done.operators["Softmax"] == 1
    assert "Unsqueeze" not in done.operators and "Reshape" not in done.operators
