"""Every composite operator's definition against ONNX Runtime's own kernel for it, on CPU, its optimiser off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import tfgraph.dsl.functions  # noqa: F401  (fills the table)
from tfgraph.ir.interpret import evaluate
from tfgraph.ir.optable import all_specs, get_spec

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(7)
B, S, T, H, K, D, P = 2, 3, 5, 4, 2, 6, 4  # batch, queries, keys, heads, key heads, head size, past


def floats(*shape: int, dtype: str = "float32", scale: float = 1.0) -> Array:
    return (RNG.standard_normal(shape) * scale).astype(dtype)


@dataclass
class Case:
    key: str
    arrays: list[Array | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    wanted: tuple[int, ...] = (0,)
    note: str = ""

    def __str__(self) -> str:
        return f"{self.key.rpartition('::')[2]}-{self.note or self.attributes}"


def activation_cases(dtype: str) -> list[Case]:
    x, bias = floats(B, S, 7, dtype=dtype, scale=3), floats(7, dtype=dtype)
    return [
        Case("Gelu", [x], {}, note=f"{dtype}-exact"),
        Case("Gelu", [x], {"approximate": "tanh"}, note=f"{dtype}-tanh"),
        Case("com.microsoft::Gelu", [x], note=dtype),
        Case("com.microsoft::BiasGelu", [x, bias], note=dtype),
        Case("com.microsoft::FastGelu", [x], note=dtype),
        Case("com.microsoft::FastGelu", [x, bias], note=f"{dtype}-bias"),
        Case("com.microsoft::QuickGelu", [x], note=dtype),
        Case("com.microsoft::QuickGelu", [x], {"alpha": 1.0}, note=f"{dtype}-silu"),
        Case("Swish", [x], note=dtype),
        Case("Swish", [x], {"alpha": 1.5}, note=f"{dtype}-alpha"),
    ]


def norm_cases(dtype: str) -> list[Case]:
    x, skip = floats(B, S, 8, dtype=dtype), floats(B, S, 8, dtype=dtype)
    gamma, beta, bias = (floats(8, dtype=dtype) for _ in range(3))
    plane, plane_bias = floats(S, 8, dtype=dtype), floats(S, 8, dtype=dtype)
    layer, rms = "com.microsoft::SkipLayerNormalization", "com.microsoft::SkipSimplifiedLayerNormalization"
    return [
        Case("LayerNormalization", [x, gamma, beta], {"epsilon": 1e-3}, note=f"{dtype}-epsilon"),
        Case("LayerNormalization", [x, gamma], note=f"{dtype}-no-bias"),
        Case("LayerNormalization", [x, plane, plane_bias], {"axis": 1}, note=f"{dtype}-two-axes"),
        Case("RMSNormalization", [x, gamma], {"epsilon": 1e-3}, note=f"{dtype}-epsilon"),
        Case("RMSNormalization", [x, plane], {"axis": -2}, note=f"{dtype}-two-axes"),
        Case("SimplifiedLayerNormalization", [x, gamma], {"epsilon": 1e-3}, note=dtype),
        Case(layer, [x, skip, gamma, beta, bias], wanted=(0, 3), note=f"{dtype}-all"),
        Case(layer, [x, skip, gamma, beta], {"epsilon": 1e-3}, wanted=(0, 3), note=f"{dtype}-no-bias"),
        Case(layer, [x, skip, gamma], wanted=(0,), note=f"{dtype}-gamma-only"),
        Case(rms, [x, skip, gamma, bias], wanted=(0, 3), note=f"{dtype}-all"),
        Case(rms, [x, skip, gamma], {"epsilon": 1e-3}, wanted=(0, 3), note=f"{dtype}-no-bias"),
    ]


def rotary_cases() -> list[Case]:
    heads, folded = floats(B, H, S, 8), floats(B, S, H * 8)
    ids = np.array([[0, 1, 2], [3, 5, 4]], np.int64)
    angles = RNG.uniform(0, 6, (7, 4)).astype(np.float32)
    cos, sin = np.cos(angles), np.sin(angles)
    given = [cos[ids], sin[ids]]
    return [
        Case("RotaryEmbedding", [heads, cos, sin, ids], note="halves"),
        Case("RotaryEmbedding", [heads, cos, sin, ids], {"interleaved": 1}, note="interleaved"),
        Case("RotaryEmbedding", [heads, *given], note="halves-no-ids"),
        Case("RotaryEmbedding", [heads, *given], {"interleaved": 1}, note="interleaved-no-ids"),
        Case("RotaryEmbedding", [folded, cos, sin, ids], {"num_heads": H}, note="folded"),
        Case("RotaryEmbedding", [folded, cos, sin, ids], {"num_heads": H, "interleaved": 1}, note="folded-interleaved"),
        *(
            Case(
                "RotaryEmbedding",
                [heads, cos[:, :2], sin[:, :2], ids],
                {"rotary_embedding_dim": 4, "interleaved": interleaved},
                note=f"part-interleaved={interleaved}",
            )
            for interleaved in (0, 1)
        ),
    ]


def attention_cases() -> list[Case]:
    q, k, v = floats(B, H, S, D), floats(B, H, T, D), floats(B, H, T, D)
    shared_k, shared_v = floats(B, K, T, D), floats(B, K, T, D)
    past_k, past_v = floats(B, K, P, D), floats(B, K, P, D)
    new_k, new_v = floats(B, K, S, D), floats(B, K, S, D)
    keep = RNG.random((B, 1, S, T)) < 0.7
    keep[..., 0] = True
    padding = np.array([1, 1, 0, 1, 0], bool).reshape(1, 1, 1, T).repeat(B, 0)
    padding[1] = [[[0, 0, 1, 1, 1]]]
    bias = floats(B, H, S, T)
    cases = [
        Case("Attention", [q, k, v], note="plain"),
        Case("Attention", [q, k, v], {"scale": 0.3}, note="scale"),
        Case("Attention", [q, k, v], {"softcap": 1.5}, note="softcap"),
        Case("Attention", [q, k, v, bias], {"softcap": 1.5}, note="softcap-bias"),
        Case("Attention", [q, k, v, keep], note="bool"),
        Case("Attention", [q, k, v, padding.repeat(S, 2)], note="padding"),
        Case("Attention", [q, k, v, keep[0, 0]], note="bool-rank-2"),
        Case("Attention", [q, k, v, bias], note="bias"),
        Case("Attention", [q, k, v, bias[:1, :1]], note="bias-broadcast"),
        Case("Attention", [q, k, v], {"is_causal": 1}, note="causal"),
        Case("Attention", [q, k, v, keep], {"is_causal": 1}, note="causal-bool"),
        Case("Attention", [q, k, v, bias], {"is_causal": 1}, note="causal-bias"),
        Case("Attention", [q, shared_k, shared_v], note="grouped"),
        Case("Attention", [q, shared_k[:, :1], shared_v[:, :1]], {"is_causal": 1}, note="one-key-head"),
        Case("Attention", [q, k, floats(B, H, T, 3)], note="value-size"),
        Case("Attention", [q[:, :, :1], k, v, bias[:, :, :1]], note="one-query"),
        Case("Attention", [q, k, v], {"softmax_precision": 1}, note="softmax-precision"),
    ]
    cases += [
        Case("Attention", [q, new_k, new_v, None, past_k, past_v], {"is_causal": c}, (0, 1, 2), f"past-causal={c}")
        for c in (0, 1)
    ]
    past_bias = floats(B, 1, S, P + S)
    cases.append(Case("Attention", [q, new_k, new_v, past_bias, past_k, past_v], {}, (0, 1, 2), "past-bias"))
    heads = {"q_num_heads": H, "kv_num_heads": K}
    folded = [floats(B, S, H * D), floats(B, T, K * D), floats(B, T, K * D)]
    cases.append(Case("Attention", [*folded], {**heads, "is_causal": 1}, note="folded"))
    new = [floats(B, S, H * D), floats(B, S, K * D), floats(B, S, K * D)]
    cases.append(Case("Attention", [*new, None, past_k, past_v], heads, (0, 1, 2), "folded-past"))
    return cases


def multi_head_cases() -> list[Case]:
    key = "com.microsoft::MultiHeadAttention"
    q, k, v = floats(B, S, H * D), floats(B, T, H * D), floats(B, T, H * D)
    bias, added = floats(3 * H * D), floats(B, H, S, T)
    padding = np.array([[1, 1, 0, 1, 0], [0, 0, 1, 1, 1]], np.int32)
    per_query = np.repeat(padding[:, None], S, 1)
    past = [floats(B, H, P, D), floats(B, H, P, D)]
    new = [floats(B, S, H * D), floats(B, S, H * D)]
    heads = {"num_heads": H}
    return [
        Case(key, [q, k, v], heads, note="plain"),
        Case(key, [q, k, v, bias], heads, note="bias"),
        Case(key, [q, k, v, None, padding], heads, note="padding"),
        Case(key, [q, k, v, None, padding], {**heads, "mask_filter_value": -3.0}, note="filter-value"),
        Case(key, [q, k, v, None, per_query], heads, note="padding-per-query"),
        Case(key, [q, k, v, None, np.array([2, 5], np.int32)], heads, note="lengths"),
        Case(key, [q, k, v, None, None, added], {**heads, "scale": 0.2}, note="attention-bias"),
        Case(key, [q, k, v, bias, padding, added[:1, :1]], heads, note="everything"),
        Case(key, [q, *new], {**heads, "unidirectional": 1}, note="causal"),
        Case(key, [q, *new, None, None, None, *past], heads, (0, 1, 2), "past"),
        Case(key, [q, *new, bias, None, None, *past], {**heads, "unidirectional": 1}, (0, 1, 2), "past-causal"),
    ]


def packed_cases() -> list[Case]:
    key = "com.microsoft::Attention"
    x, w, b = floats(B, T, 8), floats(8, 3 * H * D, scale=0.4), floats(3 * H * D)
    padding = np.array([[1, 1, 0, 1, 0], [0, 0, 1, 1, 1]], np.int32)
    past = floats(2, B, H, P, D)
    heads = {"num_heads": H}
    return [
        Case(key, [x, w, b], heads, note="plain"),
        Case(key, [x, w, b, padding], heads, note="padding"),
        Case(key, [x, w, b, np.array([2, 5], np.int32)], heads, note="lengths"),
        Case(key, [x, w, b, np.repeat(padding[:, None], T, 1)], heads, note="padding-per-query"),
        Case(key, [x, w, b, None, None, floats(B, H, T, T)], heads, note="attention-bias"),
        Case(key, [x, w, b], {**heads, "unidirectional": 1, "scale": 0.3}, note="causal"),
        Case(key, [x, w, b, None, past], {**heads, "unidirectional": 1}, (0, 1), "past"),
    ]


def grouped_cases() -> list[Case]:
    """Over a cache that is full with the new keys, so that all of it is defined; in float32 alone, the kernel's own."""
    key, size, capacity = "com.microsoft::GroupQueryAttention", 16, P + S
    angles = RNG.uniform(0, 6, (capacity, size // 2)).astype(np.float32)
    tables = [np.cos(angles), np.sin(angles)]
    heads = {"num_heads": H, "kv_num_heads": K}

    def operands(rows: int, past: int, seq: int, packed: bool = False) -> list[Array | None]:
        widths = (H * size, K * size, K * size)
        projected = [floats(rows, seq, width) for width in widths]
        wide = [np.concatenate(projected, -1), None, None]
        cache = [floats(rows, K, past + seq, size) for _ in range(2)]
        counts = [np.full(rows, past + seq - 1, np.int32), np.asarray(past + seq, np.int32)]
        return [*(wide if packed else projected), *cache, *counts]

    rotary = {**heads, "do_rotary": 1}
    every = (0, 1, 2)
    return [
        Case(key, operands(B, 0, S), heads, every, note="prompts"),
        Case(key, operands(1, P, S), heads, every, note="more-of-one-prompt"),
        Case(key, operands(B, P, 1), heads, every, note="a-step"),
        Case(key, operands(B, P, 1, packed=True), heads, every, note="packed"),
        Case(key, [*operands(B, P, 1), *tables], rotary, every, note="rotary"),
        Case(key, [*operands(1, P, S, packed=True), *tables], rotary, every, note="rotary-packed"),
        Case(key, [*operands(B, P, 1), *tables], {**rotary, "rotary_interleaved": 1}, every, note="interleaved"),
        Case(key, operands(1, P, S), {**heads, "local_window_size": 3}, every, note="window"),
        Case(key, operands(1, P, S), {**heads, "softcap": 2.0, "scale": 0.5}, every, note="softcap"),
    ]


def integers(dtype: str, *shape: int) -> Array:
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max + 1, shape).astype(dtype)


def quantized_cases() -> list[Case]:
    x, scale, bias = floats(B, S, 17), np.abs(floats(5)) + 0.1, floats(5)
    signed, unsigned, zeros = integers("int8", 17, 5), integers("uint8", 17, 5), integers("uint8", 5)
    x_scale, x_zero = np.asarray(0.03, np.float32), np.asarray(131, np.uint8)
    dynamic, to_float = "com.microsoft::DynamicQuantizeMatMul", "com.microsoft::MatMulIntegerToFloat"
    nbits, gather = "com.microsoft::MatMulNBits", "com.microsoft::GatherBlockQuantized"
    cases = [
        Case(dynamic, [x, signed, scale], note="signed"),
        Case(dynamic, [x, signed, scale, None, bias], note="bias"),
        Case(dynamic, [x, unsigned, scale, zeros, bias], note="zero-points"),
        Case(dynamic, [np.zeros_like(x), signed, scale], note="zeros"),
        Case(to_float, [integers("uint8", B, S, 17), signed, x_scale, scale], note="no-zero-points"),
        Case(to_float, [integers("uint8", 3, 17), unsigned, x_scale, scale, x_zero, zeros, bias], note="everything"),
        Case(gather, [integers("uint8", 9, 3, 16), np.array([[0, -1], [8, 3]]), floats(9, 3, 1)],
             {"block_size": 32, "quantize_axis": 2}, note="blocks-as-an-axis"),
    ]  # fmt: skip
    for bits in (2, 4, 8):
        packed, blocks = integers("uint8", 5, 2, 16 * bits // 8), floats(5, 2)
        zero = integers("uint8", 5, -(-2 * bits // 8))
        settings = {"K": 17, "N": 5, "block_size": 16, "bits": bits}
        cases.append(Case(nbits, [x, packed, blocks], settings, note=f"{bits}-symmetric"))
        cases.append(Case(nbits, [x, packed, blocks, zero, None, bias], settings, note=f"{bits}-asymmetric"))
        rows, ids = integers("uint8", 9, 48 * bits // 8), np.array([[0, 8], [-9, 3]])
        zero = integers("uint8", 9, -(-2 * bits // 8))
        attributes = {"bits": bits, "block_size": 32}
        cases.append(Case(gather, [rows, ids, floats(9, 2)], attributes, note=f"{bits}-symmetric"))
        cases.append(Case(gather, [rows, ids, floats(9, 2), zero], attributes, note=f"{bits}-asymmetric"))
    packed, blocks, settings = integers("uint8", 5, 2, 8), floats(10), {"K": 17, "N": 5, "block_size": 16}
    cases.append(Case(nbits, [x, packed, blocks, floats(5, 2)], settings, note="float-zero-points"))
    return cases


CASES = [
    *activation_cases("float32"),
    *activation_cases("float16"),
    *norm_cases("float32"),
    *norm_cases("float16"),
    *rotary_cases(),
    *attention_cases(),
    *multi_head_cases(),
    *packed_cases(),
    *grouped_cases(),
    *quantized_cases(),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_definition_computes_what_the_kernel_does(
    case: Case, kernel: Callable[..., tuple[Array, ...]], close: Callable[..., None]
) -> None:
    expected = kernel(case.key, case.arrays, case.attributes, case.wanted)
    results = evaluate(get_spec(case.key), case.arrays, case.attributes, max(case.wanted) + 1)
    for index, wanted in zip(case.wanted, expected, strict=True):
        close(results[index], wanted, f"result {index}")


def test_every_composite_has_a_case() -> None:
    composites = {spec.key for spec in all_specs() if spec.body is not None and spec.domain != "tfgraph"}
    assert composites == {case.key for case in CASES}
