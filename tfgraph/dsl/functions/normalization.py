"""Normalisations: LayerNorm, RMSNorm, and their forms with a residual sum.

Statistics are computed in float32 whatever the input's dtype (`stash_type` 1 of the ONNX operators), and the scale is
applied in the input's dtype.
"""

from __future__ import annotations

from tfgraph.dsl import functional as F
from tfgraph.dsl.definition import definition
from tfgraph.dsl.tensor import Tensor
from tfgraph.dsl.trace import current_trace
from tfgraph.errors import ShapeError


def _last_axes(axis: int, rank: int) -> list[int]:
    """The axes from `axis` on, counted from the end."""
    first = axis if axis < 0 else axis - rank
    if not -rank <= first < 0:
        message = f"cannot normalise over the axes from {axis} on: the operand has {rank} axes"
        raise ShapeError(current_trace().locate(message))
    return list(range(first, 0))


def _standardize(x: Tensor, axis: int, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """`(x - mean) / deviation`, the mean, and `deviation = sqrt(variance + epsilon)`, over the axes from `axis` on."""
    axes = _last_axes(axis, x.rank)
    mean = F.reduce_mean(x, axes)
    centred = x - mean
    variance = F.reduce_mean(centred * centred, axes)
    deviation = F.sqrt(variance + epsilon)
    return centred / deviation, mean, deviation


@definition("LayerNormalization", since=17, outputs=("Y", "Mean", "InvStdDev"))
def layer_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    """`(x - mean) / sqrt(variance + epsilon) * scale + bias` over the last axes, from `axis` on.

    Args:
        x: [..., hidden], floating point.
        scale, bias: [hidden].

    Source: Ba, Kiros, Hinton, "Layer Normalization", 2016, equation 4; ONNX operator LayerNormalization-17.
    """
    statistics = F.cast(x, "float32") if stash_type == 1 else x
    normalized, _, _ = _standardize(statistics, axis, epsilon)
    result = F.cast(normalized, x.dtype) * scale
    return result if bias is None else result + bias


def _rms_normalize(x: Tensor, axis: int, epsilon: float) -> Tensor:
    mean_square = F.reduce_mean(x * x, _last_axes(axis, x.rank))
    return x / F.sqrt(mean_square + epsilon)


@definition("RMSNormalization", since=23, outputs=("Y",))
def rms_norm(x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Tensor:
    """`x / sqrt(mean(x^2) + epsilon) * scale` over the last axes, from `axis` on.

    Args:
        x: [..., hidden], floating point.
        scale: [hidden].

    Source: Zhang, Sennrich, "Root Mean Square Layer Normalization", 2019, equation 4; ONNX operator
    RMSNormalization-23.
    """
    statistics = F.cast(x, "float32") if stash_type == 1 else x
    return F.cast(_rms_normalize(statistics, axis, epsilon), x.dtype) * scale


@definition("SimplifiedLayerNormalization", since=1, outputs=("Y",))
def simplified_layer_norm(
    x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """RMSNorm under the name that ONNX Runtime had for it before ONNX did; see `rms_norm`."""
    return rms_norm(x, scale, axis=axis, epsilon=epsilon, stash_type=stash_type)


@definition("com.microsoft::SkipLayerNormalization", outputs=("output", "mean", "inv_std_var", "input_skip_bias_sum"))
def skip_layer_norm(
    input: Tensor,
    skip: Tensor,
    gamma: Tensor,
    beta: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
) -> tuple[Tensor, ...]:
    """LayerNorm of `input + skip + bias`; the sum is the fourth result.

    Args:
        input, skip: [batch, seq, hidden].
        gamma, beta, bias: [hidden].

    Source: ONNX Runtime's contrib operator SkipLayerNormalization.
    """
    total = F.sum_of([input, skip] if bias is None else [input, bias, skip])
    _, mean, deviation = _standardize(total, -1, epsilon)
    return layer_norm(total, gamma, beta, epsilon=epsilon), mean, 1.0 / deviation, total


@definition(
    "com.microsoft::SkipSimplifiedLayerNormalization", outputs=("output", "mean", "inv_std_var", "input_skip_bias_sum")
)
def skip_rms_norm(
    input: Tensor, skip: Tensor, gamma: Tensor, bias: Tensor | None = None, *, epsilon: float = 1e-12
) -> tuple[Tensor, ...]:
    """RMSNorm of `input + skip + bias`; the sum is the fourth result.

    Args:
        input, skip: [batch, seq, hidden].
        gamma, bias: [hidden].

    Source: ONNX Runtime's contrib operator SkipSimplifiedLayerNormalization.
    """
    total = F.sum_of([input, skip] if bias is None else [input, bias, skip])
    _, mean, deviation = _standardize(total, -1, epsilon)
    return rms_norm(total, gamma, epsilon=epsilon), mean, 1.0 / deviation, total
