"""What is known about a value before the model runs: its element type, its shape, and, for small integer tensors, its
elements as dimensions.

The last is what lets shape arithmetic be folded: after `Shape`, `Gather` and `Concat`, the operand of a `Reshape` still
knows that it holds `[batch, seq, 12, 64]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tfgraph.errors import ShapeError
from tfgraph.ir.dim_text import format_dim, format_shape
from tfgraph.ir.dims import Dim, Shape
from tfgraph.ir.dtypes import DType

CONTENT_DTYPES: Final = frozenset({DType.INT32, DType.INT64, DType.BOOL})
"""The element types whose content is tracked: those of shape arithmetic, and the truth values of its guards."""

LARGEST_CONTENT: Final = 64
"""Content of more elements than this is not tracked."""


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
