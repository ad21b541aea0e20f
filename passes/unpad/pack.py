"""The rewriting: chosen nodes run on packed tokens, which are gathered before them and put back after them.

tokens  = NonZero(kept)                    the places [total], among B*S, of the tokens that are kept
packed  = Gather(Reshape(x, [-1, H]), tokens)          [total, H]
x       = Gather(packed, CumSum(kept) - 1)             [B, S, H]; padding gets the row of some token
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tfgraph.ir.build import add_array, add_node
from tfgraph.ir.dims import Dim
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Attribute, Graph, Node, Value
from tfgraph.ir.types import TensorType
from tfgraph.passes.rewrite import Rewriter
from tfgraph.passes.unpad.padding import Padding
from tfgraph.passes.unpad.region import exits
from tfgraph.passes.unpad.rows import Role, RowPlan, width_of


@dataclass(frozen=True)
class _Indices:
    """Where tokens are.

    Attributes:
        tokens: of each packed row its place among B*S, [total].
        places: of each packed row its place in its text, [total].
        rows: of each place the row that stands there, [B*S]; at padding any.
        zero_rows: the same with `total`, the row after the last, at padding.
        shape: the mask's shape as numbers.
        real: whether a token stands at a place, bool [B, S].
    """

    tokens: Value
    places: Value
    rows: Value
    zero_rows: Value
    shape: Value
    real: Value

    @property
    def total(self) -> Dim:
        """How many rows there are."""
        return self.tokens.shape[0]


def pack(
    graph: Graph,
    chosen: Mapping[Node, RowPlan],
    padding: Padding,
    *,
    zeroed: set[Value],
    outputs: Mapping[str, int],
    places: Iterable[int],
) -> None:
    """Run the nodes `chosen` on packed tokens.

    Args:
        chosen: the nodes, in order, each with its plan.
        zeroed: results to put back with zeros at padding; at others padding gets the numbers of some token.
        outputs: outputs that must be made zero at padding, each with the axis that counts places.
        places: places of each text to keep though they be padding.
    """
    rewriter = Rewriter(graph)
    indices = _indices(graph, padding, {0, *places})
    packing = _Packing(rewriter, padding, indices)
    leaving = exits(chosen)
    for node, plan in chosen.items():
        rewriter.at(node)
        packing.add(node, plan)
    restored: dict[Value, Value] = {}
    for value in leaving:
        if value.producer is not None:
            rewriter.at(value.producer)
            restored[value] = packing.put_back(value, zeros=value in zeroed)
    names = {}
    for node in chosen:
        for value in node.outputs:
            new = restored.get(value) or packing.rows[value]
            names[new] = value.name
            graph.replace_all_uses(value, new)
    for node in reversed(list(chosen)):
        graph.erase(node)
    for value, name in names.items():
        graph.rename(value, name)
    for name, axis in outputs.items():
        _hide_padding(graph, name, axis, indices.real)


def _hide_padding(graph: Graph, name: str, axis: int, real: Value) -> None:
    """Make an output zero at padding."""
    value = graph.outputs[name]
    shape = [0, *(-1 if at == axis else 1 for at in range(1, value.rank))]
    test = add_node(graph, "Reshape", [real, add_array(graph, np.asarray(shape, np.int64), "unpad.shape")])
    zero = add_array(graph, np.zeros((), value.dtype.numpy()), "unpad.zero")
    hidden = add_node(graph, "Where", [test.output, value, zero], scope=value.name)
    graph.set_output(name, hidden.output)


class _Packing:
    """One rewriting: packed values by the values that they stand for."""

    def __init__(self, rewriter: Rewriter, padding: Padding, indices: _Indices) -> None:
        self.rewriter = rewriter
        self.padding = padding
        self.indices = indices
        self.rows: dict[Value, Value] = {}
        self._at_places: dict[Value, Value] = {}
        self._same: dict[Value, Value] = {}

    def add(self, node: Node, plan: RowPlan) -> None:
        """Add what `node` does, on packed rows, in front of it."""
        drop = node.output.shape[0] == self.padding.batch  # the packed form has one axis in place of two
        operands = [
            None if operand is None or role is None else self._operand(operand, role, node)
            for operand, role in zip(node.inputs, plan.roles, strict=True)
        ]
        if node.key in ("Reshape", "Unsqueeze", "Squeeze"):
            width = width_of(node.output, self.padding)
            view = self.rewriter.emit("Reshape", [operands[0], self.rewriter.ints([-1, *width])])
            self.rows[node.output] = view
            return
        types = [
            TensorType(value.dtype, (self.indices.total, *width_of(value, self.padding))) if has_rows else value.type
            for value, has_rows in zip(node.outputs, plan.results, strict=True)
        ]
        attributes = dict(node.attributes)
        axis = attributes.get("axis")
        if drop and isinstance(axis, int) and axis > 0:
            attributes["axis"] = axis - node.output.rank
        packed = self.rewriter.graph.add(
            node.op,
            operands,
            attributes,
            types=types,
            names=[f"{value.name}.packed" for value in node.outputs],
            domain=node.domain,
            before=node,
            scope=node.scope,
            source=node.source,
        )
        self.rows.update(zip(node.outputs, packed.outputs, strict=True))

    def put_back(self, value: Value, *, zeros: bool) -> Value:
        """The packed rows of `value` in their places."""
        packed, emit = self.rows[value], self.rewriter.emit
        index = self.indices.zero_rows if zeros else self.indices.rows
        if zeros:
            width = width_of(value, self.padding)
            zero = add_array(self.rewriter.graph, np.zeros((1, *width), value.dtype.numpy()), "zero_row")
            packed = emit("Concat", [packed, zero], {"axis": 0})
        if value.shape[0] == self.padding.batch:
            index = emit("Reshape", [index, self.indices.shape])  # [B, S]
        return emit("Gather", [packed, index])

    def _operand(self, operand: Value, role: Role, node: Node) -> Value:
        if role is Role.ROWS:
            return self.rows.get(operand) or self._gathered(operand)
        if role is Role.PLACES:
            return self._of_places(operand)
        operand = self.rows.get(operand, operand)  # a scale that was computed from packed rows
        shape = operand.type.known_shape
        if shape is not None and node.output.shape[0] == self.padding.batch and len(shape) == node.output.rank:
            return self._without_first_axis(operand)  # [1, 1, ...]
        return operand

    def _gathered(self, value: Value) -> Value:
        """The rows of the tokens of a value that is not packed."""
        flat = value
        if value.shape[0] == self.padding.batch:
            flat = self.rewriter.emit("Reshape", [value, self.rewriter.ints([-1, *width_of(value, self.padding)])])
        self.rows[value] = self.rewriter.emit("Gather", [flat, self.indices.tokens])
        return self.rows[value]

    def _of_places(self, value: Value) -> Value:
        """Of what has a row for each place in a text, the row of each token's place."""
        if value not in self._at_places:
            table = value if value.shape[0] == self.padding.length else self._without_first_axis(value)
            self._at_places[value] = self.rewriter.emit("Gather", [table, self.indices.places])
        return self._at_places[value]

    def _without_first_axis(self, value: Value) -> Value:
        if value not in self._same:
            self._same[value] = self.rewriter.emit("Squeeze", [value, self.rewriter.ints([0])])
        return self._same[value]


def _indices(graph: Graph, padding: Padding, kept_places: set[int]) -> _Indices:
    """The places of tokens, from the mask; the first of each text is kept, so that there is always a token."""
    mask, first = padding.mask, next(iter(graph))

    def emit(key: str, inputs: Sequence[Value], attributes: Mapping[str, Attribute] | None = None) -> Value:
        return add_node(graph, key, inputs, attributes, before=first, scope="unpad").output

    def ints(numbers: int | list[int]) -> Value:
        return add_array(graph, np.asarray(numbers, np.int64), "unpad.ints")

    shape = emit("Shape", [mask])
    length = emit("Shape", [mask], {"start": 1, "end": 2})
    real = mask if mask.dtype is DType.BOOL else emit("Cast", [mask], {"to": "bool"})
    numbers = emit("Range", [ints(0), emit("Squeeze", [length, ints([0])]), ints(1)])  # [S]
    kept = real
    for place in sorted(kept_places):
        wanted = emit("Add", [length, ints([place])]) if place < 0 else ints([place])
        kept = emit("Or", [kept, emit("Equal", [numbers, wanted])])
    flat = emit("Reshape", [kept, ints([-1])])
    tokens = emit("Reshape", [emit("NonZero", [flat]), ints([-1])])
    rows = emit("Sub", [emit("CumSum", [emit("Cast", [flat], {"to": "int64"}), ints(0)]), ints(1)])
    zero_rows = emit("Where", [emit("Reshape", [real, ints([-1])]), rows, emit("Shape", [tokens])])
    return _Indices(tokens, emit("Mod", [tokens, length]), rows, zero_rows, shape, real)
