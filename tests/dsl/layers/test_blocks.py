"""Encoder and decoder blocks against those of BERT, GPT-2, LLaMA, GPT-J, T5 and BART; and the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BartConfig, BertConfig, GPT2Config, GPTJConfig, LlamaConfig, T5Config
from transformers.models.bart.modeling_bart import BartDecoderLayer
from transformers.models.bert.modeling_bert import BertLayer
from transformers.models.gpt2.modeling_gpt2 import GPT2Block
from transformers.models.gptj.modeling_gptj import GPTJBlock
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding
from transformers.models.t5.modeling_t5 import T5Block

import tfgraph as tg
from tfgraph import nn
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import ConfigError, ShapeError, TraceError

Array = np.ndarray[Any, Any]
EAGER = {"attn_implementation": "eager"}
PADDING = np.array([[1, 1, 1, 1, 0], [1, 0, 1, 1, 1]])


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return rng.standard_normal((2, 5, 16), np.float32)


def randomize(module: torch.nn.Module) -> dict[str, Array]:
    """Random weights in all of a module's parameters, and those weights."""
    generator = torch.Generator().manual_seed(3)
    module.eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}


def load(block: nn.Module, weights: Mapping[str, Array], names: Mapping[str, str]) -> nn.Module:
    """Give our block the weights of theirs: `names` maps our prefixes to theirs."""
    taken = {
        f"{ours}.{kind}": weights[f"{theirs}.{kind}"]
        for ours, theirs in names.items()
        for kind in ("weight", "bias")
        if f"{theirs}.{kind}" in weights
    }
    block.load_state_dict(taken)
    return block


def additive(keep: Array) -> torch.Tensor:
    return torch.from_numpy(np.where(keep, 0.0, np.finfo(np.float32).min).astype(np.float32))


def first(result: Any) -> Array:
    array: Array = (result[0] if isinstance(result, tuple) else result).detach().numpy()
    return array


def test_bert(run: Callable[..., Any], close: Callable[..., None], x: Array) -> None:
    config = BertConfig(hidden_size=16, num_attention_heads=4, intermediate_size=24, **EAGER)
    theirs = BertLayer(config)
    names = {
        "attention.query": "attention.self.query", "attention.key": "attention.self.key",
        "attention.value": "attention.self.value", "attention.output": "attention.output.dense",
        "norm1": "attention.output.LayerNorm", "mlp.up": "intermediate.dense", "mlp.down": "output.dense",
        "norm2": "output.LayerNorm",
    }  # fmt: skip
    block = load(nn.EncoderBlock(16, 4, 24, norm="post", eps=1e-12), randomize(theirs), names)
    expected = first(theirs(torch.from_numpy(x), additive(PADDING[:, None, None] == 1)))
    close(run(block, {"x": "batch seq 16", "attention_mask": "batch seq"}, x=x, attention_mask=PADDING), expected)


def test_gpt2(run: Callable[..., Any], close: Callable[..., None], x: Array) -> None:
    theirs = GPT2Block(GPT2Config(n_embd=16, n_head=4, n_inner=24, **EAGER), layer_idx=0)
    weights = randomize(theirs)
    for name in [name for name in weights if name.endswith("weight") and not name.startswith("ln")]:
        weights[name] = weights[name].T  # GPT-2 stores [in, out]
    for kind in ("weight", "bias"):
        parts = np.split(weights[f"attn.c_attn.{kind}"], 3)
        weights.update({f"{part}.{kind}": array for part, array in zip("qkv", parts, strict=True)})
    names = {
        "attention.query": "q", "attention.key": "k", "attention.value": "v", "attention.output": "attn.c_proj",
        "norm1": "ln_1", "norm2": "ln_2", "mlp.up": "mlp.c_fc", "mlp.down": "mlp.c_proj",
    }  # fmt: skip
    block = load(nn.DecoderBlock(16, 4, 24, activation="gelu_new"), weights, names)
    keep = np.tri(5, dtype=bool) & (PADDING[:, None, None] == 1)
    expected = first(theirs(torch.from_numpy(x), attention_mask=additive(keep)))
    close(run(block, {"x": "batch seq 16", "attention_mask": "batch seq"}, x=x, attention_mask=PADDING), expected)


def test_llama(run: Callable[..., Any], close: Callable[..., None], x: Array) -> None:
    config = LlamaConfig(
        hidden_size=16, num_attention_heads=4, num_key_value_heads=2, intermediate_size=24, rms_norm_eps=1e-6, **EAGER
    )
    theirs = LlamaDecoderLayer(config, 0)
    names = {
        "attention.query": "self_attn.q_proj", "attention.key": "self_attn.k_proj",
        "attention.value": "self_attn.v_proj", "attention.output": "self_attn.o_proj", "norm1": "input_layernorm",
        "norm2": "post_attention_layernorm", "mlp.gate": "mlp.gate_proj", "mlp.up": "mlp.up_proj",
        "mlp.down": "mlp.down_proj",
    }  # fmt: skip
    options = nn.BlockOptions(
        norm_type="rms", eps=1e-6, activation="silu", gated=True, bias=False, num_kv_heads=2,
        rotary=nn.RotaryPositions(4, max_positions=32),
    )  # fmt: skip
    block = load(nn.DecoderBlock(16, 4, 24, options), randomize(theirs), names)
    ids = np.array([[0, 1, 2, 3, 4], [0, 0, 1, 2, 3]])
    angles = LlamaRotaryEmbedding(config)(torch.from_numpy(x), torch.from_numpy(ids))
    keep = np.tri(5, dtype=bool) & (PADDING[:, None, None] == 1)
    expected = first(theirs(torch.from_numpy(x), attention_mask=additive(keep), position_embeddings=angles))
    shapes = {"x": "batch seq 16", "attention_mask": "batch seq", "position_ids": "batch seq"}
    close(run(block, shapes, x=x, attention_mask=PADDING, position_ids=ids), expected)


def test_gptj(run: Callable[..., Any], close: Callable[..., None], x: Array) -> None:
    config = GPTJConfig(n_embd=16, n_head=2, n_inner=24, rotary_dim=4, n_positions=32, **EAGER)
    theirs = GPTJBlock(config, layer_idx=0)
    names = {
        "attention.query": "attn.q_proj", "attention.key": "attn.k_proj", "attention.value": "attn.v_proj",
        "attention.output": "attn.out_proj", "norm1": "ln_1", "mlp.up": "mlp.fc_in", "mlp.down": "mlp.fc_out",
    }  # fmt: skip
    rotary = nn.RotaryPositions(8, max_positions=32, interleaved=True, rotary_dim=4)
    options = nn.BlockOptions(norm="parallel", activation="gelu_new", rotary=rotary, bias=False, mlp_bias=True)
    block = load(nn.DecoderBlock(16, 2, 24, options), randomize(theirs), names)
    ids = torch.arange(5)[None].expand(2, 5)
    causal = additive(np.tri(5, dtype=bool)[None, None])
    expected = first(theirs(torch.from_numpy(x), attention_mask=causal, position_ids=ids))
    close(run(block, {"x": "batch seq 16"}, x=x), expected)


class WithRelativeBias(nn.Module):
    def __init__(self, block: nn.Module, bias: nn.RelativeBias) -> None:
        self.block, self.bias = block, bias

    def forward(self, x: nn.Tensor, attention_mask: nn.Tensor) -> nn.Tensor:
        seq = x.shape[1]
        return self.block(x, attention_mask=attention_mask, position_bias=self.bias(seq, seq))


@pytest.mark.parametrize("is_decoder", [False, True])
def test_t5(is_decoder: bool, run: Callable[..., Any], close: Callable[..., None], x: Array) -> None:
    config = T5Config(
        d_model=16, d_kv=5, num_heads=2, d_ff=24, relative_attention_num_buckets=8, relative_attention_max_distance=16,
        is_decoder=is_decoder, feed_forward_proj="gated-gelu",
    )  # fmt: skip
    theirs = T5Block(config, has_relative_attention_bias=True, layer_idx=0)
    if is_decoder:  # without its cross attention
        theirs.layer = torch.nn.ModuleList([theirs.layer[0], theirs.layer[2]])
        theirs.is_decoder = False
    attention, mlp = "layer.0.SelfAttention", "layer.1.DenseReluDense"
    names = {
        "block.attention.query": f"{attention}.q", "block.attention.key": f"{attention}.k",
        "block.attention.value": f"{attention}.v", "block.attention.output": f"{attention}.o",
        "block.norm1": "layer.0.layer_norm", "block.norm2": "layer.1.layer_norm", "block.mlp.gate": f"{mlp}.wi_0",
        "block.mlp.up": f"{mlp}.wi_1", "block.mlp.down": f"{mlp}.wo", "bias": f"{attention}.relative_attention_bias",
    }  # fmt: skip
    options = nn.BlockOptions(
        norm_type="rms", eps=1e-6, activation="gelu_new", gated=True, bias=False, head_dim=5, scale=1.0
    )
    kind = nn.DecoderBlock if is_decoder else nn.EncoderBlock
    bias = nn.RelativeBias(2, num_buckets=8, max_distance=16, bidirectional=not is_decoder)
    model = load(WithRelativeBias(kind(16, 2, 24, options), bias), randomize(theirs), names)
    keep = (PADDING[:, None, None] == 1) & (np.tri(5, dtype=bool) if is_decoder else True)
    expected = first(theirs(torch.from_numpy(x), attention_mask=additive(keep)))
    close(run(model, {"x": "batch seq 16", "attention_mask": "batch seq"}, x=x, attention_mask=PADDING), expected)


def test_bart(run: Callable[..., Any], close: Callable[..., None], x: Array, rng: np.random.Generator) -> None:
    theirs = BartDecoderLayer(BartConfig(d_model=16, decoder_attention_heads=4, decoder_ffn_dim=24, **EAGER), 0)
    names = {
        f"{ours}.{part}": f"{attention}.{projection}"
        for ours, attention in (("attention", "self_attn"), ("cross_attention", "encoder_attn"))
        for part, projection in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"), ("output", "out_proj"))
    }
    names |= {
        "norm1": "self_attn_layer_norm", "cross_norm": "encoder_attn_layer_norm", "norm2": "final_layer_norm",
        "mlp.up": "fc1", "mlp.down": "fc2",
    }  # fmt: skip
    block = load(nn.DecoderBlock(16, 4, 24, norm="post", cross_attention=True), randomize(theirs), names)
    context, context_mask = rng.standard_normal((2, 3, 16), np.float32), np.array([[1, 1, 0], [1, 1, 1]])
    expected = first(
        theirs(
            torch.from_numpy(x),
            attention_mask=additive(np.tri(5, dtype=bool)[None, None]),
            encoder_hidden_states=torch.from_numpy(context),
            encoder_attention_mask=additive(context_mask[:, None, None] == 1),
        )
    )
    shapes = {"x": "batch seq 16", "context": "batch keys 16", "context_mask": "batch keys"}
    close(run(block, shapes, x=x, context=context, context_mask=context_mask), expected)


class Cached(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        self.block = block

    def forward(self, x: nn.Tensor, past_key_value: Any = None, context: Any = None) -> Any:
        return self.block(x, context=context, past_key_value=past_key_value, use_cache=True)


@pytest.mark.parametrize(
    ("cross", "norm"), [(False, "pre"), (False, "post"), (False, "parallel"), (True, "pre"), (True, "post")]
)
def test_a_decoder_with_a_cache(
    cross: bool, norm: str, run: Callable[..., Any], close: Callable[..., None], weights: Callable[..., Any], x: Array,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    rotary = nn.RotaryPositions(4, max_positions=16)
    block = weights(nn.DecoderBlock(16, 4, 24, norm=norm, rotary=rotary, num_kv_heads=2, cross_attention=cross))
    given = {"context": rng.standard_normal((2, 3, 16), np.float32)} if cross else {}
    shapes = {"x": "batch seq 16", "context": "batch keys 16", "past_key_value": "batch 2 past 4"}
    whole, key, value = run(Cached(block), shapes, x=x, **given)
    close(run(block, shapes, x=x, **given), whole)
    past = (key[:, :, :3], value[:, :, :3])
    result, new_key, new_value = run(Cached(block), shapes, x=x[:, 3:], past_key_value=past, **given)
    close(result, whole[:, 3:])
    close(new_key, key)
    close(new_value, value)


class UsersBlock(nn.Module):
    """The block that the introduction of tfgraph shows."""

    def __init__(self, hidden_size: int, num_heads: int, intermediate_size: int) -> None:
        self.attention = nn.MultiHeadAttention(hidden_size, num_heads)
        self.norm1 = nn.LayerNorm(hidden_size)
        self.mlp = nn.MLP(hidden_size, intermediate_size, activation="gelu")
        self.norm2 = nn.LayerNorm(hidden_size)

    def forward(self, x: nn.Tensor, attention_mask: nn.Tensor | None = None) -> nn.Tensor:
        x = self.norm1(x + self.attention(x, attention_mask=attention_mask))
        return self.norm2(x + self.mlp(x))


def test_the_users_own_block_is_an_encoder_block(
    run: Callable[..., Any], close: Callable[..., None], weights: Callable[..., Any], x: Array
) -> None:
    ours = weights(nn.EncoderBlock(16, 4, 24, nn.BlockOptions(norm="post")))
    own = UsersBlock(16, 4, 24)
    own.load_state_dict(ours.state_dict())
    shapes = {"x": "batch seq 16", "attention_mask": "batch seq"}
    expected = run(ours, shapes, x=x, attention_mask=PADDING)
    close(run(own, shapes, x=x, attention_mask=PADDING), expected)


def test_the_users_own_block_traces_without_weights_and_without_a_mask() -> None:
    graph = tg.trace(UsersBlock(64, 4, 256), x=tg.spec("float32", ["batch", "seq", 64]))
    assert list(graph.inputs) == ["x"]
    assert str(graph.outputs["output"].type) == "float32[batch, seq, 64]"
    assert str(graph) == str(trace(UsersBlock(64, 4, 256), x=spec("float32", ["batch", "seq", 64])))


def test_a_mistake_in_the_users_own_block_is_shown_at_its_line() -> None:
    with pytest.raises(
        ShapeError, match=r"test_blocks\.py:\d+: in 'attention\.query': .*\[batch, seq, 32\] and \[64, 64\]"
    ):
        trace(UsersBlock(64, 4, 256), x=spec("float32", ["batch", "seq", 32]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"norm": "prenorm"},
            r"unknown arrangement of a block 'prenorm': did you mean 'pre'\? It can be 'pre', 'post'",
        ),
        ({"norm_type": "batch"}, "unknown normalisation 'batch': it can be 'layer', 'rms'"),
        ({"activation": "gelo"}, r"unknown activation 'gelo': did you mean 'gelu'\?"),
        ({"window_size": 3}, r"unknown option of a block 'window_size': did you mean 'window'\?"),
    ],
)
@pytest.mark.parametrize("kind", [nn.EncoderBlock, nn.DecoderBlock])
def test_options_that_do_not_exist(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(16, 4, 24, **options)


def test_a_parallel_block_has_no_cross_attention() -> None:
    with pytest.raises(ConfigError, match="expected norm='pre' or norm='post'"):
        nn.DecoderBlock(16, 4, 24, norm="parallel", cross_attention=True)


@pytest.mark.parametrize("cross", [False, True])
def test_a_context_goes_with_cross_attention(cross: bool) -> None:
    x = spec("float32", ["batch", "seq", 16])
    given = {} if cross else {"context": x}
    message = "no context for a block made with" if cross else "a context for a block made without"
    with pytest.raises(TraceError, match=message):
        trace(nn.DecoderBlock(16, 4, 24, cross_attention=cross), x=x, **given)
