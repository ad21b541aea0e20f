"""What the shape rules of many operators share: broadcasting, axes, and shapes that operands spell out.

Nothing here registers an operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tfgraph.errors import ShapeError
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Call, Dim, Expr, Shape, exact_div, maximum
from tfgraph.ir.optable import Operands
from tfgraph.ir.types import UnknownRankError


def same(given: Operands) -> Shape:
    """The shape of the first operand."""
    return given.shape(0)


def broadcast(given: Operands) -> Shape:
    """The shape that all operands broadcast to."""
    return broadcast_shapes(*(type_.shape for type_ in given.types if type_ is not None), key=given.key)


def broadcast_shapes(*shapes: Sequence[Dim], key: str = "broadcasting") -> Shape:
    """The shape that `shapes` broadcast to, by numpy's rules: aligned at the last axis, an axis of 1 stretches.

    A symbolic dimension against an integer above 1 gives the integer; two that differ give their maximum, since one of
    them must be 1 when the model runs.

    Raises:
        ShapeError: two integers that differ, neither of them 1. `key` names the operator in the message.
    """
    result: Shape = ()
    for shape in shapes:
        result = _broadcast_two(result, tuple(shape), key)
    return result


def _broadcast_two(left: Shape, right: Shape, key: str) -> Shape:
    if left == right:
        return left
    rank = max(len(left), len(right))
    padded_left = (1,) * (rank - len(left)) + left
    padded_right = (1,) * (rank - len(right)) + right
    result: list[Dim] = []
    for axis, (a, b) in enumerate(zip(padded_left, padded_right, strict=True)):
        dim = _broadcast_dims(a, b)
        if dim is None:
            raise ShapeError(
                f"{key} cannot broadcast {format_shape(left)} with {format_shape(right)}: "
                f"axis {axis - rank} is {a} in one and {b} in the other, expected equal sizes or 1"
            )
        result.append(dim)
    return tuple(result)


def _broadcast_dims(left: Dim, right: Dim) -> Dim | None:
    if left == right or right == 1:
        return left
    if left == 1:
        return right
    if isinstance(left, int):
        return left if not isinstance(right, int) else None
    if isinstance(right, int):
        return right
    if _is_minimum_with(left, right):
        return right
    return left if _is_minimum_with(right, left) else maximum(left, right)


def _is_minimum_with(dim: Expr, other: Dim) -> bool:
    """Whether `dim` is `min(other, ...)`: then the larger of the two is `other`."""
    if len(dim.terms) != 1:
        return False
    (monomial, coefficient), *_ = dim.terms
    if coefficient != 1 or len(monomial) != 1:
        return False
    atom = monomial[0]
    return isinstance(atom, Call) and atom.function == "min" and other in atom.arguments


def normalize_axis(key: str, axis: int, rank: int) -> int:
    """`axis` counted from the front.

    Raises:
        ShapeError: a tensor of rank `rank` has no such axis.
    """
    if not -rank <= axis < rank:
        expected = f"an axis from {-rank} to {rank - 1}" if rank else "no axis, since a scalar has none"
        raise ShapeError(f"{key} was given axis {axis} of a tensor of rank {rank}: expected {expected}")
    return axis % rank


def normalize_axes(key: str, axes: Iterable[int], rank: int) -> tuple[int, ...]:
    """`axes` counted from the front, in the order given.

    Raises:
        ShapeError: an axis that a tensor of rank `rank` does not have, or the same axis twice.
    """
    given = tuple(axes)
    normalized = tuple(normalize_axis(key, axis, rank) for axis in given)
    if len(set(normalized)) != len(normalized):
        raise ShapeError(f"{key} was given the axes {list(given)} of a tensor of rank {rank}: an axis comes twice")
    return normalized


def integer_content(given: Operands, index: int) -> tuple[int, ...] | None:
    """The elements of the operand at `index` where all of them are known integers, else None."""
    content = given.content(index)
    if content is None or not all(isinstance(dim, int) for dim in content):
        return None
    return tuple(dim for dim in content if isinstance(dim, int))


def known_length(given: Operands, index: int) -> int:
    """The number of elements of the operand at `index`, a vector that the rank of the result depends on.

    Raises:
        ShapeError: it is not a vector.
        UnknownRankError: it is a vector of a length that is not known before the model runs.
    """
    shape = given.shape(index)
    if len(shape) != 1:
        raise ShapeError(f"{given.key} takes a vector as its input {index}, and {format_shape(shape)} was given")
    if not isinstance(shape[0], int):
        raise UnknownRankError(f"{given.key} gives a result whose rank only running the model can tell")
    return shape[0]


def known_sizes(key: str, dims: Iterable[Dim]) -> tuple[int, ...]:
    """`dims` as integers, for what only a run asks.

    Raises:
        ShapeError: one of them is symbolic.
    """
    sizes: list[int] = []
    for dim in dims:
        if not isinstance(dim, int):
            raise ShapeError(f"{key} is run with the size {dim}: expected an integer")
        sizes.append(dim)
    return tuple(sizes)


def require_rank(given: Operands, index: int, *ranks: int) -> Shape:
    """The shape of the operand at `index`, whose rank must be one of `ranks`.

    Raises:
        ShapeError: it has another rank.
    """
    shape = given.shape(index)
    if len(shape) not in ranks:
        expected = " or ".join(str(rank) for rank in ranks)
        raise ShapeError(f"{given.key} takes rank {expected} as its input {index}, and {format_shape(shape)} was given")
    return shape


def check_broadcasts_to(given: Operands, index: int, target: Sequence[Dim]) -> None:
    """Check that the operand at `index` stretches to `target` without changing it.

    Raises:
        ShapeError: it has more axes, or a size that is neither 1 nor the target's.
    """
    shape = given.shape(index)
    aligned = zip(reversed(shape), reversed(target), strict=False)
    if len(shape) > len(target) or not all(dim == 1 or agree(dim, wanted) for dim, wanted in aligned):
        raise ShapeError(
            f"{given.key} takes as its input {index} what broadcasts to {format_shape(target)}, "
            f"and {format_shape(shape)} was given"
        )


def agree(left: Dim, right: Dim) -> bool:
    """Whether two dimensions may be equal when the model runs: only two different integers surely are not."""
    return not (isinstance(left, int) and isinstance(right, int)) or left == right


def merge(left: Dim, right: Dim) -> Dim:
    """The better known of two dimensions that must be equal."""
    return left if isinstance(left, int) else right if isinstance(right, int) else left


def at_least(dim: Dim, bound: int) -> bool:
    """Whether `dim >= bound` even if every symbol in it may be 0, as the length of an empty cache is.

    `dims.is_at_least` is for sizes of axes, which it takes to be 1 or more.
    """
    if isinstance(dim, int):
        return dim >= bound
    lowest = 0
    for monomial, coefficient in dim.terms:
        if not monomial:
            lowest = coefficient
        elif coefficient < 0 or not all(_is_never_negative(atom) for atom in monomial):
            return False
    return lowest >= bound


def _is_never_negative(atom: object) -> bool:
    if not isinstance(atom, Call):
        return True
    sides = [at_least(argument, 0) for argument in atom.arguments]
    return any(sides) if atom.function == "max" else all(sides)


def divide(dividend: Dim, divisor: Dim) -> Dim | None:
    """`dividend / divisor` truncated toward zero, as ONNX divides integers; None where it cannot be told."""
    if isinstance(divisor, int) and divisor == 0:
        return None
    if isinstance(dividend, int) and isinstance(divisor, int):
        quotient = abs(dividend) // abs(divisor)
        return quotient if (dividend < 0) == (divisor < 0) else -quotient
    exact = exact_div(dividend, divisor)
    if exact is not None:
        return exact
    return dividend // divisor if at_least(dividend, 0) and at_least(divisor, 0) else None
