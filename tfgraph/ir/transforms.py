"""What passes do to weights without reading them: cast, transpose, reshape, concatenate, slice, scale.

Every function takes handles and returns a handle. A transform that changes nothing returns the handle it was given, and
one that undoes another cancels it. A small result of constants in memory is computed at once; everything else is a
`Derived`, or, where the elements are still one run of bytes in a file, another `FileConstant`. Reading one holds it and
its bases in memory (to float8, one copy more). What a handle is, is in `constant.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tfgraph.errors import DTypeError, ShapeError
from tfgraph.ir.constant import Array, ArrayConstant, Constant, Derived, FileConstant
from tfgraph.ir.dtypes import DType, as_dtype

_COMPUTED_AT_ONCE = 4096  # bytes


def folded(
    function: Callable[..., Array],
    bases: Sequence[Constant],
    key: tuple[object, ...],
    dtype: DType,
    shape: Sequence[int],
) -> Constant:
    """The constant that `function` computes from the arrays of `bases`: a `Derived`, or its elements if they are few.

    `key` names the function and its parameters: hashable, the function's name first. `function` must return an array of
    `shape` and `dtype`, and must not change its arguments.

    Raises:
        GraphError: `function` gave another shape or dtype; raised here for a small result, otherwise by `numpy()`.
    """
    derived = Derived(function, bases, key, dtype, shape)
    if derived.nbytes <= _COMPUTED_AT_ONCE and all(isinstance(base, ArrayConstant) for base in derived.bases):
        return ArrayConstant(np.ascontiguousarray(derived.numpy()).reshape(derived.shape))
    return derived


def cast(constant: Constant, dtype: object) -> Constant:
    """`constant` with its elements converted as ONNX's Cast does: to integers towards zero, to float8 saturating.

    Raises:
        DTypeError: there is no such dtype, or one of the two is `string`.
    """
    wanted = as_dtype(dtype)
    if wanted is constant.dtype:
        return constant
    if DType.STRING in (wanted, constant.dtype):
        raise DTypeError(f"cannot cast a constant from {constant.dtype} to {wanted}: strings stay strings")
    return folded(partial(_cast, dtype=wanted), [constant], ("cast", wanted), wanted, constant.shape)


def transposed(constant: Constant, perm: Sequence[int]) -> Constant:
    """`constant` with axis `perm[i]` at place `i`, as ONNX's Transpose. `numpy()` gives a view, not a contiguous array.

    Raises:
        ShapeError: `perm` does not name each axis once.
    """
    order = tuple(perm)
    if sorted(order) != list(range(len(constant.shape))):
        raise ShapeError(
            f"cannot transpose {constant!r} by {list(order)}: expected each of its {len(constant.shape)} axes once"
        )
    match constant:
        case Derived(key=("transposed", tuple(inner)), bases=(base,)):
            return transposed(base, [inner[axis] for axis in order])
    if order == tuple(range(len(order))):
        return constant
    shape = [constant.shape[axis] for axis in order]
    return folded(partial(np.transpose, axes=order), [constant], ("transposed", order), constant.dtype, shape)


def reshaped(constant: Constant, shape: Sequence[int]) -> Constant:
    """`constant` with its elements, in row-major order, under another shape.

    Raises:
        ShapeError: `shape` has another number of elements, or a negative size.
    """
    wanted = tuple(shape)
    if math.prod(wanted) != constant.size or any(size < 0 for size in wanted):
        raise ShapeError(f"cannot reshape {constant!r} to {list(wanted)}: it has {constant.size} elements")
    if wanted == constant.shape:
        return constant
    match constant:
        case Derived(key=("reshaped", tuple()), bases=(base,)):
            return reshaped(base, wanted)
        case FileConstant():
            return FileConstant(constant.path, constant.offset, constant.dtype, wanted)
    return folded(partial(_reshape, shape=wanted), [constant], ("reshaped", wanted), constant.dtype, wanted)


def concatenated(constants: Sequence[Constant], axis: int) -> Constant:
    """`constants` one after the other along `axis`, which may count from the end.

    Raises:
        ShapeError: no constants, no such axis, or sizes that differ on another axis.
        DTypeError: dtypes that differ.
    """
    if not constants:
        raise ShapeError("cannot concatenate no constants: expected at least one")
    first = constants[0]
    place = _axis(first, axis)
    for other in constants[1:]:
        if other.dtype is not first.dtype:
            raise DTypeError(f"cannot concatenate {first!r} and {other!r}: cast one of them, their dtypes differ")
        if _without(other.shape, place) != _without(first.shape, place) or len(other.shape) != len(first.shape):
            raise ShapeError(f"cannot concatenate {first!r} and {other!r} on axis {axis}: their other sizes differ")
    if len(constants) == 1:
        return first
    shape = list(first.shape)
    shape[place] = sum(constant.shape[place] for constant in constants)
    return folded(partial(_concatenate, axis=place), constants, ("concatenated", place), first.dtype, shape)


def sliced(constant: Constant, axis: int, start: int, stop: int) -> Constant:
    """Elements `start` to `stop` (exclusive) of `constant` on `axis`; a run of whole rows of a file stays in the file.

    Raises:
        ShapeError: no such axis, or a range that is not within it.
    """
    place = _axis(constant, axis)
    size = constant.shape[place]
    if not 0 <= start <= stop <= size:
        raise ShapeError(f"cannot slice {constant!r} on axis {axis} from {start} to {stop}: its size there is {size}")
    if stop - start == size:
        return constant
    match constant:
        case Derived(key=("sliced", inner, int(offset), int()), bases=(base,)) if inner == place:
            return sliced(base, place, offset + start, offset + stop)
    shape = (*constant.shape[:place], stop - start, *constant.shape[place + 1 :])
    if isinstance(constant, FileConstant) and math.prod(constant.shape[:place]) == 1:
        skipped = start * math.prod(constant.shape[place + 1 :]) * constant.dtype.bits
        if skipped % 8 == 0:  # 4-bit elements may start within a byte
            return FileConstant(constant.path, constant.offset + skipped // 8, constant.dtype, shape)
    function = partial(_slice, axis=place, start=start, stop=stop)
    return folded(function, [constant], ("sliced", place, start, stop), constant.dtype, shape)


def scaled(constant: Constant, factor: float) -> Constant:
    """`constant` times `factor`, in its own dtype; computed in float32 (float64 stays float64) and rounded once.

    Raises:
        DTypeError: `constant` does not hold floats.
    """
    if not constant.dtype.is_float:
        raise DTypeError(f"cannot scale {constant!r} by {factor}: expected a floating-point dtype; cast it first")
    if factor == 1:
        return constant
    key = ("scaled", float(factor))
    return folded(partial(_scale, factor=float(factor)), [constant], key, constant.dtype, constant.shape)


def _axis(constant: Constant, axis: int) -> int:
    rank = len(constant.shape)
    if not -rank <= axis < rank:
        raise ShapeError(f"{constant!r} has no axis {axis}: it has {rank}")
    return axis % rank


def _without(shape: Sequence[int], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def _cast(array: Array, dtype: DType) -> Array:
    from tfgraph.ir.ops.cast import cast_array  # here, so that handles do not need the operator table

    return cast_array(array, dtype)


def _reshape(array: Array, shape: tuple[int, ...]) -> Array:
    return np.reshape(array, shape)


def _concatenate(*arrays: Array, axis: int) -> Array:
    result: Array = np.concatenate(arrays, axis=axis)
    return result


def _slice(array: Array, axis: int, start: int, stop: int) -> Array:
    place: tuple[Any, ...] = (slice(None),) * axis
    result: Array = array[(*place, slice(start, stop))]
    return result


def _scale(array: Array, factor: float) -> Array:
    result = np.empty_like(array)
    wide = np.float64 if array.dtype == np.float64 else np.float32
    with np.errstate(over="ignore", invalid="ignore"):
        np.multiply(array, wide(factor), out=result, dtype=wide, casting="unsafe")
    return result
