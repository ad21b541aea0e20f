"""Slice, Split and Pad against ONNX Runtime."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.ir.dims import substitute, symbol
from tfgraph.ir.interpret import evaluate
from tfgraph.ir.ops.slicing import sliced_length
from tfgraph.ir.optable import get_spec

X = np.arange(40, dtype=np.float32).reshape(2, 4, 5)
V = np.array([5, 6, 7, 8, 9], dtype=np.int64)
HUGE = 2**63 - 1


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


CASES = [
    ("Slice", (X, ints(1), ints(3)), {}),
    ("Slice", (X, ints(1, 0), ints(3, 4)), {}),
    ("Slice", (X, ints(1), ints(HUGE), ints(1)), {}),
    ("Slice", (X, ints(-2), ints(HUGE), ints(-1)), {}),
    ("Slice", (X, ints(0), ints(-1), ints(2)), {}),
    ("Slice", (X, ints(-1), ints(-HUGE), ints(2), ints(-1)), {}),
    ("Slice", (X, ints(4, 0), ints(0, 9), ints(2, 1), ints(-2, 3)), {}),
    ("Slice", (X, ints(3), ints(1), ints(2)), {}),
    ("Slice", (X, ints(-1), ints(-3), ints(2), ints(-1)), {}),
    ("Slice", (X, ints(1).astype(np.int32), ints(2).astype(np.int32), ints(1).astype(np.int32)), {}),
    ("Slice", (X, ints(-9), ints(-9), ints(1), ints(-1)), {}),
    ("Slice", (X, ints(9), ints(-9), ints(1), ints(-3)), {}),
    ("Slice", (X[:, :0], ints(-1), ints(-9), ints(1), ints(-1)), {}),
    ("Slice", (V, ints(1), ints(4)), {}),
    ("Slice", (V, ints(-9), ints(-9), ints(0), ints(-2)), {}),
    ("Slice", (V, ints(-1), ints(-HUGE), ints(0), ints(-1)), {}),
    ("Slice", (V, ints(-2), ints(HUGE)), {}),
    ("Split", (X, ints(1, 3)), {"axis": 1}),
    ("Split", (X, ints(2, 0, 3)), {"axis": -1}),
    ("Split", (X,), {"axis": 2, "num_outputs": 3}),
    ("Split", (X,), {"num_outputs": 2}),
    ("Split", (V, ints(2, 3)), {}),
    ("Pad", (X, ints(0, 1, 0, 0, 0, 2)), {}),
    ("Pad", (X, ints(0, 1, 0, 0, 0, 2), np.float32(7)), {}),
    ("Pad", (X, ints(1, 2), np.float32(-1), ints(2)), {}),
    ("Pad", (X, ints(0, 1, 0, 0, 1, 2)), {"mode": "reflect"}),
    ("Pad", (X, ints(0, 1, 0, 0, 1, 2)), {"mode": "edge"}),
    ("Pad", (X, ints(0, 1, 1, 0, 1, 2)), {"mode": "wrap"}),
    ("Pad", (X, ints(0, -1, 1, 0, 0, -2)), {}),
    ("Pad", (X.astype(np.float16), ints(0, 1, 0, 0, 0, 2), np.float16(3)), {}),
    ("Pad", (X.astype(ml_dtypes.bfloat16), ints(0, 1, 0, 0, 0, 2)), {}, "none"),
    ("Pad", (V, ints(1, 1), np.int64(4)), {}),
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)


bounds = st.one_of(st.integers(-12, 12), st.sampled_from([HUGE, -HUGE, 2**31 - 1, -(2**31)]))


@given(size=st.integers(1, 9), start=bounds, end=bounds, step=st.sampled_from([1, 1, 2, 3, -1, -2]))
def test_slices_have_the_length_that_is_told(size, start, end, step):
    (sliced,) = evaluate(get_spec("Slice"), [np.arange(size), *map(ints, (start, end, 0, step))], {})
    length = sliced_length(symbol("n"), start, end, step)
    if length is not None:
        assert substitute(length, {"n": size}) == len(sliced)
    assert sliced_length(size, start, end, step) == len(sliced)


def test_slices_whose_length_only_the_run_tells():
    n, m = symbol("n"), symbol("m")
    assert sliced_length(n, m - 3, HUGE, 1) is None
    assert sliced_length(n, 5, 1, -1) is None


@pytest.mark.parametrize("end", [10**9, 2**31 - 1, HUGE])
def test_what_exporters_write_for_to_the_end(end):
    assert sliced_length(symbol("n"), 0, end, 1) == symbol("n")
    assert sliced_length(symbol("n"), 0, 10**8, 1) != symbol("n")


@given(past=st.integers(0, 5), new=st.integers(1, 5))
def test_slices_by_symbols(past, new):
    sizes = {"past": past, "new": new}
    total = symbol("past") + symbol("new")
    tail = sliced_length(total, -symbol("new"), HUGE, 1)
    after = sliced_length(total, symbol("past"), total, 1)
    head = sliced_length(8, 0, symbol("new"), 1)
    assert tail == after == symbol("new")
    assert head is not None
    assert substitute(head, sizes) == new
