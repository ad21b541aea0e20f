"""Quantising and back, per tensor, per axis and in blocks, against ONNX Runtime."""

from __future__ import annotations

import ml_dtypes
import numpy as np

RNG = np.random.default_rng(15)
X = (RNG.standard_normal((3, 8)) * 4).astype(np.float32)
SCALE = np.float32(0.05)
ROWS = np.array([0.1, 0.05, 0.02], dtype=np.float32)
ROW_ZERO = np.array([3, -2, 0], dtype=np.int8)
BLOCKS = np.abs(RNG.standard_normal((3, 2))).astype(np.float32)
BLOCK_ZERO = RNG.integers(-3, 3, (3, 2)).astype(np.int8)
BYTES = RNG.integers(-128, 127, (3, 8)).astype(np.int8)
INT4 = np.arange(-8, 8).reshape(2, 8).astype(ml_dtypes.int4)
UINT4 = np.arange(16).reshape(2, 8).astype(ml_dtypes.uint4)
FLOAT8 = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")

CASES = [
    ("QuantizeLinear", (X, SCALE), {}),
    ("QuantizeLinear", (X, SCALE, np.uint8(128)), {}),
    ("QuantizeLinear", (X, SCALE, np.int8(-5)), {}),
    ("QuantizeLinear", (X, SCALE, np.int16(7)), {}),
    ("QuantizeLinear", (X, SCALE, np.uint16(32768)), {}),
    ("QuantizeLinear", (X, SCALE), {"output_dtype": "int8"}),
    ("QuantizeLinear", (X, ROWS, ROW_ZERO), {"axis": 0}),
    ("QuantizeLinear", (X, BLOCKS, BLOCK_ZERO), {"axis": 1, "block_size": 4}),
    ("QuantizeLinear", (X, BLOCKS, BLOCK_ZERO), {"axis": -1, "block_size": 4}),
    ("QuantizeLinear", (X.astype(np.float16), np.float16(0.05), np.int8(1)), {}),
    ("QuantizeLinear", (X, np.float32(0.5), np.array(1, dtype=ml_dtypes.int4)), {}),
    ("QuantizeLinear", (X, np.float32(0.5)), {"output_dtype": "uint4"}),
    *[("QuantizeLinear", (X, np.float32(0.01)), {"output_dtype": name}) for name in FLOAT8],
    ("QuantizeLinear", (X, SCALE), {"output_dtype": "int8", "precision": "float16"}, "onnx"),
    ("DequantizeLinear", (BYTES, SCALE), {}),
    ("DequantizeLinear", (BYTES, SCALE, np.int8(5)), {}),
    ("DequantizeLinear", (BYTES.astype(np.uint8), SCALE, np.uint8(128)), {}),
    ("DequantizeLinear", (BYTES.astype(np.int32), SCALE), {}),
    ("DequantizeLinear", (BYTES, ROWS, ROW_ZERO), {"axis": 0}),
    ("DequantizeLinear", (BYTES, BLOCKS, BLOCK_ZERO), {"axis": 1, "block_size": 4}),
    ("DequantizeLinear", (BYTES, np.float16(0.5), np.int8(5)), {}),
    ("DequantizeLinear", (BYTES, SCALE, np.int8(5)), {"output_dtype": "float16"}, "onnx"),
    ("DequantizeLinear", (INT4, np.float32(0.5)), {}),
    ("DequantizeLinear", (UINT4, np.float32(0.5), np.array(8, dtype=ml_dtypes.uint4)), {}),
    *[("DequantizeLinear", (X.astype(getattr(ml_dtypes, name)), SCALE), {}) for name in FLOAT8],
    ("DynamicQuantizeLinear", (X,), {}),
    ("DynamicQuantizeLinear", (np.abs(X),), {}),
    ("DynamicQuantizeLinear", (-np.abs(X) - 1,), {}),
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)
