"""Primitive operators as functions over tensors: what definitions and layers are written in.

Every function records exactly one ONNX operator (shape operands aside). Numbers and arrays are taken wherever a tensor
is, and get the dtype of the tensor beside them. Composite operators are in `functions/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from tfgraph.dsl import shaping
from tfgraph.dsl.tensor import Operable, Tensor
from tfgraph.dsl.trace import current_trace
from tfgraph.errors import DTypeError, ShapeError, TraceError
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Call, Dim, Expr, Shape
from tfgraph.ir.dtypes import DType, as_dtype

Operand: TypeAlias = Any  # Tensor | Parameter | number | array
_NATURAL = ((bool, DType.BOOL), (int, DType.INT64), (float, DType.FLOAT32))  # of a number that is beside no tensor


def as_tensor(operand: Operand, dtype: DType | None = None) -> Tensor:
    """`operand` as a tensor of the current trace; a number or an array becomes a constant, of `dtype` if that is given.

    Raises:
        TraceError: something that is not a tensor, a parameter, a number or an array.
        DTypeError: a number or an array that `dtype` cannot hold, such as 0.5 beside an int64 tensor.
    """
    trace = current_trace()
    if isinstance(operand, Operable):
        return operand.in_trace(trace)
    if isinstance(operand, Expr):
        size = shaping.scalar_of(trace, operand)
        return size if dtype is None else cast(size, dtype)
    if isinstance(operand, np.generic):
        operand = operand.item()
    if isinstance(operand, bool | int | float):
        wanted = dtype or next(natural for kind, natural in _NATURAL if isinstance(operand, kind))
        _require_fit(operand, wanted)
        return trace.scalar(operand, wanted)
    if isinstance(operand, np.ndarray):
        if dtype is not None and dtype is not as_dtype(operand.dtype):
            _require_fit(operand, dtype)
            operand = operand.astype(dtype.numpy())
        return trace.constant(operand)
    kind = type(operand).__name__
    raise TraceError(trace.locate(f"expected a tensor, a parameter, a number or an array, and got {kind}"))


def _require_fit(given: Any, dtype: DType) -> None:
    """Refuse numbers that would silently become others: fractions as integers, integers out of range."""
    array = np.asarray(given)
    fits = array.dtype.kind in "biuf"
    if fits and dtype.is_integer:
        limits = np.iinfo(dtype.numpy())
        fits = bool(np.all((array == np.trunc(array)) & (array >= limits.min) & (array <= limits.max)))
    if not fits:
        shown = repr(given) if array.ndim == 0 else f"an array of {array.dtype}"
        message = f"{shown} cannot become {dtype}, the dtype of the tensor beside it: cast one of them"
        raise DTypeError(current_trace().locate(message))


def _apply(key: str, *operands: Tensor | None, **attributes: Any) -> Tensor:
    return current_trace().emit(key, operands, attributes)[0]


def _binary(key: str, left: Operand, right: Operand) -> Tensor:
    if isinstance(left, Operable):
        a = as_tensor(left)
        b = as_tensor(right, a.dtype)
    else:
        b = as_tensor(right)
        a = as_tensor(left, b.dtype)
    result = _apply(key, a, b)
    _refuse_guesses(result, a, b)
    return result


def _refuse_guesses(result: Tensor, *operands: Tensor) -> None:
    """A broadcast of two different symbols is a mistake in a user's model (an imported graph may do it)."""
    if current_trace().keep_composites:
        return
    given = {dim for operand in operands for dim in operand.shape}
    for dim in result.shape:
        if (
            isinstance(dim, Expr)
            and dim not in given
            and any(isinstance(atom, Call) and atom.function == "max" for monomial, _ in dim.terms for atom in monomial)
        ):
            shapes = " and ".join(format_shape(operand.shape) for operand in operands)
            message = f"shapes {shapes} do not broadcast: {dim} is neither one size nor 1"
            raise ShapeError(current_trace().locate(message))


def add(left: Operand, right: Operand) -> Tensor:
    """`left + right`, broadcast."""
    return _binary("Add", left, right)


def sum_of(terms: Sequence[Operand]) -> Tensor:
    """The sum of two or more tensors, broadcast, as one operator."""
    result = _apply("Sum", *(as_tensor(term) for term in terms))
    _refuse_guesses(result, *(as_tensor(term) for term in terms))
    return result


def subtract(left: Operand, right: Operand) -> Tensor:
    """`left - right`, broadcast."""
    return _binary("Sub", left, right)


def multiply(left: Operand, right: Operand) -> Tensor:
    """`left * right`, broadcast."""
    return _binary("Mul", left, right)


def divide(left: Operand, right: Operand) -> Tensor:
    """`left / right`, broadcast; integers are divided toward zero."""
    return _binary("Div", left, right)


def power(base: Operand, exponent: Operand) -> Tensor:
    """`base` to the power of `exponent`, broadcast."""
    return _binary("Pow", base, exponent)


def maximum(left: Operand, right: Operand) -> Tensor:
    """The larger of two, elementwise."""
    return _binary("Max", left, right)


def minimum(left: Operand, right: Operand) -> Tensor:
    """The smaller of two, elementwise."""
    return _binary("Min", left, right)


def equal(left: Operand, right: Operand) -> Tensor:
    """`left == right`, elementwise, as bool."""
    return _binary("Equal", left, right)


def less(left: Operand, right: Operand) -> Tensor:
    """`left < right`, elementwise, as bool."""
    return _binary("Less", left, right)


def less_equal(left: Operand, right: Operand) -> Tensor:
    """`left <= right`, elementwise, as bool."""
    return _binary("LessOrEqual", left, right)


def greater(left: Operand, right: Operand) -> Tensor:
    """`left > right`, elementwise, as bool."""
    return _binary("Greater", left, right)


def greater_equal(left: Operand, right: Operand) -> Tensor:
    """`left >= right`, elementwise, as bool."""
    return _binary("GreaterOrEqual", left, right)


def logical_and(left: Operand, right: Operand) -> Tensor:
    """`left and right`, elementwise, on bool tensors."""
    return _binary("And", left, right)


def logical_or(left: Operand, right: Operand) -> Tensor:
    """`left or right`, elementwise, on bool tensors."""
    return _binary("Or", left, right)


def logical_not(x: Operand) -> Tensor:
    """`not x`, elementwise, on a bool tensor."""
    return _apply("Not", as_tensor(x))


def negate(x: Operand) -> Tensor:
    """`-x`."""
    return _apply("Neg", as_tensor(x))


def absolute(x: Operand) -> Tensor:
    """`|x|`."""
    return _apply("Abs", as_tensor(x))


def sqrt(x: Operand) -> Tensor:
    """The square root."""
    return _apply("Sqrt", as_tensor(x))


def exp(x: Operand) -> Tensor:
    """The exponential."""
    return _apply("Exp", as_tensor(x))


def log(x: Operand) -> Tensor:
    """The natural logarithm."""
    return _apply("Log", as_tensor(x))


def erf(x: Operand) -> Tensor:
    """The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return _apply("Erf", as_tensor(x))


def tanh(x: Operand) -> Tensor:
    """The hyperbolic tangent."""
    return _apply("Tanh", as_tensor(x))


def sigmoid(x: Operand) -> Tensor:
    """`1 / (1 + exp(-x))`."""
    return _apply("Sigmoid", as_tensor(x))


def relu(x: Operand) -> Tensor:
    """`max(x, 0)`."""
    return _apply("Relu", as_tensor(x))


def sin(x: Operand) -> Tensor:
    """The sine, of radians."""
    return _apply("Sin", as_tensor(x))


def cos(x: Operand) -> Tensor:
    """The cosine, of radians."""
    return _apply("Cos", as_tensor(x))


def where(condition: Operand, chosen: Operand, otherwise: Operand) -> Tensor:
    """`chosen` where the bool tensor `condition` is true, `otherwise` elsewhere; all three broadcast."""
    test = as_tensor(condition)
    if isinstance(chosen, Operable):
        a = as_tensor(chosen)
        b = as_tensor(otherwise, a.dtype)
    else:
        b = as_tensor(otherwise)
        a = as_tensor(chosen, b.dtype)
    result = _apply("Where", test, a, b)
    _refuse_guesses(result, test, a, b)
    return result


def cast(x: Operand, dtype: object) -> Tensor:
    """`x` converted to `dtype`; `x` itself where it has that dtype."""
    tensor, wanted = as_tensor(x), as_dtype(dtype)
    return tensor if tensor.dtype is wanted else _apply("Cast", tensor, to=wanted.value)


def matmul(left: Operand, right: Operand) -> Tensor:
    """The matrix product over the last two axes, leading axes broadcast: [..., M, K] x [..., K, N] -> [..., M, N]."""
    return _apply("MatMul", as_tensor(left), as_tensor(right))


def softmax(x: Operand, axis: int = -1) -> Tensor:
    """`exp(x) / sum(exp(x))` along `axis`."""
    return _apply("Softmax", as_tensor(x), axis=axis)


def reduce_mean(x: Operand, axes: Sequence[int], keepdims: bool = True) -> Tensor:
    """The mean over `axes`."""
    return _apply("ReduceMean", as_tensor(x), current_trace().ints(axes), keepdims=int(keepdims))


def reduce_sum(x: Operand, axes: Sequence[int], keepdims: bool = True) -> Tensor:
    """The sum over `axes`."""
    return _apply("ReduceSum", as_tensor(x), current_trace().ints(axes), keepdims=int(keepdims))


def reduce_max(x: Operand, axes: Sequence[int], keepdims: bool = True) -> Tensor:
    """The maximum over `axes`."""
    return _apply("ReduceMax", as_tensor(x), current_trace().ints(axes), keepdims=int(keepdims))


def cumulative_sum(x: Operand, axis: int) -> Tensor:
    """The running sum along `axis`, each element included in its own sum."""
    return _apply("CumSum", as_tensor(x), current_trace().scalar(axis, DType.INT64))


def reshape(x: Operand, shape: Sequence[Dim]) -> Tensor:
    """`x` in another shape; one dimension may be -1.

    Raises:
        ShapeError: the sizes do not agree.
    """
    tensor = as_tensor(x)
    return _apply("Reshape", tensor, shaping.reshape_target(tensor, tuple(shape)))


def transpose(x: Operand, permutation: Sequence[int]) -> Tensor:
    """The axes reordered: axis `i` of the result is axis `permutation[i]` of `x`."""
    tensor = as_tensor(x)
    return _apply("Transpose", tensor, perm=tuple(axis % max(tensor.rank, 1) for axis in permutation))


def swap_axes(x: Operand, first: int, second: int) -> Tensor:
    """Two axes exchanged."""
    tensor = as_tensor(x)
    order = list(range(tensor.rank))
    order[first], order[second] = order[second], order[first]
    return transpose(tensor, order)


def unsqueeze(x: Operand, axes: Sequence[int]) -> Tensor:
    """New axes of size 1 at `axes` of the result."""
    return _apply("Unsqueeze", as_tensor(x), current_trace().ints(axes))


def squeeze(x: Operand, axes: Sequence[int]) -> Tensor:
    """Axes of size 1 removed."""
    return _apply("Squeeze", as_tensor(x), current_trace().ints(axes))


def expand(x: Operand, shape: Sequence[Dim]) -> Tensor:
    """`x` broadcast to `shape`."""
    tensor = as_tensor(x)
    return _apply("Expand", tensor, shaping.expand_target(tensor, tuple(shape)))


def concat(tensors: Sequence[Operand], axis: int) -> Tensor:
    """Tensors joined along `axis`."""
    return _apply("Concat", *(as_tensor(tensor) for tensor in tensors), axis=axis)


def split(x: Operand, sizes: Sequence[Dim], axis: int) -> tuple[Tensor, ...]:
    """`x` cut along `axis` into parts of the given sizes."""
    trace, tensor, count = current_trace(), as_tensor(x), len(sizes)
    if len(set(sizes)) == 1:
        return trace.emit("Split", (tensor,), {"axis": axis, "num_outputs": count}, count)
    return trace.emit("Split", (tensor, shaping.dims_operand(trace, sizes, tensor)), {"axis": axis}, count)


def gather(x: Operand, indices: Operand, axis: int = 0) -> Tensor:
    """The slices of `x` at `indices` along `axis`."""
    return _apply("Gather", as_tensor(x), as_tensor(indices), axis=axis)


def tensor_scatter(cache: Operand, update: Operand, lengths: Operand) -> Tensor:
    """`cache` [batch, heads, capacity, features] with `update` [batch, heads, seq, features] written into it.

    Row b is written at the positions from `lengths[b]` on.
    """
    return _apply("TensorScatter", as_tensor(cache), as_tensor(update), as_tensor(lengths))


def arange(start: Dim, stop: Dim) -> Tensor:
    """The int64 numbers from `start` up to, and without, `stop`, in a tensor of rank 1."""
    trace = current_trace()
    bounds = (shaping.scalar_of(trace, start), shaping.scalar_of(trace, stop), trace.scalar(1, DType.INT64))
    return _apply("Range", *bounds)


def unpack_shape(x: Operable, layout: str) -> Shape:
    """The shape of `x`, one dimension for each name in `layout`: `batch, seq = unpack_shape(ids, "batch seq")`.

    Raises:
        ShapeError: `x` has another rank.
    """
    names = layout.split()
    if x.rank != len(names):
        message = f"expected a tensor of shape [{', '.join(names)}], and got {format_shape(x.shape)}"
        raise ShapeError(current_trace().locate(message))
    return tuple(x.shape)


def getitem(x: Operand, key: Any) -> Tensor:
    """`x[key]`: integers drop an axis, slices keep it, None adds one, `...` skips the rest; bounds may be symbolic."""
    return shaping.getitem(as_tensor(x), key)


def argmax(x: Operand, axis: int = -1, keepdims: bool = False) -> Tensor:
    """The index of the largest element along `axis`, the first of equals, as int64."""
    return _apply("ArgMax", as_tensor(x), axis=axis, keepdims=int(keepdims))


def top_k(x: Operand, k: int, axis: int = -1) -> tuple[Tensor, Tensor]:
    """The `k` largest elements along `axis`, the largest first, and their indices as int64."""
    trace = current_trace()
    values, indices = trace.emit("TopK", (as_tensor(x), trace.ints([k])), {"axis": axis}, 2)
    return values, indices


def nonzero(x: Operand) -> Tensor:
    """Where `x` is not zero or false: int64 [rank, found], `found` being a size of its own."""
    return _apply("NonZero", as_tensor(x))


def scatter_rows(x: Operand, places: Operand, rows: Operand) -> Tensor:
    """`x` [N, ...] with `rows` [M, ...] in the places `places` [M] of its first axis; no place may come twice."""
    return _apply("ScatterND", as_tensor(x), unsqueeze(places, (-1,)), as_tensor(rows))
