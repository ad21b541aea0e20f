"""Whether the types that a graph records are the ones that its operators infer.

They are equal, but for what inference cannot tell: where it does not know the rank, or invents a symbol for a size that
only running the model can tell, the record may say anything, as long as it says it throughout. What infers is
in `infer.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tfgraph.ir.dims import Dim, Expr, Shape, Symbol, substitute, symbols_of
from tfgraph.ir.types import ContainerType, TensorType


def agreed_types(
    recorded: Sequence[TensorType], inferred: Sequence[TensorType], operands: Sequence[TensorType | None]
) -> list[TensorType | None]:
    """For each result the recorded type with the inferred content, or None where the two types contradict each other.

    `recorded` and `inferred` have one type a result; `operands` are the types that inference saw.
    """
    pairs = list(zip(recorded, inferred, strict=True))
    if any(isinstance(ours, ContainerType) for ours in recorded):  # rules of the operator table give tensors
        return [None if isinstance(ours, ContainerType) else theirs for ours, theirs in pairs]
    if all(ours.dtype is theirs.dtype and ours.known_shape == theirs.known_shape for ours, theirs in pairs):
        return list(inferred)
    given = {name for type_ in operands if type_ is not None for name in _symbols(type_)}
    sizes: dict[str, Dim] = {}
    return [_agreed(ours, theirs, given, sizes) for ours, theirs in pairs]


def _agreed(recorded: TensorType, inferred: TensorType, given: set[str], sizes: dict[str, Dim]) -> TensorType | None:
    shape, wanted = recorded.known_shape, inferred.known_shape
    if recorded.dtype is not inferred.dtype:
        return None
    if wanted is not None:
        if shape is None or len(shape) != len(wanted):
            return None
        for ours, theirs in zip(shape, wanted, strict=True):
            name = _invented(theirs, given)
            if name is not None:
                sizes.setdefault(name, ours)
        if tuple(substitute(dim, sizes) for dim in wanted) != shape:
            return None
    content = inferred.content
    return TensorType(recorded.dtype, shape, content and tuple(substitute(dim, sizes) for dim in content))


def _invented(dim: Dim, given: set[str]) -> str | None:
    """The name of the symbol that `dim` is, if the operands do not have it."""
    match dim:
        case Expr(terms=(((Symbol(name=str(name)),), 1),)) if name not in given:
            return name
    return None


def _symbols(type_: TensorType) -> Iterator[str]:
    dims: Shape = (*(type_.known_shape or ()), *(type_.content or ()))
    for dim in dims:
        yield from symbols_of(dim)
