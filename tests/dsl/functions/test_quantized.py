"""Quantised kernels with constant weights, as they are used, against their definitions: random shapes and contents.

ONNX Runtime prepacks constant weights and rewrites what is around them, so that its optimiser is on here. At
`accuracy_level` 4 its kernels round each block of an activation to int8; the error of that has a bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfgraph.backends.onnx.lower import to_onnx_ir
from tfgraph.backends.onnx.write import to_bytes
from tfgraph.backends.onnxruntime.capabilities import CPU
from tfgraph.backends.onnxruntime.session import Session
from tfgraph.errors import ShapeError
from tfgraph.ir.build import add_array, add_node
from tfgraph.ir.dtypes import as_dtype
from tfgraph.ir.graph import Graph
from tfgraph.ir.interpret import interpret

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)
LEADING = st.sampled_from([(1,), (7,), (1, 1), (2, 5), (3, 1, 2)])
FAST = settings(max_examples=40, deadline=None)


def both(key: str, first: Array, others: list[Array | None], attributes: Mapping[str, Any]) -> tuple[Array, Array]:
    """One operator with a first operand that is an input, and constants: from ONNX Runtime, and from its definition.

    An integer first operand is a constant too, and the indices after it the input.
    """
    graph = Graph("one")
    place = 0 if first.dtype.kind == "f" or first.ndim == 0 or key.endswith("ToFloat") else 1
    arrays = [first, *others]
    values = [
        None
        if array is None
        else graph.add_input("x", as_dtype(array.dtype), array.shape)
        if index == place
        else add_array(graph, array, f"constant_{index}")
        for index, array in enumerate(arrays)
    ]
    graph.set_output("y", add_node(graph, key, values, attributes).output)
    fed = {"x": arrays[place]}
    return Session(to_bytes(to_onnx_ir(graph, CPU))).run(fed)["y"], interpret(graph, fed)["y"]


def bytes_of(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(0, 256, shape).astype(np.uint8)


@given(SEEDS, LEADING, st.integers(1, 70), st.integers(1, 40), st.booleans(), st.booleans())
@FAST
def test_integer_products(seed: int, leading: tuple[int, ...], k: int, n: int, signed: bool, bias: bool) -> None:
    rng = np.random.default_rng(seed)
    weight, zero = bytes_of(rng, k, n), None if signed else bytes_of(rng, n)
    weight = weight.view(np.int8) if signed else weight
    scale, added = rng.random(n, np.float32) + np.float32(0.01), rng.standard_normal(n, np.float32) if bias else None
    x = (rng.standard_normal((*leading, k)) * rng.choice([0, 0.1, 30])).astype(np.float32)
    found, meant = both("com.microsoft::DynamicQuantizeMatMul", x, [weight, scale, zero, added], {})
    np.testing.assert_allclose(found, meant, rtol=1e-5, atol=1e-5 * max(1.0, float(np.abs(meant).max())))
    x_scale, x_zero = np.asarray(0.02, np.float32), bytes_of(rng)
    operands = [weight, x_scale, scale, x_zero, zero, added]
    found, meant = both("com.microsoft::MatMulIntegerToFloat", bytes_of(rng, *leading, k), operands, {})
    np.testing.assert_allclose(found, meant, rtol=1e-5, atol=1e-5 * max(1.0, float(np.abs(meant).max())))


@given(
    SEEDS, LEADING, st.integers(1, 150), st.integers(1, 40), st.sampled_from([2, 4, 8]),
    st.sampled_from([16, 32, 64, 128]), st.booleans(), st.booleans(),
)  # fmt: skip
@FAST
def test_products_with_weights_in_blocks(
    seed: int, leading: tuple[int, ...], k: int, n: int, bits: int, block: int, symmetric: bool, bias: bool
) -> None:
    rng = np.random.default_rng(seed)
    blocks = -(-k // block)
    data, scales = bytes_of(rng, n, blocks, block * bits // 8), rng.standard_normal((n, blocks)).astype(np.float32)
    zeros = None if symmetric else bytes_of(rng, n, -(-blocks * bits // 8))
    added = rng.standard_normal(n).astype(np.float32) if bias else None
    x = rng.standard_normal((*leading, k)).astype(np.float32)
    attributes = {"K": k, "N": n, "bits": bits, "block_size": block}
    key, operands = "com.microsoft::MatMulNBits", [data, scales, zeros, None, added]
    found, meant = both(key, x, operands, attributes)
    np.testing.assert_allclose(found, meant, rtol=1e-4, atol=1e-4 * float(np.abs(meant).max()))
    rounded, _ = both(key, x, operands, {**attributes, "accuracy_level": 4})
    # a block's activations are off by half a step, its largest by 127 steps: |x w - x' w| <= |w| max|x| / 254
    largest = np.abs(x).max(axis=-1, keepdims=True)
    weights = np.abs(scales).sum(axis=1) * block * (2**bits - 1)
    assert np.all(np.abs(rounded - meant) <= largest * weights / 254 + 1e-3)


@given(
    SEEDS, st.integers(1, 20), st.integers(1, 5), st.sampled_from([2, 4, 8]), st.sampled_from([16, 32, 64]),
    st.booleans(), st.booleans(),
)  # fmt: skip
@FAST
def test_look_ups(seed: int, rows: int, blocks: int, bits: int, block: int, symmetric: bool, as_axis: bool) -> None:
    rng = np.random.default_rng(seed)
    shape, scale_shape, zero_shape = (rows, blocks * block * bits // 8), (rows, blocks), (rows, -(-blocks * bits // 8))
    if as_axis:
        shape, scale_shape = (rows, blocks, block * bits // 8), (rows, blocks, 1)
        zero_shape = (rows, blocks, 1)
    zeros = None if symmetric else bytes_of(rng, *zero_shape)
    ids = rng.integers(-rows, rows, rng.integers(1, 4, rng.integers(0, 4)))
    attributes = {"bits": bits, "block_size": block, "gather_axis": 0, "quantize_axis": 2 if as_axis else 1}
    scales = rng.standard_normal(scale_shape).astype(np.float32)
    found, meant = both("com.microsoft::GatherBlockQuantized", bytes_of(rng, *shape), [ids, scales, zeros], attributes)
    assert found.shape == (*ids.shape, *((blocks, block) if as_axis else (blocks * block,)))
    np.testing.assert_allclose(found, meant, rtol=1e-6)


def test_a_table_of_4_bit_elements_and_other_axes() -> None:
    rng = np.random.default_rng(0)
    nibbles = as_dtype("int4").numpy()
    data = rng.integers(-8, 8, (6, 40)).astype(nibbles)
    scales, ids = rng.standard_normal((6, 3)).astype(np.float32), np.array([[5, 0, -1]])
    key = "com.microsoft::GatherBlockQuantized"
    found, meant = both(key, data, [ids, scales], {"block_size": 16})
    np.testing.assert_allclose(found, meant, rtol=1e-6)
    blocks = np.repeat(scales, 16, axis=1)[:, :40]
    np.testing.assert_allclose(meant, (data.astype(np.float32) * blocks)[ids], rtol=1e-6)
    scales = rng.standard_normal((6, 3)).astype(np.float32)
    found, meant = both(key, data, [ids, scales], {"block_size": 16, "gather_axis": 1, "quantize_axis": 1})
    np.testing.assert_allclose(found, meant, rtol=1e-6)


def test_blocks_named_by_an_index() -> None:
    """As GPTQ writes weights whose rows it has reordered."""
    rng = np.random.default_rng(0)
    data, scales = bytes_of(rng, 6, 2, 8), rng.standard_normal((6, 2)).astype(np.float32)
    index, x = np.arange(32, dtype=np.int32)[::-1] // 16, rng.standard_normal((3, 32)).astype(np.float32)
    graph = Graph("one")
    values = [graph.add_input("x", as_dtype("float32"), (3, 32))]
    values += [add_array(graph, array, "c") for array in (data, scales, np.full((6, 1), 0x77, np.uint8), index)]
    attributes = {"K": 32, "N": 6, "block_size": 16}
    graph.set_output("y", add_node(graph, "com.microsoft::MatMulNBits", values, attributes).output)
    numbers = np.stack([data & 15, data >> 4], -1).reshape(6, 32).astype(np.float32)
    meant = x @ ((numbers - 7) * scales[:, index]).T
    np.testing.assert_allclose(interpret(graph, {"x": x})["y"], meant, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [({"bits": 3}, "bits=3: expected 2, 4 or 8"), ({"weight_prepacked": 1}, "layout of one kernel")],
)
def test_weights_that_are_not_read_are_refused(attributes: dict[str, int], message: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 16)).astype(np.float32)
    operands: list[Array | None] = [bytes_of(rng, 4, 1, 8), np.ones((4, 1), np.float32)]
    with pytest.raises(ShapeError, match=message):
        both("com.microsoft::MatMulNBits", x, operands, {"K": 16, "N": 4, "block_size": 16, **attributes})
