"""The graph: `Value`, `Node`, `Graph`, and the only three mutations there are.

Ownership: a node belongs to one graph. A value has one origin: a node, the graph's inputs, or a constant. `Graph.add`,
`Graph.replace_all_uses` and `Graph.erase` are the only code that writes uses or links, so uses are never stale.
What rewrites graphs is in `tfgraph.passes`; what checks them in `verify.py`; what prints them in `text.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfgraph.errors import GraphError
from tfgraph.ir.attributes import Attribute, Opaque, Source
from tfgraph.ir.constant import Constant
from tfgraph.ir.dims import Dim, Shape
from tfgraph.ir.dtypes import DType
from tfgraph.ir.types import TensorType

if TYPE_CHECKING:
    import networkx

__all__ = ["Attribute", "Graph", "Node", "Opaque", "Source", "Value"]


class Value:
    """A typed tensor in a graph, with one origin and tracked uses. Identity is the object; the name is for people."""

    __slots__ = ("_output_uses", "_uses", "constant", "name", "producer", "type")

    def __init__(
        self, name: str, type_: TensorType, *, producer: Node | None = None, constant: Constant | None = None
    ) -> None:
        self.name = name
        self.type = type_
        self.producer = producer
        self.constant = constant
        self._uses: dict[Node, int] = {}
        self._output_uses = 0

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.type.dtype

    @property
    def shape(self) -> Shape:
        """Shape; raises `UnknownRankError` where not even the rank is known."""
        return self.type.shape

    @property
    def rank(self) -> int:
        """Number of axes; raises `UnknownRankError` where it is not known."""
        return len(self.type.shape)

    @property
    def content(self) -> tuple[Dim, ...] | None:
        """The elements as dimensions, where they are known; see `TensorType`."""
        return self.type.content

    @property
    def users(self) -> tuple[Node, ...]:
        """The nodes that read this value, each once, in the order in which they first used it."""
        return tuple(self._uses)

    @property
    def num_uses(self) -> int:
        """How many node inputs and graph outputs read this value."""
        return sum(self._uses.values()) + self._output_uses

    @property
    def is_output(self) -> bool:
        """Whether the graph returns this value."""
        return self._output_uses > 0

    def __repr__(self) -> str:
        return f"%{self.name}: {self.type}"


class Node:
    """One application of an operator. Read-only from outside: `Graph` makes, rewires and erases nodes."""

    __slots__ = (
        "_alive",
        "_inputs",
        "_next",
        "_previous",
        "attributes",
        "domain",
        "graph",
        "op",
        "outputs",
        "scope",
        "source",
    )

    def __init__(
        self,
        graph: Graph,
        op: str,
        domain: str,
        inputs: Sequence[Value | None],
        attributes: Mapping[str, Attribute],
        scope: str,
        source: Source | None,
    ) -> None:
        self.graph = graph
        self.op = op
        self.domain = domain
        self.attributes: Mapping[str, Attribute] = attributes
        self.scope = scope
        self.source = source
        self.outputs: tuple[Value, ...] = ()
        self._inputs: list[Value | None] = list(inputs)
        self._previous: Node | None = None
        self._next: Node | None = None
        self._alive = True

    @property
    def inputs(self) -> tuple[Value | None, ...]:
        """The operands; None where an optional one is left out before a later one that is given."""
        return tuple(self._inputs)

    @property
    def output(self) -> Value:
        """The first (for most operators the only) result."""
        return self.outputs[0]

    @property
    def alive(self) -> bool:
        """Whether the node is still in its graph."""
        return self._alive

    @property
    def key(self) -> str:
        """The operator with its domain, as the operator table names it: `MatMul`, `com.microsoft::FusedMatMul`."""
        return f"{self.domain}::{self.op}" if self.domain else self.op

    def input(self, index: int) -> Value | None:
        """The operand at `index`, None where it is left out or beyond the end."""
        return self._inputs[index] if index < len(self._inputs) else None

    def required(self, index: int) -> Value:
        """The operand at `index`.

        Raises:
            GraphError: it is left out.
        """
        value = self.input(index)
        if value is None:
            raise GraphError(f"{self.describe()} lacks its input {index}")
        return value

    def describe(self) -> str:
        """The node for an error or a report: operator, first output, and the user's line if it is known."""
        name = self.outputs[0].name if self.outputs else "?"
        return f"{self.key} '{name}'" + (f" ({self.source})" if self.source else "")

    def __repr__(self) -> str:
        return f"<{self.describe()}>"


class Graph:
    """A directed acyclic graph of nodes, in topological order, with named inputs and named outputs.

    `inputs` and `outputs` map the interface's names, which never change, to values. `constants` are the values that
    hold weights. `metadata` is free text that travels with the file.
    """

    def __init__(self, name: str = "main") -> None:
        self.name = name
        self.metadata: dict[str, str] = {}
        self.inputs: dict[str, Value] = {}
        self.constants: dict[Value, None] = {}
        self._outputs: dict[str, Value] = {}
        self._first: Node | None = None
        self._last: Node | None = None
        self._num_nodes = 0
        self._names: dict[str, int] = {}

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def outputs(self) -> Mapping[str, Value]:
        """The results, by the names that a caller sees."""
        return self._outputs

    def __len__(self) -> int:
        return self._num_nodes

    def __iter__(self) -> Iterator[Node]:
        """The nodes in order. Erasing the node just given, and adding nodes anywhere, is allowed while iterating."""
        node = self._first
        while node is not None:
            following = node._next
            yield node
            node = node._next if node._alive else following
            while node is not None and not node._alive:
                node = node._next

    def __reversed__(self) -> Iterator[Node]:
        node = self._last
        while node is not None:
            preceding = node._previous
            yield node
            node = node._previous if node._alive else preceding
            while node is not None and not node._alive:
                node = node._previous

    def values(self) -> Iterator[Value]:
        """Every value: inputs, constants, then the results of the nodes in order."""
        yield from self.inputs.values()
        yield from self.constants
        for node in self:
            yield from node.outputs

    def __str__(self) -> str:
        from tfgraph.ir.text import format_graph

        return format_graph(self)

    def to_networkx(self) -> networkx.MultiDiGraph[Any]:
        """A view for graph theory: one vertex a `Node`, one edge a use, keyed by the value's name."""
        from tfgraph.ir.networkx_view import to_networkx

        return to_networkx(self)

    # -- building -----------------------------------------------------------------------------------------------------

    def unique_name(self, wanted: str) -> str:
        """`wanted`, or `wanted_1`, `wanted_2`, … if that is taken. The name is reserved."""
        name = self.free_name(wanted)
        self._names[name] = 0
        return name

    def free_name(self, wanted: str) -> str:
        """The name that `unique_name` would give, not reserved."""
        name = wanted
        while name in self._names:
            self._names[wanted] += 1
            name = f"{wanted}_{self._names[wanted]}"
        return name

    def add_input(self, name: str, dtype: DType, shape: Shape | None) -> Value:
        """Declare an input.

        Raises:
            GraphError: the name is taken.
        """
        if name in self._names:
            raise GraphError(f"the graph already has a value named '{name}'; inputs need names of their own")
        value = Value(self.unique_name(name), TensorType(dtype, shape))
        self.inputs[name] = value
        return value

    def add_constant(self, constant: Constant, name: str) -> Value:
        """Add a value that holds `constant`."""
        from tfgraph.ir.infer import constant_content

        type_ = TensorType(constant.dtype, constant.shape, constant_content(constant))
        value = Value(self.unique_name(name), type_, constant=constant)
        self.constants[value] = None
        return value

    def set_output(self, name: str, value: Value) -> None:
        """Return `value` under `name`, in place of what was returned under it."""
        old = self._outputs.get(name)
        if old is not None:
            old._output_uses -= 1
        self._outputs[name] = value
        value._output_uses += 1

    # -- the three mutations ------------------------------------------------------------------------------------------

    def add(
        self,
        op: str,
        inputs: Sequence[Value | None],
        attributes: Mapping[str, Attribute] | None = None,
        *,
        types: Sequence[TensorType],
        names: Sequence[str],
        domain: str = "",
        before: Node | None = None,
        scope: str = "",
        source: Source | None = None,
    ) -> Node:
        """Add a node whose results have the given types and (made unique) names; at the end, or before a node.

        Most callers want `tfgraph.ir.build.add_node`, which infers the types and picks the names.
        """
        trimmed = list(inputs)
        while trimmed and trimmed[-1] is None:
            trimmed.pop()
        node = Node(self, op, domain, trimmed, dict(attributes or {}), scope, source)
        node.outputs = tuple(
            Value(self.unique_name(name), type_, producer=node) for name, type_ in zip(names, types, strict=True)
        )
        for value in trimmed:
            if value is not None:
                value._uses[node] = value._uses.get(node, 0) + 1
        self._link(node, before)
        self._num_nodes += 1
        return node

    def replace_all_uses(self, old: Value, new: Value) -> None:
        """Make everything that reads `old`, graph outputs included, read `new`."""
        if old is new:
            return
        for node, count in old._uses.items():
            node._inputs = [new if value is old else value for value in node._inputs]
            new._uses[node] = new._uses.get(node, 0) + count
        old._uses = {}
        if old._output_uses:
            for name, value in self._outputs.items():
                if value is old:
                    self._outputs[name] = new
            new._output_uses += old._output_uses
            old._output_uses = 0

    def erase(self, item: Node | Value) -> None:
        """Remove a node, or a constant value, that nothing reads any more.

        Raises:
            GraphError: something still reads it, or it is not in the graph.
        """
        if isinstance(item, Node) and (item.graph is not self or not item._alive):
            raise GraphError(f"cannot erase {item.describe()}: it was erased before, or belongs to another graph")
        for value in (item,) if isinstance(item, Value) else item.outputs:
            if value.num_uses:
                readers = ", ".join(user.describe() for user in value.users[:3]) or "the graph's outputs"
                raise GraphError(f"cannot erase %{value.name}: it is still read by {readers}")
        if isinstance(item, Value):
            if item not in self.constants:
                raise GraphError(f"cannot erase %{item.name}: only constants and nodes are erased")
            del self.constants[item]
            self._names.pop(item.name, None)
            return
        for operand in item._inputs:
            if operand is not None:
                operand._uses.pop(item, None)  # of all its places at once
        for value in item.outputs:
            self._names.pop(value.name, None)
        self._unlink(item)
        item._alive = False
        self._num_nodes -= 1

    def rename(self, value: Value, wanted: str) -> None:
        """Give `value` another name, made unique. Names are for people; inputs keep theirs, being the interface.

        Raises:
            GraphError: the value is an input of the graph.
        """
        if value.name in self.inputs and self.inputs[value.name] is value:
            raise GraphError(f"%{value.name} is an input of the graph, and its name is part of the interface")
        self._names.pop(value.name, None)
        value.name = self.unique_name(wanted)

    # -- order --------------------------------------------------------------------------------------------------------

    def sort(self) -> None:
        """Restore topological order, moving as few nodes as possible: a node waits until its operands are there.

        Raises:
            GraphError: the graph has a cycle.
        """
        from tfgraph.ir.order import topological_order

        order = topological_order(self)
        self._first = self._last = None
        for node in order:
            self._link(node, None)

    def _link(self, node: Node, before: Node | None) -> None:
        after = self._last if before is None else before._previous
        node._previous, node._next = after, before
        if after is None:
            self._first = node
        else:
            after._next = node
        if before is None:
            self._last = node
        else:
            before._previous = node

    def _unlink(self, node: Node) -> None:
        if node._previous is None:
            self._first = node._next
        else:
            node._previous._next = node._next
        if node._next is None:
            self._last = node._previous
        else:
            node._next._previous = node._previous
