"""Arithmetic of two or more operands that broadcast: Add, Sub, Mul, Div, Mod, Pow, Max, Min, Sum, Mean.

Operators of one operand are in `unary.py`, those of true and false in `logic.py`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tfgraph.errors import DTypeError
from tfgraph.ir import dims
from tfgraph.ir.constant import Array
from tfgraph.ir.dims import Dim, Shape
from tfgraph.ir.ops.arithmetic import in_float32, is_float, silent
from tfgraph.ir.ops.contents import each
from tfgraph.ir.ops.rules import at_least, broadcast, divide
from tfgraph.ir.optable import Operands
from tfgraph.ir.primitive import FLOATS, NUMBERS, UNSIGNED, WIDE_NUMBERS, primitive


def _mod_shape(given: Operands) -> Shape:
    if given.dtype(0).is_float and not given.attributes["fmod"]:
        raise DTypeError(f"Mod of {given.dtype(0)} is defined only with fmod=1: set it, or cast to an integer type")
    return broadcast(given)


def _mod_content(given: Operands) -> tuple[Dim, ...] | None:
    return each(functools.partial(_mod_dim, bool(given.attributes["fmod"])))(given)


def _mod_dim(truncated: bool, left: Dim, right: Dim) -> Dim | None:
    if isinstance(left, int) and isinstance(right, int):
        if not right:
            return None
        remainder = abs(left) % abs(right) if truncated else left % right
        return -remainder if truncated and left < 0 else remainder
    return dims.mod(left, right) if at_least(left, 0) and at_least(right, 0) else None


@silent
def _div(left: Array, right: Array) -> Any:
    """Floats: `left / right`. Integers: the quotient truncated toward zero, as ONNX has it (numpy rounds it down)."""
    if is_float(left):
        return np.divide(left, right)
    quotient = np.floor_divide(left, right)
    if left.dtype.kind == "u":
        return quotient
    inexact = quotient * right != left
    return quotient + (inexact & ((left < 0) != (right < 0))).astype(left.dtype)


@silent
def _mod(left: Array, right: Array, *, fmod: int) -> Any:
    return np.fmod(left, right) if fmod else np.mod(left, right)


@silent
def _pow(base: Array, exponent: Array) -> Any:
    """`base` to the `exponent`, in the dtype of the base: integers truncate after a fractional or negative exponent."""
    integral = base.dtype.kind in "iu"
    if integral and (is_float(exponent) or bool(np.any(exponent < 0))):
        return np.power(base.astype(np.float64), exponent.astype(np.float64)).astype(base.dtype)
    return np.power(base, exponent.astype(base.dtype))


def _sum(*operands: Array) -> Any:
    return functools.reduce(np.add, operands)


def _mean(*operands: Array) -> Any:
    return (_sum(*operands) / len(operands)).astype(operands[0].dtype)


def _max(*operands: Array) -> Any:
    return functools.reduce(np.maximum, operands)


def _min(*operands: Array) -> Any:
    return functools.reduce(np.minimum, operands)


def _fold(function: Any) -> Any:
    return lambda *elements: functools.reduce(function, elements)


primitive(
    "Add", "A:T B:T -> C:T", shape=broadcast, reference=silent(in_float32(np.add)), since=7,
    content=each(lambda left, right: left + right), commutative=True, elementwise=True, T=NUMBERS,
)  # fmt: skip
primitive(
    "Sub", "A:T B:T -> C:T", shape=broadcast, reference=silent(in_float32(np.subtract)), since=7,
    content=each(lambda left, right: left - right), elementwise=True, T=NUMBERS,
)  # fmt: skip
primitive(
    "Mul", "A:T B:T -> C:T", shape=broadcast, reference=silent(in_float32(np.multiply)), since=7,
    content=each(lambda left, right: left * right), commutative=True, elementwise=True, T=NUMBERS,
)  # fmt: skip
primitive(
    "Div", "A:T B:T -> C:T", shape=broadcast, reference=in_float32(_div), since=7,
    content=each(divide), elementwise=True, T=NUMBERS,
)  # fmt: skip
primitive(
    "Mod", "A:T B:T -> C:T", shape=_mod_shape, reference=in_float32(_mod), since=10,
    content=_mod_content, attributes={"fmod": 0}, elementwise=True, T=NUMBERS,
)  # fmt: skip
primitive(
    "Pow", "X:T Y:U -> Z:T", shape=broadcast, reference=in_float32(_pow), since=12,
    elementwise=True, T=WIDE_NUMBERS - UNSIGNED, U=NUMBERS,
)  # fmt: skip
primitive(
    "Max", "data_0*:T -> max:T", shape=broadcast, reference=in_float32(_max), since=12,
    content=each(_fold(dims.maximum)), commutative=True, elementwise=True, T=NUMBERS,
)  # fmt: skip
primitive(
    "Min", "data_0*:T -> min:T", shape=broadcast, reference=in_float32(_min), since=12,
    content=each(_fold(dims.minimum)), commutative=True, elementwise=True, T=NUMBERS,
)  # fmt: skip
primitive(
    "Sum", "data_0*:T -> sum:T", shape=broadcast, reference=in_float32(_sum), since=8,
    commutative=True, elementwise=True, T=FLOATS,
)  # fmt: skip
primitive(
    "Mean", "data_0*:T -> mean:T", shape=broadcast, reference=in_float32(_mean), since=8,
    commutative=True, elementwise=True, T=FLOATS,
)  # fmt: skip
