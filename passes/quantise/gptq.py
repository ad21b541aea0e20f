"""GPTQ: integers for a weight that keep the product's result, not the weight, close to what it was.

Source: Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", 2022, algorithm 1: the rows of a weight are rounded one after the other, and the error of each is taken
out of those that are still to come, by the inverse of the Hessian of the squared error, `X^T X`. Collecting the Hessian
from calibration text is not done here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from tfgraph.errors import ConfigError
from tfgraph.ir.constant import Array
from tfgraph.passes.quantise.packing import in_blocks, make_weight
from tfgraph.passes.quantise.plan import QuantizedWeight, Scheme
from tfgraph.passes.quantise.weights import check_finite, lopsided_range, nonzero

_LAZY: Final = 128  # rows whose errors are gathered before they are taken out of all later rows by one product
_SHRINKS: Final = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)  # ranges tried, as parts of the whole range
_DAMPINGS: Final = 6  # times that the damping grows tenfold before a Hessian is given up
_SMALL: Final = 64


def gptq(
    matrix: Array, hessian: Array, scheme: Scheme, *, damping: float = 0.01, act_order: bool = False, name: str = ""
) -> QuantizedWeight:
    """The weight `matrix` [K, N] in the integers of `scheme`, with little error in `x @ matrix` for inputs like `X`.

    Args:
        matrix: float32 [K, N], after smoothing if there is any.
        hessian: [K, K], the sum (or mean) of `x^T x` over calibration inputs, after smoothing; better in float64.
        scheme: any; the scales are chosen like those of rounding to nearest, of a part of the range where that loses
            less, each error weighted by the Hessian's diagonal.
        damping: what is added to the diagonal, as a part of its mean.
        act_order: round the rows with the largest inputs first. All scales are then chosen beforehand.
        name: what errors call the weight.

    Raises:
        ConfigError: a Hessian of another size, with numbers that are not finite, or far from positive semidefinite.
        CheckpointError: the weight holds NaN or an infinity.
    """
    features, columns = matrix.shape
    if hessian.shape != (features, features) or not np.isfinite(hessian).all():
        raise ConfigError(
            f"the weight '{name or '?'}' [{features}, {columns}] was given a Hessian {list(hessian.shape)}: expected "
            f"finite numbers [{features}, {features}]; collect it from the inputs of this very product"
        )
    check_finite(matrix, name)
    work = np.array(matrix, np.float32, order="C")
    diagonal = np.diagonal(hessian).astype(np.float64)
    order = np.argsort(-diagonal, kind="stable") if act_order else np.arange(features)
    factor = _inverse_factor(hessian[np.ix_(order, order)], damping, name)
    grid = _Grid.of(scheme, features, columns)
    if act_order or not scheme.block_size:
        grid.fit_all(work, diagonal)
    work = work[order]
    for start in range(0, features, _LAZY):
        stop = min(start + _LAZY, features)
        errors = np.empty((stop - start, columns), np.float32)
        for row in range(start, stop):
            feature = int(order[row])
            if scheme.block_size and not act_order and feature % scheme.block_size == 0:
                end = min(feature + scheme.block_size, features)
                pending = work[feature:end].copy()
                if end > stop:  # errors of this stretch that have not reached the rest of the block yet
                    done = row - start
                    pending[stop - feature :] -= factor[start:row, stop:end].T @ errors[:done]
                grid.fit(feature // scheme.block_size, pending, diagonal[feature:end])
            rounded = grid.assign(feature, work[row])
            error = (work[row] - rounded) / factor[row, row]
            work[row + 1 : stop] -= factor[row, row + 1 : stop, None] * error
            errors[row - start] = error
        work[stop:] -= factor[start:stop, stop:].T @ errors
    return grid.weight()


@dataclass
class _Grid:
    """The integers chosen so far, and the scales and zero points of each column or block.

    `scales` and `zeros` are [groups, N]; there is one group without blocks.
    """

    scheme: Scheme
    shape: tuple[int, int]
    integers: Array  # [K, N]
    scales: Array
    zeros: Array
    lowest: int
    highest: int

    @classmethod
    def of(cls, scheme: Scheme, features: int, columns: int) -> _Grid:
        groups = -(-features // scheme.block_size) if scheme.block_size else 1
        middle = 2 ** (scheme.bits - 1)
        in_bytes = scheme.symmetric and not scheme.block_size
        lowest, highest = (1 - middle, middle - 1) if in_bytes else (0, 2**scheme.bits - 1)
        zeros = np.full((groups, columns), 0 if in_bytes else middle, np.float32)
        integers = np.zeros((features, columns), np.int8 if in_bytes else np.uint8)
        return cls(scheme, (features, columns), integers, np.ones_like(zeros), zeros, lowest, highest)

    def fit_all(self, matrix: Array, weights: Array) -> None:
        """Choose the scales of all groups."""
        size = self.scheme.block_size or self.shape[0]
        for group in range(len(self.scales)):
            self.fit(group, matrix[group * size : (group + 1) * size], weights[group * size : (group + 1) * size])

    def fit(self, group: int, rows: Array, weights: Array) -> None:
        """Choose the scales and zero points of one group from its rows [k, N], whose errors weigh `weights` [k]."""
        bits, symmetric = self.scheme.bits, self.scheme.symmetric
        importance = (weights / max(float(weights.max(initial=0)), 1e-30)).astype(np.float32)[:, None]
        best = np.full(self.shape[1], np.inf, np.float32)
        for shrink in _SHRINKS:
            zeros = self.zeros[group]
            if not symmetric:
                found, offsets = lopsided_range(rows * np.float32(shrink), bits, axis=0)
                scales, zeros = found[0], offsets[0]
            elif self.scheme.block_size:
                furthest = np.take_along_axis(rows, np.abs(rows).argmax(axis=0)[None], axis=0)[0]
                scales = nonzero(furthest * np.float32(-shrink / 2 ** (bits - 1)))
            else:
                scales = nonzero(np.abs(rows).max(axis=0) * np.float32(shrink / self.highest))
            difference = (self._rounded(rows, scales, zeros) - zeros) * scales - rows
            loss = np.sum(difference * difference * importance, axis=0)
            wins = loss < best
            best = np.where(wins, loss, best)
            self.scales[group] = np.where(wins, scales, self.scales[group])
            if not symmetric:
                self.zeros[group] = np.where(wins, zeros, self.zeros[group])

    def _rounded(self, rows: Array, scales: Array, zeros: Array) -> Array:
        integers: Array = np.clip(np.rint(rows / scales) + zeros, self.lowest, self.highest)
        return integers

    def assign(self, feature: int, row: Array) -> Array:
        """Choose the integers of one row [N], keep them, and return what they stand for."""
        group = feature // self.scheme.block_size if self.scheme.block_size else 0
        scales, zeros = self.scales[group], self.zeros[group]
        integers = self._rounded(row, scales, zeros)
        self.integers[feature] = integers.astype(self.integers.dtype)
        result: Array = (integers - zeros) * scales
        return result

    def weight(self) -> QuantizedWeight:
        """All of it in the layout of the scheme."""
        zeros = None if self.scheme.symmetric else np.ascontiguousarray(self.zeros.T).astype(np.uint8)
        scales = np.ascontiguousarray(self.scales.T)
        if not self.scheme.block_size:
            first = None if zeros is None else zeros[:, 0]
            return make_weight(self.integers, scales[:, 0], first, self.scheme, self.shape)
        blocks = in_blocks(np.ascontiguousarray(self.integers.T), self.scheme.block_size)
        return make_weight(blocks, scales, zeros, self.scheme, self.shape)


def _inverse_factor(hessian: Array, damping: float, name: str) -> Array:
    """The upper triangular `U` with `U^T U` the inverse of the damped Hessian, in float32.

    With rows and columns in reverse, a Cholesky factor is an upper triangular `V`, `V V^T` the Hessian, and `U` its
    inverse: the Hessian itself need not be inverted.
    """
    symmetric = (hessian + hessian.T).astype(np.float64) / 2
    places = np.arange(len(symmetric))
    dead = symmetric[places, places] <= 0
    mean = float(symmetric[places, places].mean()) if not dead.all() else 1.0
    symmetric[places[dead], places[dead]] = mean  # a feature that is always 0: its weights are rounded to nearest
    added = damping
    for _ in range(_DAMPINGS):
        damped = symmetric.copy()
        damped[places, places] += max(added, 1e-8) * mean
        try:
            reverse = np.linalg.cholesky(damped[::-1, ::-1])
        except np.linalg.LinAlgError:
            added = max(added, 1e-8) * 10
            continue
        return _inverted(np.ascontiguousarray(reverse[::-1, ::-1])).astype(np.float32)
    raise ConfigError(
        f"the Hessian of the weight '{name or '?'}' is not positive definite, even with {added / 10:.3g} of its mean "
        "added to its diagonal: it must be a sum of x^T x over inputs"
    )


def _inverted(upper: Array) -> Array:
    """The inverse of an upper triangular matrix, by halves: [[A, B], [0, D]] -> [[A', -A' B D'], [0, D']]."""
    size = len(upper)
    if size <= _SMALL:
        inverse: Array = np.triu(np.linalg.inv(upper))
        return inverse
    half = size // 2
    first, last = _inverted(upper[:half, :half]), _inverted(upper[half:, half:])
    result = np.zeros_like(upper)
    result[:half, :half], result[half:, half:] = first, last
    result[:half, half:] = -(first @ (upper[:half, half:] @ last))
    return result
