"""Random Transformers through the pipeline, for every form of attention that a target may want: the numbers stay."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfgraph import nn
from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import layer_norm, rms_norm
from tfgraph.dsl.functions.attention import LOWEST, attention, causal_keep, merge_heads, split_heads
from tfgraph.dsl.layers.activations import get_activation
from tfgraph.dsl.trace import spec, trace
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.dtypes import DType
from tfgraph.ir.verify import verify
from tfgraph.passes.legalise import refusal
from tfgraph.passes.pipeline import optimising
from tfgraph.targets import get_target

F32 = np.float32
HIDDEN = 12
LOW = LOWEST[DType.FLOAT32]
MASKS = {
    "none": None,
    "tokens": ("int64", ["batch", "keys"]),
    "bool": ("bool", ["batch", 1, "seq", "keys"]),
    "float": ("float32", ["batch", 1, 1, "keys"]),
    "heads": ("float32", [1, "heads", "seq", "keys"]),
    "rows": ("float32", ["seq", "keys"]),
}
ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "silu", "quick_gelu")


@dataclass(frozen=True)
class Choices:
    """One layer: where it normalises and how, what it attends to, and how all of it is spelt."""

    norm: str
    place: str
    heads: int
    group: int
    head_dim: int
    causal: bool
    softcap: float
    scale: float | None
    rotary: str
    activation: str
    gated: bool
    bias: bool
    residual: str
    spelling: str
    noise: str
    extra_output: bool


layers = st.builds(
    Choices,
    norm=st.sampled_from(["layer", "layer without bias", "rms", "by hand", "none"]),
    place=st.sampled_from(["pre", "post", "parallel"]),
    heads=st.sampled_from([1, 2, 3, 4]),
    group=st.sampled_from([1, 1, 2]),
    head_dim=st.sampled_from([2, 3, 4, 6]),
    causal=st.booleans(),
    softcap=st.sampled_from([0.0, 0.0, 5.0]),
    scale=st.sampled_from([None, 0.5, 1.0]),
    rotary=st.sampled_from(["none", "none", "tables", "interleaved", "rotate half"]),
    activation=st.sampled_from(ACTIVATIONS),
    gated=st.booleans(),
    bias=st.booleans(),
    residual=st.sampled_from(["x + f", "f + x", "scaled", "none"]),
    spelling=st.sampled_from(["definition", "primitives", "split scale", "flattened", "guarded"]),
    noise=st.sampled_from(["none", "identity", "cast", "reshape", "expand"]),
    extra_output=st.booleans(),
)


class Model:
    """The layers that were chosen, over weights drawn from one generator."""

    def __init__(self, choices: list[Choices], mask: str, past: bool) -> None:
        self.choices, self.mask, self.past = choices, mask, past
        self.heads = {choice.heads * choice.group for choice in choices}

    def specs(self):
        keys = "past + seq" if self.past else "seq"
        declared = {"x": spec("float32", ["batch", "seq", HIDDEN])}
        if self.mask != "none":
            dtype, shape = MASKS[self.mask]
            heads = max(self.heads) if len(self.heads) == 1 else 1
            declared["mask"] = spec(dtype, [{"keys": keys, "heads": heads}.get(size, size) for size in shape])
        if self.past:
            for index, choice in enumerate(self.choices):
                for part in ("key", "value"):
                    declared[f"past_{part}_{index}"] = spec("float32", ["batch", choice.heads, "past", choice.head_dim])
        return declared

    def __call__(self, x, mask=None, **past):
        self.rng = np.random.default_rng(17)
        outputs = {}
        for index, choice in enumerate(self.choices):
            cache = (past[f"past_key_{index}"], past[f"past_value_{index}"]) if self.past else None
            x, middle, present = self.layer(choice, x, mask, cache)
            outputs |= {f"present_{index}.{n}": part for n, part in enumerate(present)}
            if choice.extra_output:
                outputs[f"middle_{index}"] = middle
        return {"output": x, **outputs}

    def weight(self, *shape):
        return F.as_tensor((self.rng.standard_normal(shape) / np.sqrt(shape[0])).astype(F32))

    def vector(self, size):
        return F.as_tensor(self.rng.uniform(0.5, 1.5, size).astype(F32))

    def linear(self, x, width, bias, flatten=False):
        flat = F.reshape(x, (-1, x.shape[-1])) if flatten else x
        y = F.matmul(flat, self.weight(x.shape[-1], width))
        y = y + self.vector(width) if bias else y
        return F.reshape(y, (*x.shape[:-1], width)) if flatten else y

    def normalise(self, choice, x):
        if choice.norm == "layer":
            return layer_norm(x, self.vector(HIDDEN), self.vector(HIDDEN))
        if choice.norm == "layer without bias":
            return layer_norm(x, self.vector(HIDDEN), epsilon=1e-6)
        if choice.norm == "rms":
            return rms_norm(x, self.vector(HIDDEN), epsilon=1e-6)
        if choice.norm == "by hand":
            centred = x - F.reduce_mean(x, (-1,))
            return centred / F.sqrt(F.reduce_mean(centred**2.0, (-1,)) + 1e-5) * self.vector(HIDDEN) + self.vector(
                HIDDEN
            )
        return x

    def add(self, choice, x, y):
        y = self.disturb(choice, y)
        forms = {"x + f": lambda: x + y, "f + x": lambda: y + x, "scaled": lambda: x * 0.5 + y, "none": lambda: y}
        return forms[choice.residual]()

    def disturb(self, choice, x):
        """What exporters leave behind: nodes that do nothing."""
        if choice.noise == "identity":
            return F.current_trace().emit("Identity", (x,))[0]
        if choice.noise == "cast":
            return F.cast(F.cast(x, "float64"), "float32")
        if choice.noise == "reshape":
            return F.reshape(F.reshape(x, (x.shape[0], x.shape[1] * HIDDEN)), x.shape)
        return F.expand(x, x.shape) if choice.noise == "expand" else x

    def layer(self, choice, x, mask, cache):
        inner = x if choice.place == "post" else self.normalise(choice, x)
        attended, present = self.attend(choice, inner, mask, cache)
        if choice.place == "parallel":
            return self.add(choice, x, attended + self.mlp(choice, inner)), inner, present
        x = self.add(choice, x, attended)
        x = self.normalise(choice, x) if choice.place == "post" else x
        y = self.add(choice, x, self.mlp(choice, x if choice.place == "post" else self.normalise(choice, x)))
        return (self.normalise(choice, y) if choice.place == "post" else y), x, present

    def mlp(self, choice, x):
        activation = get_activation(choice.activation)
        up = self.linear(x, 10, choice.bias, choice.spelling == "flattened")
        gate = self.linear(x, 10, choice.bias) if choice.gated else None
        return self.linear(activation(up) if gate is None else activation(gate) * up, HIDDEN, choice.bias)

    def attend(self, choice, x, mask, cache):
        kv_heads, size = choice.heads, choice.head_dim
        heads = kv_heads * choice.group
        flatten = choice.spelling == "flattened"
        q = split_heads(self.linear(x, heads * size, choice.bias, flatten), heads)
        k, v = (split_heads(self.linear(x, kv_heads * size, choice.bias, flatten), kv_heads) for _ in range(2))
        q, k = self.rotate(choice, q), self.rotate(choice, k)
        if mask is not None and mask.dtype.is_integer:
            mask = F.unsqueeze(F.cast(mask, "bool"), (1, 2))
        if mask is not None and mask.rank == 4 and mask.shape[1] not in (1, heads):
            mask = mask[:, :1]
        present = ()
        if choice.spelling == "definition":
            settings = {"is_causal": int(choice.causal), "scale": choice.scale, "softcap": choice.softcap}
            result = attention(q, k, v, mask, *(cache or ()), **settings)
            if cache:
                result, *present = result
        else:
            past = 0
            if cache:
                past = cache[0].shape[2]
                k, v = (F.concat([old, new], 2) for old, new in zip(cache, (k, v), strict=True))
                present = (k, v)
            result = self.spelt(choice, q, k, v, mask, past)
        return self.linear(merge_heads(result, x.shape[0], x.shape[1]), HIDDEN, choice.bias), present

    def spelt(self, choice, q, k, v, mask, past):
        if choice.group > 1:
            k, v = (self.repeat(part, choice.group) for part in (k, v))
        scale = q.shape[-1] ** -0.5 if choice.scale is None else choice.scale
        if choice.spelling == "split scale":
            scores = F.matmul(q * scale**0.5, F.swap_axes(k * scale**0.5, -1, -2))
        else:
            scores = F.matmul(q, F.swap_axes(k, -1, -2)) * scale
        if choice.softcap:
            scores = F.tanh(scores / choice.softcap) * choice.softcap
        if mask is not None:
            scores = F.where(mask, scores, LOW) if mask.dtype is DType.BOOL else scores + mask
        if choice.causal:
            scores = F.where(causal_keep(q.shape[2], k.shape[2], past), scores, LOW)
        weights = F.softmax(scores)
        if choice.spelling == "guarded":
            weights = F.where(F.current_trace().emit("IsNaN", (weights,))[0], 0.0, weights)
        return F.matmul(weights, v)

    def repeat(self, x, group):
        batch, heads, keys, size = x.shape
        spread = F.expand(F.unsqueeze(x, (2,)), (batch, heads, group, keys, size))
        return F.reshape(spread, (batch, heads * group, keys, size))

    def rotate(self, choice, x):
        """Positions are counted from 0 here: only the rotation matters."""
        if choice.rotary == "none" or choice.head_dim % 2:
            return x
        batch, seq, half = x.shape[0], x.shape[2], choice.head_dim // 2
        ids = F.expand(F.unsqueeze(F.arange(0, seq), (0,)), (batch, seq))
        if choice.rotary == "rotate half":
            frequencies = F.as_tensor(np.geomspace(1.0, 0.01, half).astype(F32))
            angles = F.unsqueeze(F.cast(ids, "float32"), (-1,)) * frequencies
            both = F.concat([angles, angles], -1)
            turned = F.concat([F.negate(x[..., half:]), x[..., :half]], -1)
            return x * F.unsqueeze(F.cos(both), (1,)) + turned * F.unsqueeze(F.sin(both), (1,))
        positions = nn.RotaryPositions(choice.head_dim, max_positions=8, interleaved=choice.rotary == "interleaved")
        return positions(x, ids)


LAYOUTS = ("cpu", "onnx", "heads", "folded", "microsoft")
PIPELINE = optimising()


def check(target_with, same_numbers, choices, mask, past, layout, sizes):
    model = Model(choices, mask, past)
    before = trace(model, name="model", **model.specs())
    target = get_target(layout) if layout in ("cpu", "onnx") else target_with(layout)
    after = copy_graph(before)
    report = PIPELINE.run(after, target)
    verify(after)
    assert all(refusal(node, target) is None for node in after)
    same_numbers(before, after, (sizes,), None, str(report))


ARGUMENTS = {
    "choices": st.lists(layers, min_size=1, max_size=2),
    "mask": st.sampled_from(list(MASKS)),
    "past": st.booleans(),
    "layout": st.sampled_from(LAYOUTS),
    "sizes": st.fixed_dictionaries({name: st.integers(1, 4) for name in ("batch", "seq", "past")}),
}


@given(**ARGUMENTS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_transformer_gives_the_same_numbers(target_with, same_numbers, choices, mask, past, layout, sizes):
    check(target_with, same_numbers, choices, mask, past, layout, sizes)


@pytest.mark.slow
@given(**ARGUMENTS)
@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_many_transformers_give_the_same_numbers(target_with, same_numbers, choices, mask, past, layout, sizes):
    check(target_with, same_numbers, choices, mask, past, layout, sizes)


SOUND = Choices(
    norm="layer", place="pre", heads=2, group=1, head_dim=6, causal=True, softcap=0.0, scale=None, rotary="none",
    activation="gelu", gated=False, bias=True, residual="x + f", spelling="primitives", noise="none",
    extra_output=False,
)  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"noise": "cast"}, {"rotary": "rotate half"}, {"group": 2}], ids=str)
@pytest.mark.parametrize("spelling", ["definition", "primitives", "split scale", "flattened", "guarded"])
def test_an_ordinary_one_is_fused(spelling, changes):
    """So that the property above is not about graphs that nothing happens to."""
    model = Model([replace(SOUND, spelling=spelling, **changes)], "tokens", past=False)
    graph = trace(model, name="model", **model.specs())
    fused = PIPELINE.run(graph, get_target("cpu")).stages[1].result.changes
    assert fused["Attention"] == 1 and fused["LayerNormalization"] == 2 and fused["Gelu"] == 1
    assert fused["RotaryEmbedding"] == (2 if "rotary" in changes else 0)
