"""Einsum: sums of products by an equation such as `bhqd,bhkd->bhqk`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfgraph.errors import ShapeError
from tfgraph.ir.constant import Array
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Dim, Shape
from tfgraph.ir.dtypes import DType
from tfgraph.ir.ops.arithmetic import in_float32
from tfgraph.ir.ops.rules import agree, broadcast_shapes, merge
from tfgraph.ir.optable import REQUIRED, Operands
from tfgraph.ir.primitive import NUMBERS, primitive


def parse_equation(equation: str) -> tuple[list[str], str]:
    """The terms of the operands and of the result, without spaces, an ellipsis written `.`.

    Without `->` the result has the letters that come once, in alphabetical order, after the ellipsis if there is one.

    Raises:
        ShapeError: not an equation of letters, commas and ellipses.
    """
    text = equation.replace(" ", "").replace("...", ".")
    operands, arrow, result = text.partition("->")
    terms = operands.split(",")
    for term in (*terms, result):
        if term.count(".") > 1 or not all(letter.isalpha() or letter == "." for letter in term):
            raise ShapeError(f"Einsum was given the equation {equation!r}: expected letters, such as 'ij,jk->ik'")
    if not arrow:
        letters = "".join(terms).replace(".", "")
        result = "." * ("." in text) + "".join(sorted(letter for letter in letters if letters.count(letter) == 1))
    unknown = set(result) - set("".join(terms))
    if unknown or len(set(result)) != len(result):
        raise ShapeError(f"Einsum was given the equation {equation!r}: the result repeats or invents a letter")
    return terms, result


def _einsum_shape(given: Operands) -> Shape:
    equation = given.attributes["equation"]
    terms, result = parse_equation(equation)
    shapes = [given.shape(index) for index in range(len(given.types))]
    what = f"Einsum {equation!r} of {', '.join(map(format_shape, shapes))}"
    if len(terms) != len(shapes):
        raise ShapeError(f"{what}: the equation has {len(terms)} terms for {len(shapes)} operands")
    sizes: dict[str, Dim] = {}
    batch: Shape = ()
    for term, shape in zip(terms, shapes, strict=True):
        rest = len(shape) - len(term.replace(".", ""))
        if rest < 0 or (rest > 0 and "." not in term):
            raise ShapeError(f"{what}: the term {term.replace('.', '...')!r} does not have the rank of its operand")
        before = term.find(".") if "." in term else len(term)
        batch = broadcast_shapes(batch, shape[before : before + rest], key=what)
        for letter, dim in zip(term.replace(".", ""), shape[:before] + shape[before + rest :], strict=True):
            known = sizes.setdefault(letter, dim)
            if known == 1 and dim != 1:
                sizes[letter] = dim
            elif dim != 1 and not agree(known, dim):
                raise ShapeError(f"{what}: {letter!r} is {known} in one operand and {dim} in another")
            elif dim != 1:
                sizes[letter] = merge(known, dim)
    dims: list[Dim] = []
    for letter in result:
        dims.extend(batch if letter == "." else (sizes[letter],))
    return tuple(dims)


def _einsum(*operands: Array, equation: str) -> Any:
    return np.asarray(np.einsum(equation.replace(" ", ""), *operands)).astype(operands[0].dtype)


primitive(
    "Einsum", "Inputs*:T -> Output:T", shape=_einsum_shape, reference=in_float32(_einsum), since=12,
    attributes={"equation": REQUIRED}, T=NUMBERS - {DType.BFLOAT16},
)  # fmt: skip
