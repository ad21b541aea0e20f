"""The invariants of a graph, checked. A pass that breaks one has a bug; the message names the node and the invariant.

- Nodes form one list, linked both ways, each in this graph and alive; a node comes after the producers of its operands.
- A value has one origin: the graph's inputs, its constants, or a node. Its name is its own in the graph.
- The uses that a value records are the node inputs and graph outputs that read it, no more and no fewer.
- A node of a known operator has attributes and operands that the operator takes, and results of the types that it
  infers, but for what inference cannot tell (see `agree.py`). Operators that the table does not hold are taken as they
  are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from tfgraph.errors import TFGraphError, VerificationError
from tfgraph.ir.agree import agreed_types
from tfgraph.ir.attributes import Attribute, Opaque
from tfgraph.ir.build import check_attributes
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.infer import infer_types
from tfgraph.ir.optable import REQUIRED, OpSpec, find_spec
from tfgraph.ir.text import format_attribute, format_type
from tfgraph.ir.types import TensorType

_Uses: TypeAlias = dict[Value, dict[Node, int]]
_Inferred: TypeAlias = dict[object, Sequence[TensorType]]


def verify(graph: Graph) -> None:
    """Check every invariant that this module lists.

    Raises:
        VerificationError: one of them does not hold; the message names the node, its source line, and the invariant.
    """
    nodes = _linked_nodes(graph)
    uses = _origins_and_uses(graph, nodes)
    _check_recorded_uses(graph, uses)
    inferred: _Inferred = {}
    for node in nodes:
        spec = find_spec(node.key)
        if spec is None:
            for name, value in node.attributes.items():
                if _kind(value) is None:
                    raise VerificationError(f"{node.describe()}: {_not_an_attribute(name, value)}")
        else:
            _check_types(node, spec, inferred)


def _linked_nodes(graph: Graph) -> list[Node]:
    """The nodes in order, having followed every link."""
    nodes: list[Node] = []
    seen: set[Node] = set()
    previous: Node | None = None
    node = graph._first
    while node is not None:
        if node in seen:
            raise VerificationError(f"{node.describe()} is linked twice: the nodes of a graph form one list")
        if node.graph is not graph:
            raise VerificationError(f"{node.describe()} is linked here and belongs to another graph")
        if not node._alive:
            raise VerificationError(f"{node.describe()} was erased and is still linked")
        if node._previous is not previous:
            raise VerificationError(f"{node.describe()} does not link back to the node before it")
        seen.add(node)
        nodes.append(node)
        previous, node = node, node._next
    if graph._last is not previous:
        raise VerificationError("the graph's last node is not the one that the links end at")
    if len(graph) != len(nodes):
        raise VerificationError(f"the graph counts {len(graph)} nodes, and its links lead to {len(nodes)}")
    return nodes


def _origins_and_uses(graph: Graph, nodes: Sequence[Node]) -> _Uses:
    """Each value of the graph with the nodes that read it and how often, having checked origins, names and order."""
    uses: _Uses = {}
    names: dict[str, Value] = {}
    for name, value in graph.inputs.items():
        _declare(graph, value, f"the input '{name}'", uses, names)
        if value.name != name:
            raise VerificationError(f"the input '{name}' is named %{value.name}: an input's name is its value's name")
        if value.producer is not None or value.constant is not None:
            raise VerificationError(f"the input %{name} has a second origin: an input is no constant and no result")
    for value in graph.constants:
        _declare(graph, value, f"the constant %{value.name}", uses, names)
        _check_constant(value)
    for node in nodes:
        for operand in node._inputs:
            if operand is None:
                continue
            readers = uses.get(operand)
            if readers is None:
                raise VerificationError(_unknown_operand(graph, node, operand))
            readers[node] = readers.get(node, 0) + 1
        if not node.outputs:
            raise VerificationError(f"{node.describe()} has no result: a node has at least one")
        for value in node.outputs:
            if value.producer is not node or value.constant is not None:
                raise VerificationError(f"{node.describe()} gives %{value.name}, which records another origin")
            _declare(graph, value, f"a result of {node.describe()}", uses, names)
    return uses


def _declare(graph: Graph, value: Value, what: str, uses: _Uses, names: dict[str, Value]) -> None:
    if value in uses:
        raise VerificationError(
            f"%{value.name} is {what}, and comes from somewhere else as well: a value has one origin"
        )
    if value.name in names:
        raise VerificationError(
            f"%{value.name} is {what}, and another value has that name: names are unique in a graph"
        )
    if value.name not in graph._names:
        raise VerificationError(f"%{value.name} is {what}, and its name is not reserved: rename with `Graph.rename`")
    uses[value] = {}
    names[value.name] = value


def _check_constant(value: Value) -> None:
    constant = value.constant
    if constant is None or value.producer is not None:
        raise VerificationError(f"%{value.name} is among the constants, and has no elements or another origin")
    if value.dtype is not constant.dtype or value.type.known_shape != constant.shape:
        raise VerificationError(
            f"%{value.name} is recorded as {format_type(value.type)}, and its constant is {constant!r}: they are equal"
        )


def _unknown_operand(graph: Graph, node: Node, value: Value) -> str:
    reads = f"{node.describe()} reads %{value.name}, "
    producer = value.producer
    if producer is node:
        return f"{reads}its own result: a graph has no cycles"
    if producer is None:
        return (
            f"{reads}which is neither an input nor a constant of this graph: operands belong to the graph of the node"
        )
    if not producer.alive:
        return f"{reads}a result of {producer.describe()}, which was erased"
    if producer.graph is not graph:
        return f"{reads}a result of {producer.describe()} in another graph: operands belong to the graph of the node"
    return (
        f"{reads}which {producer.describe()} gives only later: a node comes after the producers of its operands "
        "(`Graph.sort` restores that order)"
    )


def _check_recorded_uses(graph: Graph, uses: _Uses) -> None:
    outputs: dict[Value, int] = {}
    for name, value in graph.outputs.items():
        if value not in uses:
            raise VerificationError(f"the output '{name}' is %{value.name}, which is not a value of this graph")
        outputs[value] = outputs.get(value, 0) + 1
    for value, readers in uses.items():
        if value._uses != readers:
            wrong = next(node for node in [*value._uses, *readers] if value._uses.get(node) != readers.get(node))
            raise VerificationError(
                f"%{value.name} records {value._uses.get(wrong, 0)} uses by {wrong.describe()}, and there are "
                f"{readers.get(wrong, 0)}: only `Graph.add`, `replace_all_uses` and `erase` change operands"
            )
        if value._output_uses != outputs.get(value, 0):
            raise VerificationError(
                f"%{value.name} records {value._output_uses} uses as a graph output, and there are "
                f"{outputs.get(value, 0)}: only `Graph.set_output` and `replace_all_uses` change outputs"
            )


def _check_types(node: Node, spec: OpSpec, inferred: _Inferred) -> None:
    types = _inferred_types(node, spec, inferred)
    if len(types) < len(node.outputs):
        raise VerificationError(f"{node.describe()} has {len(node.outputs)} results, and {spec.key} gives {len(types)}")
    recorded = [value.type for value in node.outputs]
    operands = [None if value is None else value.type for value in node._inputs]
    for value, expected, agreed in zip(
        node.outputs, types, agreed_types(recorded, types[: len(recorded)], operands), strict=False
    ):
        if agreed is None:
            raise VerificationError(
                f"{node.describe()} records %{value.name} as {format_type(value.type)}, and its operands give "
                f"{format_type(expected)}: recorded types are the inferred ones"
            )


def _inferred_types(node: Node, spec: OpSpec, inferred: _Inferred) -> Sequence[TensorType]:
    """The types that the operator infers; asked once for equal applications, of which equal layers have many."""
    operands = tuple([None if value is None else value.type for value in node._inputs])
    attributes = node.attributes
    key: object = (spec.key, operands, tuple([(name, type(value), value) for name, value in attributes.items()]))
    key = (key, len(node.outputs))
    try:
        known = inferred.get(key)
    except TypeError:  # an attribute without a hash: something opaque, or a value that is no attribute
        key = known = None
    if known is not None:
        return known
    try:
        _check_kinds(spec, attributes)
        check_attributes(spec, attributes)
        types = infer_types(spec, operands, attributes, len(node.outputs), node.outputs[0].name)
    except TFGraphError as error:
        raise VerificationError(f"{node.describe()} is not valid: {error}") from error
    if key is not None:
        inferred[key] = types
    return types


def _check_kinds(spec: OpSpec, attributes: Mapping[str, Attribute]) -> None:
    """Raise for values that are no attributes, and for text where the operator has a number, and the like."""
    for name, value in attributes.items():
        kind, default = _kind(value), spec.attributes.get(name)
        if kind is None:
            raise VerificationError(_not_an_attribute(name, value))
        expected = None if default is REQUIRED else _kind(default)
        if expected is not None and kind != expected:
            raise VerificationError(
                f"the attribute '{name}' of {spec.key} is {format_attribute(value)}, {kind}: expected {expected}"
            )


def _not_an_attribute(name: str, value: object) -> str:
    return (
        f"the attribute '{name}' is {value!r}: expected an int, a float, a str, bytes, a tuple of ints, of floats or "
        "of strings, or an Opaque"
    )


def _kind(value: Any) -> str | None:
    """What sort of attribute `value` is; None for what is no attribute."""
    match value:
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case bytes():
            return "bytes"
        case Opaque():
            return "opaque"
        case tuple() if all(isinstance(element, int | float) for element in value):
            return "a tuple"
        case tuple() if all(isinstance(element, str) for element in value):
            return "a tuple"
    return None
