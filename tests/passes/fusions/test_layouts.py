"""Attention in the forms that kernels take: heads folded, a padding mask of one number a key, projections inside."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import multi_head_attention, packed_attention
from tfgraph.dsl.functions.attention import attention, merge_heads, split_heads

F32 = np.float32
MHA, PACKED = "com.microsoft::MultiHeadAttention", "com.microsoft::Attention"
RNG = np.random.default_rng(11)
WEIGHTS = [(RNG.standard_normal((24, 24)) / 5).astype(F32) for _ in range(4)]
BIASES = [RNG.standard_normal(24).astype(F32) for _ in range(4)]
SIZES = ({}, {"batch": 1, "seq": 1, "keys": 1})
SELF = {"x": "batch seq 24"}
CROSS = {"x": "batch seq 24", "y": "batch keys 24"}
PADDING = {"tokens": "int64 batch keys"}


def linear(x, index, bias=True):
    product = F.matmul(x, WEIGHTS[index])
    return product + BIASES[index] if bias else product


def heads_of(x, y, mask=None, *, num_heads=4, kv_heads=4, **settings):
    """[B, S, H * D] operands through heads and back."""
    q = split_heads(x, num_heads)
    k, v = (split_heads(y[:, :, : 6 * kv_heads], kv_heads) for _ in range(2))
    return merge_heads(attention(q, k, v, mask, **settings), x.shape[0], x.shape[1])


def keep(tokens):
    return F.unsqueeze(F.cast(tokens, "bool"), (1, 2))


# -- heads folded ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("mask", ["none", "float", "bool", "tokens"])
def test_folded_heads(optimise, run_onnxruntime, target_with, kv_heads, causal, mask):
    masks = {
        "none": {},
        "float": {"mask": "batch 1 1 keys"},
        "bool": {"mask": "bool 1 4 seq keys"},
        "tokens": {"mask": "int64 batch keys"},
    }

    def forward(x, y, mask=None):
        keys = keep(mask) if mask is not None and mask.rank == 2 else mask
        return heads_of(F.sin(x), F.cos(y), keys, kv_heads=kv_heads, is_causal=causal)

    done = optimise(forward, target_with("folded"), sizes=SIZES, **CROSS, **masks[mask])
    node = done.only("Attention")
    assert [value.rank for value in node.inputs[:3]] == [3, 3, 3]
    assert (node.attributes["q_num_heads"], node.attributes["kv_num_heads"]) == (4, kv_heads)
    assert node.attributes.get("is_causal", 0) == causal
    assert not {"Transpose", "Softmax", "MatMul"} & set(done.operators)
    if mask != "none":
        assert node.required(3).dtype.is_float and node.required(3).rank == 4
    run_onnxruntime(done, SIZES)


def test_folded_heads_with_a_past(optimise, run_onnxruntime, target_with):
    def forward(x, y, past_key, past_value):
        q, k = split_heads(F.sin(x), 4), split_heads(F.cos(y), 2)
        v = split_heads(F.exp(y), 2)
        result, key, value = attention(q, k, v, None, past_key, past_value, is_causal=1)
        return merge_heads(result, x.shape[0], x.shape[1]), key, value

    past = {"past_key": "batch 2 past 6", "past_value": "batch 2 past 6"}
    done = optimise(forward, target_with("folded"), x="batch seq 24", y="batch seq 12", **past, sizes=SIZES)
    node = done.only("Attention")
    assert [value.rank for value in node.inputs if value is not None] == [3, 3, 3, 4, 4]
    assert len(node.outputs) == 3
    run_onnxruntime(done, SIZES)


def test_heads_that_are_not_folded_stay(optimise, run_onnxruntime, target_with):
    """Rotated queries come in heads; so do keys that are read in heads elsewhere."""
    specs = {"q": "batch 4 seq 6", "k": "batch 4 keys 6", "v": "batch 4 keys 6"}
    done = optimise(lambda q, k, v: attention(q, k, v), target_with("folded"), **specs, sizes=SIZES)
    assert done.only("Attention").required(0).rank == 4
    run_onnxruntime(done, SIZES)

    def shared(x, y):
        q, k, v = split_heads(F.sin(x), 4), split_heads(F.cos(y), 4), split_heads(F.exp(y), 4)
        return merge_heads(attention(q, k, v), x.shape[0], x.shape[1]), k

    done = optimise(shared, target_with("folded"), **CROSS, sizes=SIZES)
    assert done.operators["Attention"] == 1
    run_onnxruntime(done, SIZES)


# -- MultiHeadAttention ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", ["none", "tokens", "int32 tokens", "whole", "bool"])
def test_multi_head_attention(optimise, run_onnxruntime, target_with, mask):
    masks = {
        "none": {},
        "tokens": {"mask": "int64 batch keys"},
        "int32 tokens": {"mask": "int32 batch keys"},
        "whole": {"mask": "1 4 seq keys"},
        "bool": {"mask": "bool batch 1 seq keys"},
    }

    def forward(x, y, mask=None):
        keys = keep(mask) if "tokens" in name else mask
        return heads_of(F.sin(x), F.cos(y), keys, scale=0.3)

    name = mask
    done = optimise(forward, target_with("microsoft"), sizes=SIZES, **CROSS, **masks[mask])
    node = done.only(MHA)
    assert node.attributes["num_heads"] == 4
    assert node.attributes["scale"] == pytest.approx(0.3)
    padding, bias = node.input(4), node.input(5)
    if "tokens" in mask:
        assert padding is not None and bias is None
        assert str(padding.type) == "int32[batch, keys]"
        assert not {"Where", "Equal", "Expand"} & set(done.operators)
    else:
        assert padding is None and (bias is None) == (mask == "none")
    run_onnxruntime(done, SIZES)


def test_the_definition_of_multi_head_attention(optimise, run_onnxruntime, target_with):
    def forward(x, y, tokens):
        return multi_head_attention(x, y, F.sin(y), None, tokens, num_heads=4, mask_filter_value=-1e4)

    done = optimise(forward, target_with("microsoft"), **CROSS, tokens="int32 batch keys", sizes=SIZES)
    assert done.operators == {"Sin": 1, MHA: 1}
    assert done.only(MHA).attributes.get("mask_filter_value", -1e4) == -1e4  # the default
    run_onnxruntime(done, SIZES)


def test_layers_share_one_padding_mask(optimise, run_onnxruntime, target_with):
    def forward(x, tokens):
        for _ in range(3):
            x = heads_of(F.sin(x), F.cos(x), keep(tokens))
        return x

    done = optimise(forward, target_with("microsoft"), x="batch keys 24", **PADDING, sizes=SIZES)
    assert done.operators[MHA] == 3
    assert done.operators["Cast"] == 1
    assert len({node.input(4) for node in done.after if node.key == MHA}) == 1
    run_onnxruntime(done, SIZES)


def test_causal_only_over_as_many_keys_as_queries(optimise, run_onnxruntime, target_with):
    done = optimise(lambda x: heads_of(F.sin(x), F.cos(x), is_causal=1), target_with("microsoft"), **SELF, sizes=SIZES)
    assert done.only(MHA).attributes["unidirectional"] == 1
    run_onnxruntime(done, SIZES)
    cross = optimise(lambda x, y: heads_of(x, y, is_causal=1), target_with("microsoft"), **CROSS, sizes=SIZES)
    assert MHA not in cross.operators and cross.operators["Attention"] == 1
    run_onnxruntime(cross, SIZES)


@pytest.mark.parametrize("layout", ["folded", "microsoft"])
@pytest.mark.parametrize("settings", [{"kv_heads": 2}, {"softcap": 9.0}, {"is_causal": 1}])
def test_tokens_where_multi_head_attention_is_not_to_be_had(optimise, run_onnxruntime, target_with, settings, layout):
    """The kernel that remains wants its mask written out."""
    done = optimise(
        lambda x, y, tokens: heads_of(F.sin(x), F.cos(y), keep(tokens), **settings),
        target_with(layout), **CROSS, tokens="int32 batch keys", sizes=SIZES,
    )  # fmt: skip
    assert done.operators["Attention"] == 1 and MHA not in done.operators
    run_onnxruntime(done, SIZES)


def test_a_mask_that_only_looks_as_if_it_were_made_for_tokens(optimise, run_onnxruntime, target_with):
    """A model may spell its mask as the definition of the other kernel does."""

    def forward(x, y, tokens):
        return multi_head_attention(x, y, F.sin(y), None, tokens, num_heads=4)

    done = optimise(forward, target_with("folded"), **CROSS, tokens="int32 batch keys", sizes=SIZES)
    assert done.operators["Attention"] == 1 and "Expand" in done.operators
    run_onnxruntime(done, SIZES)


def test_what_multi_head_attention_lacks_stays_attention(optimise, run_onnxruntime, target_with):
    grouped = optimise(lambda x, y: heads_of(x, y, kv_heads=2), target_with("microsoft"), **CROSS, sizes=SIZES)
    assert grouped.operators["Attention"] == 1 and MHA not in grouped.operators
    run_onnxruntime(grouped, SIZES)
    capped = optimise(lambda x, y: heads_of(x, y, softcap=9.0), target_with("microsoft"), **CROSS, sizes=SIZES)
    assert capped.operators["Attention"] == 1 and MHA not in capped.operators
    run_onnxruntime(capped, SIZES)


def test_tokens_in_another_shape_are_no_padding_mask(optimise, target_with):
    """[1, batch * keys] seen as [batch, 1, 1, keys]: not one number for a key of each sequence."""

    def forward(x, flat):
        batch, keys, _ = x.shape
        return heads_of(F.sin(x), F.cos(x), F.reshape(F.cast(flat, "bool"), (batch, 1, 1, keys)))

    done = optimise(forward, target_with("microsoft"), x="2 5 24", flat="int64 1 10")
    assert done.only(MHA).input(4) is None and done.only(MHA).input(5) is not None


# -- projections inside ------------------------------------------------------------------------------------------------


def self_attention(x, mask=None, bias=True, **settings):
    q, k, v = (split_heads(linear(x, index, bias), 4) for index in range(3))
    return merge_heads(attention(q, k, v, mask, **settings), x.shape[0], x.shape[1])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("mask", ["none", "tokens", "whole"])
def test_projections_go_in(optimise, run_onnxruntime, target_with, bias, causal, mask):
    masks = {"none": {}, "tokens": {"mask": "int64 batch seq"}, "whole": {"mask": "1 4 seq seq"}}

    def forward(x, mask=None):
        keys = keep(mask) if mask is not None and mask.rank == 2 else mask
        return self_attention(x, keys, bias, is_causal=causal)

    done = optimise(forward, target_with("microsoft"), **SELF, **masks[mask], sizes=SIZES)
    node = done.only(PACKED)
    assert set(done.operators) <= {PACKED, "Cast"}
    packed = np.concatenate(WEIGHTS[:3], axis=1)
    np.testing.assert_array_equal(node.required(1).constant.numpy(), packed)
    wanted = np.concatenate(BIASES[:3]) if bias else np.zeros(72, F32)
    np.testing.assert_array_equal(node.required(2).constant.numpy(), wanted)
    assert (node.input(3) is not None, node.input(5) is not None) == (mask == "tokens", mask == "whole")
    run_onnxruntime(done, SIZES)


def test_the_definition_of_packed_attention(optimise, run_onnxruntime, target_with):
    weight, bias = np.concatenate(WEIGHTS[:3], axis=1), np.concatenate(BIASES[:3])

    def forward(x):
        return packed_attention(x, F.as_tensor(weight), F.as_tensor(bias), num_heads=4)

    done = optimise(forward, target_with("microsoft"), **SELF, sizes=SIZES)
    assert done.operators == {PACKED: 1}
    run_onnxruntime(done, SIZES)


def test_an_odd_head_size(optimise, run_onnxruntime, target_with):
    def forward(x):
        q, k, v = (split_heads(linear(x, index), 8) for index in range(3))  # heads of 3
        return merge_heads(attention(q, k, v), x.shape[0], x.shape[1])

    done = optimise(forward, target_with("microsoft"), **SELF, sizes=SIZES)
    assert done.only(PACKED).attributes["num_heads"] == 8
    run_onnxruntime(done, SIZES)


def test_other_targets_keep_the_projections_apart(optimise, run_onnxruntime, target_with):
    for layout in ("heads", "folded"):
        done = optimise(self_attention, target_with(layout), **SELF, sizes=SIZES)
        assert done.operators["MatMul"] == 3
        assert not {PACKED, MHA} & set(done.operators)
        run_onnxruntime(done, SIZES)
