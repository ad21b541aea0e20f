"""Transposing a matrix from memory to memory, faster than numpy's own copy of a transposed view does it.

numpy copies one element at a time. Here elements move 16 bytes at a time as far as they can: first whole units of a
row, in tiles that stay in a processor's cache, then the elements within a unit.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tfgraph.ir.constant import Array

UNIT_BYTES: Final = 16
_UNIT: Final = np.dtype(np.complex128)  # the widest element that numpy copies as a whole; its bits are never looked at
_TILE_ROWS: Final = 256  # of the source: with 64 units that is 256 KB
_TILE_UNITS: Final = 64


def transpose_into(source: Array, out: Array) -> None:
    """Write the transpose of `source` [R, C] into `out` [C, R], of the same dtype.

    The elements of a row must be contiguous in both; the rows need not be. It is fast where C is a multiple of 16 bytes
    and `source` is aligned to them, and right anyway.
    """
    source, out = _as_bits(source), _as_bits(out)
    rows, columns = source.shape
    per_unit = UNIT_BYTES // source.itemsize
    if columns % per_unit or source.strides[0] % UNIT_BYTES or source.ctypes.data % UNIT_BYTES or per_unit == 1:
        for start in range(0, rows, _TILE_ROWS):
            out[:, start : start + _TILE_ROWS] = source[start : start + _TILE_ROWS].T
        return
    units = source.view(_UNIT)  # [R, U]
    tile = np.empty((_TILE_UNITS, _TILE_ROWS), _UNIT)
    for left in range(0, units.shape[1], _TILE_UNITS):
        for top in range(0, rows, _TILE_ROWS):
            block = units[top : top + _TILE_ROWS, left : left + _TILE_UNITS].T  # [u, r]
            turned = tile[: len(block), : block.shape[1]]
            np.copyto(turned, block)
            elements = turned.view(source.dtype).reshape(*block.shape, per_unit)  # [u, r, e]
            rows_out = out[left * per_unit : (left + len(block)) * per_unit, top : top + block.shape[1]]
            np.copyto(_split_rows(rows_out, per_unit), elements.transpose(0, 2, 1))


def _as_bits(array: Array) -> Array:
    """The same memory as unsigned integers: numpy copies those of any size fast, and other packages' floats not."""
    return array.view(np.dtype(f"u{array.itemsize}"))


def _split_rows(array: Array, count: int) -> Array:
    """[N * count, M] -> [N, count, M], never a copy."""
    height, width = array.shape
    step, inner = array.strides
    return np.lib.stride_tricks.as_strided(array, (height // count, count, width), (step * count, step, inner))
