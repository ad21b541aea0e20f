"""What is known about a value before the model runs: its element type, its shape, and, for small integer tensors, its
elements as dimensions; and for a value that is no tensor, what it contains.

Content is what lets shape arithmetic be folded: after `Shape`, `Gather` and `Concat`, the operand of a `Reshape` still
knows that it holds `[batch, seq, 12, 64]`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from tfgraph.errors import ShapeError
from tfgraph.ir.dim_text import format_dim, format_shape
from tfgraph.ir.dims import Dim, Shape
from tfgraph.ir.dtypes import DType

CONTENT_DTYPES: Final = frozenset({DType.INT32, DType.INT64, DType.BOOL})
"""The element types whose content is tracked: those of shape arithmetic, and the truth values of its guards."""

LARGEST_CONTENT: Final = 64
"""Content of more elements than this is not tracked."""


MOST_NESTED: Final = 16
"""No type has more containers in each other; ONNX Runtime takes two."""


class UnknownRankError(ShapeError):
    """The rank of a value is not known: it comes from an operator that tfgraph carries without understanding it."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """The type of a value.

    Attributes:
        dtype: element type.
        known_shape: one dimension an axis, or None where not even the rank is known (only behind opaque operators of
            imported files).
        content: the elements in row-major order, where this is a small int32, int64 or bool tensor of rank 0 or 1 whose
            elements are known as dimensions (true and false as 1 and 0).
    """

    dtype: DType
    known_shape: Shape | None
    content: tuple[Dim, ...] | None = None

    @property
    def shape(self) -> Shape:
        """The shape.

        Raises:
            UnknownRankError: not even the rank is known.
        """
        if self.known_shape is None:
            raise UnknownRankError("the rank of this value is not known")
        return self.known_shape

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __str__(self) -> str:
        shape = "[...]" if self.known_shape is None else format_shape(self.known_shape)
        content = "" if self.content is None else f"={{{', '.join(format_dim(dim) for dim in self.content)}}}"
        return f"{self.dtype}{shape}{content}"


@dataclass(frozen=True, slots=True, init=False)
class ContainerType(TensorType):
    """The type of a value that is no tensor: use `SequenceType` or `OptionalType`.

    Only operators that the operator table does not hold take such values or give them, so that no pass does more with
    one than hand it on. What looks at the element type and the shape all the same sees the element type of the tensors
    inside, and no shape.

    Attributes:
        element: the type of what is inside. A symbol in its shape may be another size in each element.
    """

    element: TensorType = field(kw_only=True)
    word: ClassVar[str] = "container"

    def __init__(self, element: TensorType) -> None:
        for name, value in (("dtype", element.dtype), ("known_shape", None), ("content", None), ("element", element)):
            object.__setattr__(self, name, value)

    @property
    def depth(self) -> int:
        """How many containers are in each other, this one included."""
        return 1 + (self.element.depth if isinstance(self.element, ContainerType) else 0)

    def __str__(self) -> str:
        return f"{self.word}<{self.element}>"


class SequenceType(ContainerType):
    """Any number of values of one type, one after the other: `sequence<float32[batch, 64]>`."""

    __slots__ = ()
    word = "sequence"


class OptionalType(ContainerType):
    """A value that may be missing: `optional<float32[batch, 64]>`."""

    __slots__ = ()
    word = "optional"


CONTAINERS: Final[dict[str, type[ContainerType]]] = {type_.word: type_ for type_ in (SequenceType, OptionalType)}
"""The kinds of containers, by the word for each."""
