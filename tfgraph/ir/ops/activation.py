"""Activations that ONNX has as primitives: Relu, Sigmoid, Softplus, Elu, … and Clip.

Gelu, Swish, Mish and HardSwish are composites with definitions of their own; Softmax is in `normalize.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfgraph.ir.constant import Array
from tfgraph.ir.dims import Shape
from tfgraph.ir.dtypes import DType
from tfgraph.ir.ops.arithmetic import in_float32, silent
from tfgraph.ir.ops.rules import check_broadcasts_to, require_rank, same
from tfgraph.ir.optable import Operands, Reference
from tfgraph.ir.primitive import FLOATS, INTEGERS, NUMBERS, SIGNED, WIDE_NUMBERS, primitive


def sigmoid(x: Array) -> Any:
    """`1 / (1 + exp(-x))`, without overflow on either side."""
    decay = np.exp(-np.abs(x))
    return (np.where(x >= 0, x.dtype.type(1), decay) / (1 + decay)).astype(x.dtype)


def _relu(x: Array) -> Any:
    return np.maximum(x, x.dtype.type(0))


def _leaky_relu(x: Array, *, alpha: float) -> Any:
    return np.where(x >= 0, x, x * x.dtype.type(alpha))


def _elu(x: Array, *, alpha: float) -> Any:
    return np.where(x >= 0, x, x.dtype.type(alpha) * np.expm1(np.minimum(x, 0)))


def _celu(x: Array, *, alpha: float) -> Any:
    scale = x.dtype.type(alpha)
    return np.maximum(x, 0) + np.minimum(0, scale * np.expm1(x / scale))


def _selu(x: Array, *, alpha: float, gamma: float) -> Any:
    return x.dtype.type(gamma) * _elu(x, alpha=alpha)


def _softplus(x: Array) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _softsign(x: Array) -> Any:
    return x / (1 + np.abs(x))


def _hard_sigmoid(x: Array, *, alpha: float, beta: float) -> Any:
    return np.clip(x * x.dtype.type(alpha) + x.dtype.type(beta), 0, 1)


def _thresholded_relu(x: Array, *, alpha: float) -> Any:
    return np.where(x > x.dtype.type(alpha), x, x.dtype.type(0))


def _shrink(x: Array, *, bias: float, lambd: float) -> Any:
    shift = x.dtype.type(bias)
    return np.where(x < -lambd, x + shift, np.where(x > lambd, x - shift, x.dtype.type(0))).astype(x.dtype)


def _prelu(x: Array, slope: Array) -> Any:
    return np.where(x < 0, x * slope, x)


def _clip(x: Array, low: Array | None = None, high: Array | None = None) -> Any:
    """`min(max(x, low), high)`: where `low > high`, the result is `high`."""
    raised = x if low is None else np.maximum(x, low)
    return raised if high is None else np.minimum(raised, high)


def _prelu_shape(given: Operands) -> Shape:
    check_broadcasts_to(given, 1, given.shape(0))
    return given.shape(0)


def _clip_shape(given: Operands) -> Shape:
    for index in (1, 2):
        if given.has(index):
            require_rank(given, index, 0)
    return given.shape(0)


def _declare(
    name: str,
    reference: Reference,
    since: int,
    signature: str = "X:T -> Y:T",
    attributes: Mapping[str, float] | None = None,
    dtypes: frozenset[DType] = FLOATS,
) -> None:
    primitive(
        name,
        signature,
        shape=same,
        reference=silent(in_float32(reference)),
        attributes=attributes,
        since=since,
        elementwise=True,
        T=dtypes,
    )


_declare("Relu", _relu, 6, dtypes=FLOATS | SIGNED)
_declare("Sigmoid", sigmoid, 6)
_declare("Softplus", _softplus, 1)
_declare("Softsign", _softsign, 1, "input:T -> output:T")
_declare("LeakyRelu", _leaky_relu, 6, attributes={"alpha": 0.01})
_declare("Elu", _elu, 6, attributes={"alpha": 1.0})
_declare("Celu", _celu, 12, attributes={"alpha": 1.0}, dtypes=frozenset({DType.FLOAT32}))
_declare("Selu", _selu, 6, attributes={"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875})
_declare("HardSigmoid", _hard_sigmoid, 6, attributes={"alpha": 0.2, "beta": 0.5})
_declare("ThresholdedRelu", _thresholded_relu, 10, attributes={"alpha": 1.0})
_declare("Shrink", _shrink, 9, "input:T -> output:T", {"bias": 0.0, "lambd": 0.5}, INTEGERS | FLOATS - {DType.BFLOAT16})
primitive(
    "PRelu", "X:T slope:T -> Y:T", shape=_prelu_shape, reference=silent(in_float32(_prelu)), since=9,
    elementwise=True, T=WIDE_NUMBERS,
)  # fmt: skip
primitive(
    "Clip", "input:T min?:T max?:T -> output:T", shape=_clip_shape, reference=in_float32(_clip), since=12,
    elementwise=True, T=NUMBERS,
)  # fmt: skip
