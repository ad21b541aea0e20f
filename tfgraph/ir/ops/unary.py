"""Functions of one operand, element by element: Neg, Abs, Sqrt, Exp, Log, Erf, rounding, trigonometry, Identity.

Activations of neural networks are in `activation.py`, Cast in `cast.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfgraph.ir.constant import Array
from tfgraph.ir.dims import Dim
from tfgraph.ir.ops.arithmetic import in_float32, silent
from tfgraph.ir.ops.contents import each, keep
from tfgraph.ir.ops.erf import erf
from tfgraph.ir.ops.rules import at_least, same
from tfgraph.ir.optable import Reference
from tfgraph.ir.primitive import FLOATS, NUMBERS, SIGNED, primitive


def _abs_dim(element: Dim) -> Dim | None:
    return element if at_least(element, 0) else -element if at_least(-element, 0) else None


@silent
def _sign(array: Array) -> Any:
    return np.sign(array)


def _identity(array: Array) -> Array:
    return array


@silent
def _reciprocal(array: Array) -> Any:
    return np.divide(array.dtype.type(1), array)


def _declare(name: str, reference: Reference, since: int, signature: str = "input:T -> output:T") -> None:
    """A function of floats."""
    rounded = silent(in_float32(reference))
    primitive(name, signature, shape=same, reference=rounded, since=since, elementwise=True, T=FLOATS)


primitive(
    "Neg", "X:T -> Y:T", shape=same, reference=silent(in_float32(np.negative)), since=6,
    content=each(lambda element: -element), elementwise=True, T=FLOATS | SIGNED,
)  # fmt: skip
primitive(
    "Abs", "X:T -> Y:T", shape=same, reference=silent(in_float32(np.abs)), since=6,
    content=each(_abs_dim), elementwise=True, T=NUMBERS,
)  # fmt: skip
primitive("Sign", "input:T -> output:T", shape=same, reference=in_float32(_sign), since=9, elementwise=True, T=NUMBERS)
primitive("Identity", "input:V -> output:V", shape=same, reference=_identity, since=1, content=keep, elementwise=True)

_declare("Sqrt", np.sqrt, 6, "X:T -> Y:T")
_declare("Reciprocal", _reciprocal, 6, "X:T -> Y:T")
_declare("Exp", np.exp, 6)
_declare("Log", np.log, 6)
_declare("Erf", erf, 9)
_declare("Floor", np.floor, 6, "X:T -> Y:T")
_declare("Ceil", np.ceil, 6, "X:T -> Y:T")
_declare("Round", np.rint, 11, "X:T -> Y:T")  # halves go to the even neighbour
_declare("Sin", np.sin, 7)
_declare("Cos", np.cos, 7)
_declare("Tan", np.tan, 7)
_declare("Asin", np.arcsin, 7)
_declare("Acos", np.arccos, 7)
_declare("Atan", np.arctan, 7)
_declare("Sinh", np.sinh, 9)
_declare("Cosh", np.cosh, 9)
_declare("Tanh", np.tanh, 6)
_declare("Asinh", np.arcsinh, 9)
_declare("Acosh", np.arccosh, 9)
_declare("Atanh", np.arctanh, 9)
