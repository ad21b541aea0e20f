"""Cast and CastLike: every pair of dtypes that has a rule of its own."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tfgraph.ir.ops.cast import cast_array

X = np.array([[-2.7, -0.5, 0.0], [0.5, 2.5, 100.25]], dtype=np.float32)
LARGE = np.array([1e6, -1e6, 500.0, 3.3], dtype=np.float32)
N = np.array([-3, 0, 300], dtype=np.int64)
BOOLS = np.array([True, False])
FLOAT8 = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")

CASES = [
    *[("Cast", (X,), {"to": to}) for to in ("float16", "float64", "bfloat16", "int32", "int64", "int8", "bool")],
    *[("Cast", (N,), {"to": to}) for to in ("float32", "float16", "int32", "bool", "uint8", "int8", "int64")],
    *[("Cast", (BOOLS,), {"to": to}) for to in ("float32", "int64", "int32", "uint8", "bool")],
    *[("Cast", (X.astype(np.float16),), {"to": to}) for to in ("float32", "int64", "bfloat16", "bool")],
    *[("Cast", (X.astype(ml_dtypes.bfloat16),), {"to": to}) for to in ("float32", "float16", "int64")],
    *[("Cast", (LARGE,), {"to": to}) for to in FLOAT8],
    *[("Cast", (LARGE,), {"to": to, "saturate": 0}) for to in FLOAT8],
    *[("Cast", (X.astype(getattr(ml_dtypes, name)),), {"to": "float32"}) for name in FLOAT8],
    ("Cast", (N.astype(np.int32),), {"to": "int64"}),
    ("Cast", (np.array([-9, 7, 8], dtype=np.int8),), {"to": "int4"}, "none"),
    ("Cast", (np.array([1, 15, 17], dtype=np.uint8),), {"to": "uint4"}, "none"),
    ("CastLike", (X, N), {}),
    ("CastLike", (N, X), {}),
    ("CastLike", (LARGE, np.zeros(1, dtype=ml_dtypes.float8_e4m3fn)), {}),
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)


def test_casts_to_4_bits_keep_the_low_bits():
    wide = np.array([-9, -8, 7, 8, 17], dtype=np.int32)
    assert cast_array(wide, "int4").astype(np.int32).tolist() == [7, -8, 7, -8, 1]
    assert cast_array(wide, "uint4").astype(np.int32).tolist() == [7, 8, 7, 8, 1]


@pytest.mark.parametrize("name", FLOAT8)
def test_saturation_keeps_nan(name):
    result = cast_array(np.array([np.nan, np.inf], dtype=np.float32), name).astype(np.float32)
    assert np.isnan(result[0])
    assert np.isfinite(result[1])


def test_text_is_read_and_written():
    text = cast_array(np.array([[1, 2]]), "string")
    assert text.tolist() == [["1", "2"]]
    assert cast_array(text, "float32").tolist() == [[1.0, 2.0]]
    assert cast_array(text, "int64").tolist() == [[1, 2]]
