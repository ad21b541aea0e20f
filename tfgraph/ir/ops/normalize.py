"""Along an axis or by stored statistics: Softmax, LogSoftmax, Dropout and BatchNormalization as they are at inference.

LayerNormalization and RMSNormalization are composites with definitions of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfgraph.errors import DTypeError, ShapeError
from tfgraph.ir.constant import Array
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Shape
from tfgraph.ir.ops.arithmetic import in_float32, silent
from tfgraph.ir.ops.rules import agree, normalize_axis
from tfgraph.ir.optable import Operands
from tfgraph.ir.primitive import BOOL, FLOAT8S, FLOATS, primitive


def _softmax_shape(given: Operands) -> Shape:
    shape = given.shape(0)
    normalize_axis(given.key, given.attributes["axis"], len(shape))
    return shape


def _dropout_shape(given: Operands) -> list[Shape]:
    if given.content(2) == (1,):
        raise DTypeError("Dropout is taken as it is at inference, and training_mode is true: leave it out")
    return [given.shape(0), given.shape(0)]


def _batch_norm_shape(given: Operands) -> Shape:
    if given.attributes["training_mode"]:
        raise DTypeError("BatchNormalization is taken as it is at inference, and training_mode is 1: expected 0")
    return _channel_shape(given)


def _channel_shape(given: Operands) -> Shape:
    """The shape of the first operand; the others are vectors with an element a channel."""
    shape = given.shape(0)
    if len(shape) < 2:
        raise ShapeError(f"{given.key} takes [N, C, ...], and {format_shape(shape)} was given")
    for index in range(1, len(given.types)):
        vector = given.shape(index)
        if len(vector) != 1 or not agree(vector[0], shape[1]):
            raise ShapeError(
                f"{given.key} of {format_shape(shape)} takes vectors of its {shape[1]} channels, "
                f"and {format_shape(vector)} was given as input {index}"
            )
    return shape


@silent
def softmax(x: Array, *, axis: int) -> Any:
    """`exp(x - max) / sum(exp(x - max))` along `axis`."""
    power = np.exp(x - np.max(x, axis=axis, keepdims=True, initial=-np.inf))
    return power / np.sum(power, axis=axis, keepdims=True)


@silent
def _log_softmax(x: Array, *, axis: int) -> Any:
    shifted = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def _hardmax(x: Array, *, axis: int) -> Any:
    first = np.argmax(x, axis=axis, keepdims=True)
    result = np.zeros_like(x)
    np.put_along_axis(result, first, x.dtype.type(1), axis=axis)
    return result


def _dropout(
    data: Array, ratio: Array | None = None, training_mode: Array | None = None, *, seed: int | None
) -> tuple[Array, Array]:
    if training_mode is not None and bool(training_mode.reshape(())) and (ratio is None or float(ratio) != 0):
        raise DTypeError("Dropout is taken as it is at inference, and training_mode is true")
    return data, np.ones(data.shape, dtype=bool)


def _batch_norm(
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float,
    momentum: float,
    training_mode: int,
) -> Any:
    """`(x - mean) / sqrt(variance + epsilon) * scale + bias`, a channel (axis 1) at a time."""
    column = (-1,) + (1,) * (x.ndim - 2)
    factor = scale / np.sqrt(variance + variance.dtype.type(epsilon))
    return ((x - mean.reshape(column)) * factor.reshape(column) + bias.reshape(column)).astype(x.dtype)


def _instance_norm(x: Array, scale: Array, bias: Array, *, epsilon: float) -> Any:
    """Like batch normalisation, with the mean and variance of each channel of each sample."""
    axes = tuple(range(2, x.ndim))
    column = (-1,) + (1,) * (x.ndim - 2)
    mean, variance = np.mean(x, axis=axes, keepdims=True), np.var(x, axis=axes, keepdims=True)
    normal = (x - mean) / np.sqrt(variance + x.dtype.type(epsilon))
    return normal * scale.reshape(column) + bias.reshape(column)


@silent
def _lp_norm(x: Array, *, axis: int, p: int) -> Any:
    """`x / ||x||_p` along `axis`, zero where the norm is zero."""
    powers = np.abs(x) if p == 1 else x * x
    norm = np.sum(powers, axis=axis, keepdims=True)
    norm = norm if p == 1 else np.sqrt(norm)
    return np.where(norm == 0, x.dtype.type(0), x / norm)


for _name, _function in (("Softmax", softmax), ("LogSoftmax", _log_softmax), ("Hardmax", _hardmax)):
    primitive(
        _name, "input:T -> output:T", shape=_softmax_shape, reference=in_float32(_function), since=13,
        attributes={"axis": -1}, T=FLOATS,
    )  # fmt: skip
primitive(
    "Dropout", "data:T ratio?:R training_mode?:B -> output:T mask?:bool", shape=_dropout_shape, reference=_dropout,
    since=12, attributes={"seed": None}, T=FLOATS | FLOAT8S, R=FLOATS | FLOAT8S, B=BOOL,
)  # fmt: skip
primitive(
    "BatchNormalization", "X:T scale:U B:U input_mean:V input_var:V -> Y:T", shape=_batch_norm_shape,
    reference=in_float32(_batch_norm), since=15, attributes={"epsilon": 1e-05, "momentum": 0.9, "training_mode": 0},
    T=FLOATS, U=FLOATS, V=FLOATS,
)  # fmt: skip
primitive(
    "InstanceNormalization", "input:T scale:T B:T -> output:T", shape=_channel_shape,
    reference=in_float32(_instance_norm), since=6, attributes={"epsilon": 1e-05}, T=FLOATS,
)  # fmt: skip
primitive(
    "LpNormalization", "input:T -> output:T", shape=_softmax_shape, reference=in_float32(_lp_norm), since=1,
    attributes={"axis": -1, "p": 2}, T=FLOATS,
)  # fmt: skip
