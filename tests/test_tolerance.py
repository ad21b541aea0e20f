"""How errors are measured: relative to the reference, and infinite where results cannot be compared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tfgraph.ir.dtypes import DType
from tfgraph.tolerance import TOLERANCE, relative_error

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("result", "reference", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.5], [1.0, 2.0], 0.25),  # relative to the largest magnitude, 2
        ([0.1], [0.0], 0.1),  # relative to 1 where everything is smaller
        ([10.0, 0.0], [0.0, -100.0], 1.0),
        ([NAN, 1.0], [NAN, 1.0], 0.0),
        ([INF, 1.0], [INF, 1.5], 0.5 / 1.5),
        ([-INF], [-INF], 0.0),
        ([], [], 0.0),
        ([1.0], [NAN], INF),
        ([NAN], [1.0], INF),
        ([INF], [-INF], INF),
        ([INF, 1.0], [2.0, 1.0], INF),
        ([NAN], [INF], INF),
    ],
)
def test_error(result, reference, error):
    found = relative_error(np.array(result, np.float32), np.array(reference, np.float32))
    assert found == pytest.approx(error, rel=1e-6)


def test_other_shapes_are_infinitely_far_apart():
    assert relative_error(np.zeros((2, 3)), np.zeros((3, 2))) == INF
    assert relative_error(np.zeros(1), np.zeros(())) == INF


def test_integers_and_booleans():
    assert relative_error(np.array([3, 4]), np.array([3, 5])) == pytest.approx(0.2)
    assert relative_error(np.array([True]), np.array([False])) == 1.0
    assert relative_error(np.array([True, False]), np.array([True, False])) == 0.0


@given(
    arrays.arrays(np.float32, arrays.array_shapes(max_dims=3), elements=st.floats(-1000, 1000, width=32)),
    st.floats(1e-4, 10),
)
def test_one_element_that_is_off_is_found(reference, offset):
    result = reference.astype(np.float64)
    result.flat[-1] += offset
    scale = max(1.0, float(np.abs(reference).max()))
    assert relative_error(result, reference) == pytest.approx(offset / scale, rel=1e-6)
    assert relative_error(reference, reference) == 0.0


def test_the_table_allows_more_for_coarser_types():
    allowed = [TOLERANCE[dtype] for dtype in (DType.FLOAT64, DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16)]
    assert allowed == sorted(allowed) and allowed[1] == 1e-5
    assert DType.INT64 not in TOLERANCE
