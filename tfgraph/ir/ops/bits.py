"""Bits of integers: BitShift, BitwiseAnd, BitwiseOr, BitwiseXor, BitwiseNot."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfgraph.errors import DTypeError
from tfgraph.ir.constant import Array
from tfgraph.ir.dims import Shape
from tfgraph.ir.ops.rules import broadcast, same
from tfgraph.ir.optable import REQUIRED, Operands
from tfgraph.ir.primitive import INTEGERS, UNSIGNED, primitive


def _shift_shape(given: Operands) -> Shape:
    direction = given.attributes["direction"]
    if direction not in ("LEFT", "RIGHT"):
        raise DTypeError(f"BitShift was given direction={direction!r}: expected 'LEFT' or 'RIGHT'")
    return broadcast(given)


def _shift(array: Array, amount: Array, *, direction: str) -> Any:
    return np.left_shift(array, amount) if direction == "LEFT" else np.right_shift(array, amount)


primitive(
    "BitShift", "X:T Y:T -> Z:T", shape=_shift_shape, reference=_shift, since=11,
    attributes={"direction": REQUIRED}, elementwise=True, T=UNSIGNED,
)  # fmt: skip
primitive(
    "BitwiseAnd", "A:T B:T -> C:T", shape=broadcast, reference=np.bitwise_and, since=18,
    commutative=True, elementwise=True, T=INTEGERS,
)  # fmt: skip
primitive(
    "BitwiseOr", "A:T B:T -> C:T", shape=broadcast, reference=np.bitwise_or, since=18,
    commutative=True, elementwise=True, T=INTEGERS,
)  # fmt: skip
primitive(
    "BitwiseXor", "A:T B:T -> C:T", shape=broadcast, reference=np.bitwise_xor, since=18,
    commutative=True, elementwise=True, T=INTEGERS,
)  # fmt: skip
primitive("BitwiseNot", "X:T -> Y:T", shape=same, reference=np.invert, since=18, elementwise=True, T=INTEGERS)
