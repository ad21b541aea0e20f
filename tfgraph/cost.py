"""What running a graph costs at chosen sizes, estimated: operations, and bytes moved.

Operations are counted in `flops.py`. For bytes, every operand is read once and every result written once, as if no
cache held anything between two nodes: an estimate of what fusing saves. What only looks at its operand in another way
(a reshape) moves nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tfgraph.flops import count_flops
from tfgraph.ir.dims import Dim, substitute
from tfgraph.ir.graph import Graph, Node, Value

_VIEWS: Final = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Shape", "Size"})
_READ_IN_PART: Final = frozenset({"Gather", "GatherND", "GatherElements", "Slice"})


@dataclass(frozen=True)
class Cost:
    """A graph in numbers.

    Attributes:
        nodes: how many it has.
        flops: floating-point operations, a multiply-add counted as two.
        nbytes: bytes read and written.
        uncounted: operators, with numbers of nodes, whose operations or bytes are not known, and are not in the sums.
    """

    nodes: int
    flops: int
    nbytes: int
    uncounted: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The cost as plain data, for JSON."""
        return {"nodes": self.nodes, "flops": self.flops, "bytes": self.nbytes, "unknown": dict(self.uncounted)}


def estimate(graph: Graph, sizes: Mapping[str, int]) -> Cost:
    """The cost of running `graph`, the sizes that its inputs leave open settled by `sizes`."""
    settled: dict[str, Dim] = dict(sizes)
    known: dict[Any, int | None] = {}
    flops = nbytes = 0
    uncounted: Counter[str] = Counter()
    for node in graph:
        key = _signature(node)
        if key not in known:
            formula = count_flops(node)
            number = None if formula is None else substitute(formula, settled)
            known[key] = number if isinstance(number, int) else None
        operations, moved = known[key], _count_bytes(node, settled)
        if operations is None or moved is None:
            uncounted[node.key] += 1
        flops += operations or 0
        nbytes += moved or 0
    return Cost(len(graph), flops, nbytes, dict(sorted(uncounted.items())))


def _signature(node: Node) -> Any:
    """What the operations of a node follow from; the node itself where its attributes cannot be compared."""
    types = tuple(None if value is None else (value.dtype, value.type.known_shape) for value in node.inputs)
    results = tuple((value.dtype, value.type.known_shape) for value in node.outputs)
    attributes = tuple(sorted(node.attributes.items(), key=lambda item: item[0]))
    try:
        hash(attributes)
    except TypeError:
        return node
    return node.key, types, results, attributes


def _count_bytes(node: Node, sizes: Mapping[str, Dim]) -> int | None:
    if node.key in _VIEWS:
        return 0
    part = node.key in _READ_IN_PART
    read = [node.output if part and index == 0 else value for index, value in enumerate(node.inputs)]
    counts = [_bytes_of(value, sizes) for value in (*read, *node.outputs) if value is not None]
    numbers = [count for count in counts if count is not None]
    return sum(numbers) if len(numbers) == len(counts) else None


def _bytes_of(value: Value, sizes: Mapping[str, Dim]) -> int | None:
    shape = value.type.known_shape
    if shape is None:
        return None
    elements = 1
    for dim in shape:
        size = dim if isinstance(dim, int) else substitute(dim, sizes)
        if not isinstance(size, int):
            return None
        elements *= size
    return value.dtype.nbytes(elements)
