"""GPTQ and HQQ against rounding to nearest: smaller errors, right layouts, refusals, time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfgraph.errors import CheckpointError, ConfigError
from tfgraph.ir.constant import ArrayConstant
from tfgraph.passes.quantise.gptq import _inverse_factor, gptq
from tfgraph.passes.quantise.hqq import fit_groups, hqq
from tfgraph.passes.quantise.packing import dequantise
from tfgraph.passes.quantise.plan import Scheme
from tfgraph.passes.quantise.weights import round_to_nearest

Array = np.ndarray[Any, Any]
SCHEMES = [
    Scheme("dynamic"), Scheme("dynamic", 7), Scheme("dynamic", symmetric=False),
    *(Scheme("weight_only", bits, 32, symmetric) for bits in (2, 4, 8) for symmetric in (True, False)),
    Scheme("weight_only", 4, 128, False), Scheme("weight_only", 4, 256), Scheme("static"),
]  # fmt: skip


def correlated(features: int, rows: int, seed: int = 0) -> Array:
    """Inputs of which a quarter says nearly all, as those of a network do."""
    rng = np.random.default_rng(seed)
    few = rng.standard_normal((rows, max(1, features // 4)))
    mixed = few @ rng.standard_normal((few.shape[1], features)) + 0.2 * rng.standard_normal((rows, features))
    return (mixed * np.exp(0.5 * rng.standard_normal(features))).astype(np.float32)


def heavy_tailed(features: int, columns: int, seed: int = 0) -> Array:
    return (np.random.default_rng(seed).standard_t(4, (features, columns)) * 0.02).astype(np.float32)


def hessian_of(x: Array) -> Array:
    wide = x.astype(np.float64)
    return wide.T @ wide


def output_error(x: Array, matrix: Array, weight: Any) -> float:
    return float(np.linalg.norm(x @ (dequantise(weight) - matrix)) / np.linalg.norm(x @ matrix))


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_gptq_keeps_the_product_better_than_rounding_to_nearest(scheme: Scheme, act_order: bool) -> None:
    features, columns = 150, 21  # no multiple of a block, nor of the rows whose errors are gathered
    matrix, x = heavy_tailed(features, columns), correlated(features, 600)
    weight = gptq(matrix, hessian_of(x), scheme, act_order=act_order)
    assert weight.fits(scheme, (features, columns))
    nearest = output_error(x, matrix, round_to_nearest(ArrayConstant(matrix), scheme))
    assert output_error(x, matrix, weight) < 0.75 * nearest


@pytest.mark.parametrize("scheme", SCHEMES[:5], ids=str)
def test_with_independent_inputs_gptq_is_no_worse(scheme: Scheme) -> None:
    matrix = heavy_tailed(96, 16)
    weight = gptq(matrix, np.eye(96) * 100, scheme)
    nearest = dequantise(round_to_nearest(ArrayConstant(matrix), scheme))
    assert np.linalg.norm(dequantise(weight) - matrix) <= np.linalg.norm(nearest - matrix) * 1.05


def test_errors_reach_blocks_that_begin_before_they_are_taken_out() -> None:
    """Blocks of 256 span two stretches of rows; their scales must be those of the rows as they will be."""
    matrix, x = heavy_tailed(512, 8), correlated(512, 900)
    scheme = Scheme("weight_only", 4, 256, False)
    nearest = output_error(x, matrix, round_to_nearest(ArrayConstant(matrix), scheme))
    assert output_error(x, matrix, gptq(matrix, hessian_of(x), scheme)) < 0.6 * nearest


@pytest.mark.parametrize("act_order", [False, True])
def test_features_that_are_always_zero_do_no_harm(act_order: bool) -> None:
    matrix, x = heavy_tailed(64, 5), correlated(64, 300)
    x[:, [0, 17, 63]] = 0
    weight = gptq(matrix, hessian_of(x), Scheme("weight_only", 8, 32), act_order=act_order)
    assert np.abs(dequantise(weight) - matrix).max() < 0.05 * np.abs(matrix).max()
    everything = gptq(matrix, np.zeros((64, 64)), Scheme("dynamic"))
    assert np.isfinite(dequantise(everything)).all()


def test_fewer_inputs_than_features_are_enough() -> None:
    matrix, x = heavy_tailed(96, 5), correlated(96, 10)
    weight = gptq(matrix, hessian_of(x), Scheme("weight_only", 4, 32))
    assert output_error(x, matrix, weight) < 0.1


def test_the_factor_is_that_of_the_inverse() -> None:
    hessian = hessian_of(correlated(150, 600))
    mean = np.diagonal(hessian).mean()
    factor = _inverse_factor(hessian, 0.01, "").astype(np.float64)
    assert np.all(np.tril(factor, -1) == 0)
    damped = hessian + 0.01 * mean * np.eye(150)
    np.testing.assert_allclose(factor.T @ factor @ damped, np.eye(150), atol=1e-3)


def test_hessians_that_are_none_are_refused() -> None:
    matrix = heavy_tailed(16, 4)
    scheme = Scheme("dynamic")
    with pytest.raises(ConfigError, match=r"'up' \[16, 4\] was given a Hessian \[8, 8\]: expected .* \[16, 16\]"):
        gptq(matrix, np.eye(8), scheme, name="up")
    with pytest.raises(ConfigError, match="expected finite numbers"):
        gptq(matrix, np.full((16, 16), np.nan), scheme)
    indefinite = np.ones((16, 16)) * 1e9 - np.eye(16) * (1e9 - 1)
    with pytest.raises(ConfigError, match="not positive definite"):
        gptq(matrix, -indefinite + 2 * np.eye(16), scheme, name="up")


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_hqq_has_the_smaller_norm_of_errors(scheme: Scheme) -> None:
    matrix = heavy_tailed(150, 40)
    weight = hqq(ArrayConstant(matrix), scheme)
    assert weight.fits(scheme, (150, 40))
    nearest = dequantise(round_to_nearest(ArrayConstant(matrix), scheme))
    ours, theirs = (np.sum(np.abs(found - matrix) ** 0.7) for found in (dequantise(weight), nearest))
    assert ours <= theirs * 1.001
    if scheme.bits <= 4:
        assert ours < 0.99 * theirs


def test_hqq_keeps_zeros_and_reads_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = heavy_tailed(70, 9)
    matrix[:, 2], matrix[32:64, 4] = 0, 0
    for scheme in SCHEMES:
        whole = hqq(ArrayConstant(matrix), scheme)
        assert np.all(dequantise(whole)[:, 2] == 0)
        with monkeypatch.context() as patch:
            patch.setattr("tfgraph.passes.quantise.hqq._CHUNK", 150)
            np.testing.assert_array_equal(dequantise(hqq(ArrayConstant(matrix), scheme)), dequantise(whole))


def test_one_outlier_does_not_set_the_scale_of_hqq() -> None:
    groups = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 1, 64).copy()
    groups[0, 0, 5] = 3.0
    _, scale, _ = fit_groups(groups, Scheme("weight_only", 4, 64))
    assert np.abs(scale[0, 0]) < 3.0 / 8


@pytest.mark.parametrize("method", ["gptq", "hqq"])
def test_weights_that_are_not_finite_are_refused(method: str) -> None:
    matrix = heavy_tailed(16, 4)
    matrix[3, 1] = np.nan
    scheme = Scheme("dynamic")
    with pytest.raises(CheckpointError, match="'up': 1 of 64"):
        _ = (
            gptq(matrix, np.eye(16), scheme, name="up")
            if method == "gptq"
            else hqq(ArrayConstant(matrix), scheme, "up")
        )
