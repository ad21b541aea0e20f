"""What the content rules of many operators share: applying a function of dimensions to each element.

Content is what is known about the elements of a small integer or boolean tensor; see `TensorType`. Nothing here
registers an operator.
"""

from __future__ import annotations

from collections.abc import Callable

from tfgraph.ir.dims import Dim
from tfgraph.ir.optable import Operands

Content = tuple[Dim, ...]


def keep(given: Operands) -> Content | None:
    """The content of the first operand: for operators that move no element of a vector."""
    return given.content(0)


def each(function: Callable[..., Dim | None]) -> Callable[[Operands], Content | None]:
    """The rule that applies `function` to the operands' elements, place by place, vectors of one element repeated.

    `function` returns None where the element cannot be told; then the whole content is not known.
    """

    def rule(given: Operands) -> Content | None:
        contents = all_contents(given)
        if contents is None:
            return None
        length = 0 if any(not content for content in contents) else max(len(content) for content in contents)
        result = [function(*(pick(content, index) for content in contents)) for index in range(length)]
        known = tuple(dim for dim in result if dim is not None)
        return known if len(known) == length else None

    return rule


def all_contents(given: Operands) -> list[Content] | None:
    """The contents of all operands, or None where one is not known."""
    contents = [type_.content for type_ in given.types if type_ is not None]
    known = [content for content in contents if content is not None]
    return known if len(known) == len(contents) else None


def pick(content: Content, index: int) -> Dim:
    """The element of a broadcast vector at `index`."""
    return content[0] if len(content) == 1 else content[index]
