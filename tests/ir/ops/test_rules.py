"""Broadcasting, axes, and what can be told about dimensions that are not known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.errors import ShapeError
from tfgraph.ir.dims import maximum, minimum, substitute, symbol
from tfgraph.ir.ops.rules import at_least, broadcast_shapes, divide, known_sizes, normalize_axes, normalize_axis

b, s, t = symbol("b"), symbol("s"), symbol("t")


@pytest.mark.parametrize(
    "shapes, expected",
    [
        ([(2, 3), (2, 3)], (2, 3)),
        ([(2, 3), (3,)], (2, 3)),
        ([(1, 3), (2, 1)], (2, 3)),
        ([(), (4,)], (4,)),
        ([], ()),
        ([(b, s), (1, s)], (b, s)),
        ([(b, 1), (s,)], (b, s)),
        ([(b, 5), (b, s)], (b, 5)),
        ([(0,), (1,)], (0,)),
        ([(2, 1), (1, 3), (5, 1, 1)], (5, 2, 3)),
        ([(minimum(512, s),), (s,)], (s,)),
        ([(s,), (minimum(s, 512),)], (s,)),
        ([(s + 1,), (t + 2,)], (maximum(s + 1, t + 2),)),
        ([(2 * s,), (t,)], (maximum(2 * s, t),)),
    ],
)
def test_broadcast_shapes(shapes, expected):
    assert broadcast_shapes(*shapes) == expected


@given(st.tuples(*[st.sampled_from([1, 3]) for _ in range(2)]))
def test_two_symbols_give_the_size_that_numpy_gives(sizes):
    (dim,) = broadcast_shapes((s,), (t,))
    assert substitute(dim, {"s": sizes[0], "t": sizes[1]}) == np.broadcast_shapes(sizes[:1], sizes[1:])[0]


def test_shapes_that_do_not_broadcast():
    with pytest.raises(ShapeError, match=r"Add cannot broadcast \[b, 3\] with \[4\]: axis -1 is 3 in one and 4 in the"):
        broadcast_shapes((b, 3), (4,), key="Add")


def test_axes():
    assert normalize_axis("Softmax", -1, 3) == 2
    assert normalize_axes("Squeeze", (-1, 0), 3) == (2, 0)
    with pytest.raises(ShapeError, match="Softmax was given axis 3 of a tensor of rank 3: expected an axis from -3 to"):
        normalize_axis("Softmax", 3, 3)
    with pytest.raises(ShapeError, match="no axis, since a scalar has none"):
        normalize_axis("Softmax", 0, 0)
    with pytest.raises(ShapeError, match=r"\[0, -3\] of a tensor of rank 3: an axis comes twice"):
        normalize_axes("Squeeze", (0, -3), 3)


@pytest.mark.parametrize(
    "dim, bound, told",
    [
        (3, 3, True),
        (2, 3, False),
        (s, 0, True),
        (s, 1, False),  # the length of an empty cache is 0
        (s + 1, 1, True),
        (s - 1, 0, False),
        (2 * s + t, 0, True),
        (s - t, 0, False),
        ((s - 3) // 2, 0, False),
        (s // 2, 0, True),
        (symbol("s") % 3, 0, True),
    ],
)
def test_at_least(dim, bound, told):
    assert at_least(dim, bound) is told


def test_sizes_of_a_run_are_integers():
    assert known_sizes("Conv", (2, 3)) == (2, 3)
    with pytest.raises(ShapeError, match="Conv is run with the size s: expected an integer"):
        known_sizes("Conv", (2, s))


def test_division_truncates_toward_zero():
    for left, right in itertools.product((-7, -6, 0, 6, 7), (-3, 2, 3)):
        assert divide(left, right) == int(left / right)
    assert divide(6 * s, 2) == 3 * s
    assert divide(s, 2) == s // 2
    assert divide(s - 3, 2) is None
    assert divide(s, 0) is None
