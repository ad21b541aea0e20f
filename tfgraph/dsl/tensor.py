"""`Tensor`: what a model's `forward` computes with, and the Python operators that it takes.

A tensor is a handle to a value in the graph being traced. The operators are defined once, on `Operable`, so that a
parameter can be used wherever a tensor can. Named functions are in `functional.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfgraph.errors import TraceError
from tfgraph.ir.dims import Dim, Shape
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Value

if TYPE_CHECKING:
    from tfgraph.dsl.trace import Trace


class Operable:
    """Something that takes part in tensor arithmetic."""

    __slots__ = ()

    @property
    def dtype(self) -> DType:
        """Element type."""
        raise TraceError(f"{type(self).__name__} has no dtype")

    @property
    def shape(self) -> Shape:
        """One dimension an axis."""
        raise TraceError(f"{type(self).__name__} has no shape")

    def in_trace(self, trace: Trace) -> Tensor:
        """The value that stands for this in `trace`."""
        raise TraceError(f"{type(self).__name__} has no value in a trace")

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __add__(self, other: Any) -> Tensor:
        return F.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return F.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return F.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return F.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return F.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return F.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return F.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return F.divide(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return F.power(self, other)

    def __neg__(self) -> Tensor:
        return F.negate(self)

    def __matmul__(self, other: Any) -> Tensor:
        return F.matmul(self, other)

    def __getitem__(self, key: Any) -> Tensor:
        return F.getitem(self, key)

    def __lt__(self, other: Any) -> Tensor:
        return F.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return F.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return F.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return F.greater_equal(self, other)

    def __and__(self, other: Any) -> Tensor:
        return F.logical_and(self, other)

    def __or__(self, other: Any) -> Tensor:
        return F.logical_or(self, other)

    def __invert__(self) -> Tensor:
        return F.logical_not(self)

    def reshape(self, *shape: Dim) -> Tensor:
        """The same elements in another shape; one dimension may be -1."""
        return F.reshape(self, shape)

    def transpose(self, *permutation: int) -> Tensor:
        """The axes reordered: axis `i` of the result is axis `permutation[i]`."""
        return F.transpose(self, permutation)

    def cast(self, dtype: object) -> Tensor:
        """The elements converted to another dtype."""
        return F.cast(self, dtype)


class Tensor(Operable):
    """A value of the graph being traced; it has a dtype, a shape, and no elements."""

    __slots__ = ("trace", "value")

    def __init__(self, value: Value, trace: Trace) -> None:
        self.value = value
        self.trace = trace

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.value.dtype

    @property
    def shape(self) -> Shape:
        """One dimension an axis: integers where the size is fixed, expressions such as `past + seq` where it is not."""
        return self.value.shape

    def in_trace(self, trace: Trace) -> Tensor:
        return self

    def __bool__(self) -> bool:
        raise TraceError(
            f"the truth of {self!r} is not known while the model is traced: Python's `if`, `and`, `while` cannot "
            "depend on a tensor; use `where`, or decide on shapes and settings"
        )

    def __iter__(self) -> Any:
        raise TraceError(f"cannot loop over {self!r}: loop over its size, or use `split`")

    def __repr__(self) -> str:
        return f"Tensor({self.value!r})"


from tfgraph.dsl import functional as F  # noqa: E402  (last, because it is written in terms of the classes above)
