"""Packing and rounding to nearest: round trips, error bounds, extreme weights, and how little is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfgraph.errors import CheckpointError, ConfigError
from tfgraph.ir.constant import AbsentConstant, ArrayConstant, Derived, constant_key
from tfgraph.ir.dtypes import DType
from tfgraph.passes.quantise.packing import dequantise, in_blocks, make_weight, pack, unpack
from tfgraph.passes.quantise.plan import Scheme
from tfgraph.passes.quantise.weights import quantise_array, round_to_nearest, scale_rows

Array = np.ndarray[Any, Any]
SCHEMES = [
    *(Scheme("dynamic", bits, 0, symmetric) for bits in (7, 8) for symmetric in (True, False)),
    *(Scheme("weight_only", bits, 32, symmetric) for bits in (2, 4, 8) for symmetric in (True, False)),
    Scheme("static"),
]


def steps_of(weight: Any, scheme: Scheme) -> Array:
    """The distance of neighbouring integers for each element [K, N]."""
    scales = np.abs(weight.scales.numpy())
    features, columns = weight.shape
    if not scheme.block_size:
        return np.broadcast_to(scales, (features, columns))
    return np.repeat(scales, scheme.block_size, axis=1)[:, :features].T


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 4, 8]), st.integers(1, 70), st.integers(1, 5))
def test_packing_is_undone(seed: int, bits: int, count: int, rows: int) -> None:
    integers = np.random.default_rng(seed).integers(0, 2**bits, (rows, count)).astype(np.uint8)
    packed = pack(integers, bits)
    assert packed.shape == (rows, -(-count * bits // 8))
    np.testing.assert_array_equal(unpack(packed, bits, count), integers)


def test_the_first_integer_is_in_the_lowest_bits() -> None:
    assert pack(np.array([[1, 2, 3]], np.uint8), 4).tolist() == [[0x21, 0x03]]
    assert pack(np.array([[1, 2, 3, 0, 1]], np.uint8), 2).tolist() == [[0b00_11_10_01, 0b01]]
    assert in_blocks(np.ones((2, 5), np.float32), 4)[0].tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@given(seed=st.integers(0, 2**32 - 1), features=st.integers(1, 80), columns=st.integers(1, 9), size=st.integers(-6, 6))
@settings(max_examples=25, deadline=None)
def test_no_element_is_off_by_more_than_a_step(
    scheme: Scheme, seed: int, features: int, columns: int, size: int
) -> None:
    matrix = (np.random.default_rng(seed).standard_normal((features, columns)) * 10.0**size).astype(np.float32)
    weight = round_to_nearest(ArrayConstant(matrix), scheme)
    error = np.abs(dequantise(weight) - matrix)
    exact = 0.5 if not scheme.block_size and scheme.symmetric else 1.0  # clipped, or with a zero point that is rounded
    steps = steps_of(weight, scheme)
    if scheme.block_size and not scheme.symmetric:  # the fitted scale may clip one end further, for the sum's sake
        assert np.sqrt(np.mean(error**2)) <= np.sqrt(np.mean(steps**2)) * 0.75
    else:
        assert np.all(error <= steps * (exact + 1e-3))


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_zero_columns_and_blocks_stay_zero(scheme: Scheme) -> None:
    matrix = np.random.default_rng(1).standard_normal((70, 6)).astype(np.float32)
    matrix[:, 2], matrix[32:64, 4] = 0, 0
    matrix[:, 5] = 1e-44  # smaller than what a scale can be divided by
    weight = round_to_nearest(ArrayConstant(matrix), scheme)
    found = dequantise(weight)
    assert np.all(found[:, 2] == 0)
    assert np.all(np.abs(found[:, 5]) <= 1e-43)
    assert np.all(np.isfinite(weight.scales.numpy()))
    if scheme.block_size:
        assert np.all(found[32:64, 4] == 0)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_equal_elements_and_one_sided_columns(scheme: Scheme) -> None:
    matrix = np.full((33, 3), 0.7, np.float32) * np.array([1, -1, 3], np.float32)
    np.testing.assert_allclose(dequantise(round_to_nearest(ArrayConstant(matrix), scheme)), matrix, rtol=2e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("scheme", SCHEMES[::3], ids=str)
def test_weights_that_are_not_finite_are_refused(bad: float, scheme: Scheme) -> None:
    matrix = np.ones((40, 5), np.float32)
    matrix[39, 4] = bad
    weight = round_to_nearest(ArrayConstant(matrix), scheme, "layer.3.up")
    with pytest.raises(CheckpointError, match=r"'layer\.3\.up': 1 of 200 elements"):
        weight.data.numpy()


def test_nothing_is_read_before_it_is_needed_and_equal_weights_are_known_as_such() -> None:
    reads: list[int] = []

    def read() -> Array:
        reads.append(1)
        return np.ones((64, 4), np.float32)

    matrix = Derived(read, [], ("counted",), DType.FLOAT32, (64, 4))
    first, second = (round_to_nearest(matrix, Scheme("weight_only", 4, 32, False)) for _ in range(2))
    other = round_to_nearest(matrix, Scheme("weight_only", 4, 16, False))
    assert not reads
    assert constant_key(first.data) == constant_key(second.data)
    assert constant_key(first.data) != constant_key(other.data)
    assert constant_key(first.scales) != constant_key(first.zero_points)
    assert first.zero_points is not None
    sizes = (first.data.numpy().nbytes, first.scales.numpy().nbytes, first.zero_points.numpy().nbytes)
    assert sum(sizes) == first.nbytes == 4 * 2 * 16 + 4 * 2 * 4 + 4
    assert not round_to_nearest(AbsentConstant(DType.FLOAT32, (4, 4)), Scheme("dynamic")).data.has_data


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.random.default_rng(1).standard_normal((50, 13)).astype(np.float32)
    for scheme in SCHEMES:
        whole = quantise_array(matrix, scheme)
        with monkeypatch.context() as patch:
            patch.setattr("tfgraph.passes.quantise.weights._CHUNK", 130)
            for part, expected in zip(quantise_array(matrix, scheme), whole, strict=True):
                np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_that_are_in_blocks_already_are_kept(bits: int) -> None:
    """As a file in llama.cpp's format Q4_0 holds them: 32 integers around 8 times a scale."""
    rng = np.random.default_rng(1)
    integers = rng.integers(0, 2**bits, (6, 3, 32)).astype(np.uint8)
    integers[..., 0] = 0  # the furthest from the zero point, by which the scale was chosen
    scales = (rng.standard_normal((6, 3)) * 0.01).astype(np.float16).astype(np.float32)
    scheme = Scheme("weight_only", bits, 32)
    matrix = dequantise(make_weight(integers, scales, None, scheme, (96, 6)))
    again = round_to_nearest(ArrayConstant(matrix), scheme)
    np.testing.assert_array_equal(unpack(again.data.numpy(), bits, 32), integers)
    np.testing.assert_allclose(dequantise(again), matrix, rtol=1e-6)


def test_lopsided_blocks_with_whole_zero_points_are_kept() -> None:
    rng = np.random.default_rng(1)
    integers = rng.integers(0, 16, (6, 3, 32)).astype(np.uint8)
    integers[..., 0], integers[..., 1] = 0, 15
    zeros, scales = rng.integers(0, 16, (6, 3)).astype(np.uint8), rng.random((6, 3)).astype(np.float32) + 0.1
    scheme = Scheme("weight_only", 4, 32, symmetric=False)
    matrix = dequantise(make_weight(integers, scales, zeros, scheme, (96, 6)))
    np.testing.assert_allclose(dequantise(round_to_nearest(ArrayConstant(matrix), scheme)), matrix, atol=1e-5)


def test_lopsided_blocks_lose_no_more_than_the_zero_points_rounding_forces() -> None:
    """A block of 16 levels from any minimum (llama.cpp's Q4_1): the zero point is off by half a step at most."""
    rng = np.random.default_rng(1)
    levels = rng.integers(0, 16, (50, 8, 32))
    levels[..., 0], levels[..., 1] = 0, 15
    step = rng.random((50, 8, 1)) * 0.01 + 0.01
    lowest = -step * rng.uniform(4, 11, (50, 8, 1))
    matrix = (levels * step + lowest).reshape(50, 256).T.astype(np.float32)
    found = dequantise(round_to_nearest(ArrayConstant(matrix), Scheme("weight_only", 4, 32, symmetric=False)))
    forced = np.abs(np.rint(lowest / step) * step - lowest)
    assert np.sqrt(np.mean((found - matrix) ** 2)) <= np.sqrt(np.mean(forced**2))


def test_rows_are_scaled_when_they_are_read() -> None:
    matrix, factors = np.ones((3, 2), np.float32), np.array([1, 2, 4], np.float32)
    scaled = scale_rows(ArrayConstant(matrix), factors)
    np.testing.assert_array_equal(scaled.numpy(), [[1, 1], [2, 2], [4, 4]])
    for wrong in (factors[:2], factors * 0, factors * np.inf):
        with pytest.raises(ConfigError, match="expected 3 finite factors above 0"):
            scale_rows(ArrayConstant(matrix), wrong)


def test_what_is_no_float32_matrix_is_refused() -> None:
    for array in (np.ones(4, np.float32), np.ones((4, 4), np.float16)):
        with pytest.raises(ConfigError, match="expected a float32 matrix"):
            round_to_nearest(ArrayConstant(array), Scheme("dynamic"))
