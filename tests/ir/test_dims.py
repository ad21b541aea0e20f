"""Dimensions against the integers they stand for: an expression computed with symbols, and the same with numbers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product as combinations
from typing import TypeAlias

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tfgraph.errors import ParseError
from tfgraph.ir.dim_text import as_dim, format_dim, format_shape, parse_dim
from tfgraph.ir.dims import (
    Dim,
    Expr,
    Symbol,
    broadcast_equal,
    exact_div,
    floordiv,
    is_at_least,
    maximum,
    minimum,
    mod,
    product,
    substitute,
    symbol,
    symbols_of,
)

SYMBOLS = ("batch", "past", "seq")
Tree: TypeAlias = "int | str | tuple[str, Tree, Tree]"

leaves = st.one_of(st.integers(-6, 6), st.sampled_from(SYMBOLS))
polynomial_trees = st.recursive(leaves, lambda t: st.tuples(st.sampled_from("+-*"), t, t), max_leaves=6)
trees = st.recursive(
    leaves, lambda t: st.tuples(st.sampled_from(["+", "-", "*", "//", "%", "max", "min"]), t, t), max_leaves=8
)
sizes = st.fixed_dictionaries({name: st.integers(1, 9) for name in SYMBOLS})

ON_DIMS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": floordiv,
    "%": mod,
    "max": maximum,
    "min": minimum,
}
ON_INTEGERS = {**ON_DIMS, "//": int.__floordiv__, "%": int.__mod__, "max": max, "min": min}


def as_symbolic(tree: Tree) -> Dim:
    """The dimension that a tree spells."""
    if isinstance(tree, tuple):
        return ON_DIMS[tree[0]](as_symbolic(tree[1]), as_symbolic(tree[2]))
    return symbol(tree) if isinstance(tree, str) else tree


def as_number(tree: Tree, values: Mapping[str, int]) -> int:
    """What a tree is worth; inputs with a division by zero are not looked at."""
    if isinstance(tree, tuple):
        left, right = as_number(tree[1], values), as_number(tree[2], values)
        assume(right != 0 or tree[0] not in ("//", "%"))
        return ON_INTEGERS[tree[0]](left, right)
    return values[tree] if isinstance(tree, str) else tree


def evaluate(dim: Dim, values: Mapping[str, int]) -> int:
    """What a dimension is worth, computed from its terms and not by `substitute`."""
    if isinstance(dim, int):
        return dim
    total = 0
    for monomial, coefficient in dim.terms:
        for atom in monomial:
            if isinstance(atom, Symbol):
                coefficient *= values[atom.name]
            else:
                left, right = (evaluate(argument, values) for argument in atom.arguments)
                names = {"floordiv": "//", "mod": "%"}
                coefficient *= ON_INTEGERS[names.get(atom.function, atom.function)](left, right)
        total += coefficient
    return total


@given(trees, sizes)
@example(("max", ("//", ("-", 0, "seq"), 2), -1), {"batch": 1, "past": 1, "seq": 1})  # a quotient may be negative
@example(("max", ("min", ("-", 1, "seq"), -3), -4), {"batch": 1, "past": 1, "seq": 9})
def test_an_expression_is_worth_what_the_integers_say(tree: Tree, values: dict[str, int]) -> None:
    expected = as_number(tree, values)
    dim = as_symbolic(tree)
    assert evaluate(dim, values) == expected
    assert substitute(dim, values) == expected


@given(polynomial_trees, polynomial_trees)
def test_polynomials_are_equal_as_objects_exactly_if_they_are_equal_everywhere(left: Tree, right: Tree) -> None:
    a, b = as_symbolic(left), as_symbolic(right)
    grid = [dict(zip(SYMBOLS, point, strict=True)) for point in combinations(range(1, 8), repeat=3)]
    everywhere = all(evaluate(a, point) == evaluate(b, point) for point in grid)  # degree < 7: the grid decides
    assert (a == b) == everywhere
    if everywhere:
        assert hash(a) == hash(b)


@given(trees, trees, trees)
def test_the_laws_of_arithmetic_hold_between_objects(x: Tree, y: Tree, z: Tree) -> None:
    a, b, c = as_symbolic(x), as_symbolic(y), as_symbolic(z)
    assert a + b == b + a
    assert a * b == b * a
    assert (a + b) + c == a + (b + c)
    assert (a * b) * c == a * (b * c)
    assert a * (b + c) == a * b + a * c
    assert a - a == 0
    assert -a == a * -1
    assert maximum(a, b) == maximum(b, a)
    assert minimum(a, b) == minimum(b, a)


@given(polynomial_trees, polynomial_trees)
@example(("-", ("*", "seq", "seq"), 1), ("-", "seq", 1))
def test_a_product_is_divided_exactly_by_its_factors(left: Tree, right: Tree) -> None:
    a, b = as_symbolic(left), as_symbolic(right)
    assume(b != 0)
    assert exact_div(a * b, b) == a


@given(trees, trees)
def test_an_exact_quotient_times_the_divisor_is_the_dividend(left: Tree, right: Tree) -> None:
    a, b = as_symbolic(left), as_symbolic(right)
    quotient = exact_div(a, b)
    if quotient is not None:
        assert quotient * b == a


@pytest.mark.parametrize("dividend", [0, 3, symbol("seq")])
def test_nothing_is_divided_by_zero(dividend: Dim) -> None:
    assert exact_div(dividend, 0) is None


@given(trees, st.integers(-10, 10), sizes)
def test_a_lower_bound_holds_for_all_sizes(tree: Tree, bound: int, values: dict[str, int]) -> None:
    worth = as_number(tree, values)
    if is_at_least(as_symbolic(tree), bound):
        assert worth >= bound


def test_a_lower_bound_is_found_where_it_is_plain() -> None:
    seq, past = symbol("seq"), symbol("past")
    assert is_at_least(past + seq, 2)
    assert not is_at_least(past + seq, 3)
    assert is_at_least(past * seq - 1, 0)
    assert is_at_least(floordiv(seq, 2), 0)
    assert not is_at_least(floordiv(seq, 2), 1)
    assert is_at_least(mod(seq, 8), 0)
    assert is_at_least(maximum(seq - 4, 1), 1)
    assert not is_at_least(seq - past, 0)
    assert not is_at_least(floordiv(-seq, 2), -5)
    assert not is_at_least(floordiv(seq - 3, past), 0)
    assert is_at_least(maximum(seq - 9, -3), -3)
    assert not is_at_least(maximum(seq - 9, -3) * past, -3)


def test_an_extremum_of_an_extremum_and_one_of_its_parts_is_the_inner_one() -> None:
    x, y = symbol("x"), symbol("y")
    assert maximum(maximum(x, y), y) == maximum(y, maximum(x, y)) == maximum(x, y)
    assert minimum(x, minimum(x, y)) == minimum(x, y)
    nested = maximum(x, maximum(y, symbol("z")))
    assert maximum(y, nested) == maximum(maximum(symbol("z"), x), nested) == nested
    assert broadcast_equal(nested, symbol("z")) == symbol("z")
    assert broadcast_equal(maximum(x, y), nested) == maximum(x, y)
    assert broadcast_equal(nested, symbol("w")) is None
    assert broadcast_equal(x, x) is None
    assert broadcast_equal(minimum(x, 64), x) == x == broadcast_equal(x, minimum(64, x))
    assert broadcast_equal(minimum(x, 1), x) is None  # an axis of size 1 broadcasts with all
    assert broadcast_equal(minimum(x, y), x) is None
    assert maximum(minimum(x, y), y) != minimum(x, y)


def test_a_quotient_is_divided_by_dividing_once() -> None:
    x = symbol("x")
    assert floordiv(floordiv(x, 4), 2) == floordiv(x, 8)
    assert floordiv(floordiv(x, 4), -2) != floordiv(x, -8)


def test_an_extremum_that_is_known_is_simplified() -> None:
    seq, past = symbol("seq"), symbol("past")
    assert maximum(past + seq, seq) == past + seq
    assert minimum(past + seq, seq) == seq
    assert maximum(seq, 1) == seq
    assert str(maximum(seq, 4)) == "max(4, seq)"


@given(trees, sizes)
def test_substitution_by_parts_is_substitution_at_once(tree: Tree, values: dict[str, int]) -> None:
    as_number(tree, values)
    dim = as_symbolic(tree)
    first = substitute(dim, {"batch": values["batch"], "past": symbol("seq") * 2})
    assert "batch" not in symbols_of(first)
    assert evaluate(first, values) == evaluate(dim, {**values, "past": 2 * values["seq"]})


@given(st.lists(leaves, max_size=4), sizes)
def test_the_product_of_a_shape_is_its_number_of_elements(shape: list[Tree], values: dict[str, int]) -> None:
    expected = 1
    for size in shape:
        expected *= as_number(size, values)
    assert evaluate(product(as_symbolic(size) for size in shape), values) == expected


@given(trees)
def test_text_reads_back_as_the_same_dimension(tree: Tree) -> None:
    dim = as_symbolic(tree)
    text = format_dim(dim)
    assert parse_dim(text) == dim
    assert format_dim(parse_dim(text)) == text


@given(st.text(max_size=8), st.text(max_size=8))
@example("a`b", "\n")
@example("max", "lambda")
@example("__quoted_0__", "x y")
@example("ﬁ", "fi")  # the parser of Python would read the ligature as two letters
@example('"', "\\")
def test_symbols_of_any_name_read_back(first: str, second: str) -> None:
    dim = 2 * symbol(first) * symbol(second) - symbol(second) + 1
    assert parse_dim(format_dim(dim)) == dim
    assert "\n" not in format_dim(dim)


def test_text_is_spelt_as_people_write_it() -> None:
    batch, past, seq = (symbol(name) for name in SYMBOLS)
    assert format_dim(seq + past) == "past + seq"
    assert format_dim(2 * batch * seq - 1) == "2*batch*seq - 1"
    assert format_dim(-batch + 1) == "-batch + 1"
    assert format_dim(floordiv(seq, 2)) == "floordiv(seq, 2)"
    assert format_dim(symbol("a/b:0")) == "`a/b:0`"
    assert format_shape((batch, 12, past + seq)) == "[batch, 12, past + seq]"
    assert repr(past + seq) == "past + seq"


def test_what_a_user_writes_is_read() -> None:
    seq = symbol("seq")
    assert as_dim(" seq // 2 ") == floordiv(seq, 2)
    assert as_dim("(seq + 1) * 4 - 4") == 4 * seq
    assert as_dim("seq % 8") == mod(seq, 8)
    assert as_dim("`odd name` + 1") == symbol("odd name") + 1
    assert as_dim("7") == as_dim(7) == 7
    assert as_dim(seq) is seq


@pytest.mark.parametrize(
    "text",
    [
        *("", "seq +", "seq ** 2", "f(seq)", "max(seq)", "seq.a", "1.5", "True", "a < b", "a b", "`a", "`\\q`"),
        *("9" * 5000, "(" * 500 + "a" + ")" * 500, "a+" * 5000 + "a", "max(a, b, c=1)"),
    ],
    ids=lambda text: text[:12],
)
def test_what_is_no_dimension_is_refused(text: str) -> None:
    with pytest.raises(ParseError, match="is not a dimension: expected arithmetic such as 'past"):
        parse_dim(text)


def test_whether_a_dimension_is_zero_is_no_question_before_the_model_runs() -> None:
    with pytest.raises(TypeError, match="seq"):
        bool(symbol("seq"))


def test_arithmetic_with_integers_works_from_both_sides() -> None:
    seq = symbol("seq")
    assert 3 + seq == seq + 3
    assert 3 - seq == -(seq - 3)
    assert 2 * seq == seq * 2
    assert 12 // seq == floordiv(12, seq)
    assert seq // 1 == seq
    assert isinstance(seq - seq + 5, int)
    assert isinstance(seq + 0, Expr)
    with pytest.raises(TypeError):
        seq + 0.5
