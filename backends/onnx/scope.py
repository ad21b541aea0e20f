"""Reading one graph of an ONNX model: names resolved to values, nodes added one by one.

A subgraph has a scope inside the scope of its node, and captures what it reads from there. A call of a model-local
function has a scope of its own over the same graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tfgraph.backends.onnx.application import add_application
from tfgraph.backends.onnx.attributes import read_attribute
from tfgraph.backends.onnx.model_file import check_opset
from tfgraph.backends.onnx.node_constant import read_constant_node
from tfgraph.backends.onnx.node_order import describe, ordered_nodes
from tfgraph.backends.onnx.opaque import Subgraph
from tfgraph.backends.onnx.schemas import find_schema
from tfgraph.backends.onnx.tensors import read_sparse_tensor, read_tensor
from tfgraph.backends.onnx.upgrade import Application
from tfgraph.backends.onnx.value_types import NOTHING, Declared, completed, passed_on, read_declarations
from tfgraph.errors import GraphError, OnnxError
from tfgraph.ir.constant import ArrayConstant, Constant
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Attribute, Graph, Opaque, Source, Value
from tfgraph.ir.types import ContainerType, TensorType

if TYPE_CHECKING:
    import onnx

    from tfgraph.backends.onnx.read import Model

SOURCE_KEY: Final = "tfgraph.source"
"""Metadata of a node: the line of the user's model that it comes from."""

_COPIED_BYTES: Final = 1024  # a constant up to this size is copied into a subgraph, where shape inference looks at it


class Scope:
    """The names of one graph of a file, and the graph of the IR that it is read into.

    Attributes:
        model: what all graphs of the model share.
        graph: where nodes are added.
        opsets: versions of the operator domains.
        captured: for a subgraph, the values around it that it reads, and the names of its inputs that stand for them.
    """

    def __init__(
        self,
        model: Model,
        graph: Graph,
        opsets: Mapping[str, int],
        *,
        parent: Scope | None = None,
        prefix: str = "",
        bindings: Mapping[str, tuple[onnx.AttributeProto, Scope]] | None = None,
    ) -> None:
        self.model = model
        self.graph = graph
        self.opsets = opsets
        self.captured: dict[Value, str] = {}
        self.declared: dict[str, Declared] = {}
        self._parent = parent
        self._prefix = prefix
        self._bindings = bindings or {}
        self._values: dict[str, Value | None] = {}
        self._result_names: dict[str, str] = {}

    # -- names -----------------------------------------------------------------------------------------------

    def __contains__(self, name: object) -> bool:
        return name in self._values or (self._parent is not None and name in self._parent)

    def resolve(self, name: str) -> Value | None:
        """The value of that name, captured from around a subgraph if need be; None for an operand that a call omits.

        Raises:
            OnnxError: nothing produces it.
        """
        if name not in self._values:
            if self._parent is None:
                raise OnnxError(f"'{name}' is read and nothing produces it: {self.model.label} is damaged")
            self._values[name] = self._capture(self._parent.resolve(name), name)
        return self._values[name]

    def _capture(self, outer: Value | None, name: str) -> Value | None:
        if outer is None:
            return None
        if isinstance(outer.constant, ArrayConstant) and outer.constant.nbytes <= _COPIED_BYTES:
            return self.graph.add_constant(outer.constant, self.value_name(name))
        inner = self.graph.free_name(self.value_name(name))
        self.captured[outer] = inner
        return self._input_of_type(inner, outer.type)

    def _input_of_type(self, name: str, type_: TensorType) -> Value:
        value = self.graph.add_input(name, type_.dtype, type_.known_shape)
        if isinstance(type_, ContainerType):
            value.type = type_
        return value

    def value_name(self, name: str) -> str:
        """How the value that the file calls `name` is called in the IR."""
        return self._result_names.get(name) or self._prefix + name

    def made_up_name(self, wanted: str) -> str:
        """A name for a value that the file does not have, clear of the names that are still to come."""
        name = wanted
        while name in self.model.names:
            name += "_"
        return name

    def define(self, name: str, value: Value) -> None:
        """Let `name` stand for `value`."""
        self._values[name] = value

    # -- a graph ---------------------------------------------------------------------------------------------

    def read_graph(self, proto: onnx.GraphProto, formals: Sequence[Declared] = ()) -> None:
        """Read a graph with its interface; `formals` say of the inputs of a subgraph what its node passes.

        Raises:
            OnnxError: it is damaged.
        """
        self.declared = read_declarations([*proto.value_info, *proto.output])
        constants = self._read_initializers(proto)
        inputs = [value for value in proto.input if value.name not in constants]
        if len({value.name for value in inputs}) != len(inputs):
            raise OnnxError(f"{self.model.label} declares an input twice: {', '.join(value.name for value in inputs)}")
        types = read_declarations(inputs)
        for index, value in enumerate(inputs):
            self._add_input(value.name, types[value.name], formals[index] if index < len(formals) else NOTHING)
        for name, constant in constants.items():
            self.define(name, self.graph.add_constant(constant, self.value_name(name)))
        self.read_nodes(proto.node)
        for value in proto.output:
            self._add_output(value.name)

    def _read_initializers(self, proto: onnx.GraphProto) -> dict[str, Constant]:
        constants: dict[str, Constant] = {}
        dense = ((tensor.name, read_tensor(tensor, self.model.data)) for tensor in proto.initializer)
        sparse = ((one.values.name, read_sparse_tensor(one, self.model.data)) for one in proto.sparse_initializer)
        for tensors in (dense, sparse):
            for name, constant in tensors:
                if not name or name in constants:
                    raise OnnxError(f"{self.model.label} has two initializers named '{name}', or one without a name")
                constants[name] = constant
        return constants

    def _add_input(self, name: str, declared: Declared, formal: Declared) -> None:
        given = formal if declared == NOTHING else declared
        dtype = given.dtype or formal.dtype
        if not name or (dtype is None and given.container is None):
            raise OnnxError(f"the input '{name}' of {self.model.label} has no name, or no element type")
        if given.container is None and given.shape is None:
            given = Declared(dtype, formal.shape)
        try:
            self.define(name, self._input_of_type(name, completed(given, name, dtype or DType.FLOAT32)))
        except GraphError as error:
            raise OnnxError(f"{self.model.label}: {error}") from None

    def _add_output(self, name: str) -> None:
        value = self.resolve(name)
        if value is None:
            raise OnnxError(f"the output '{name}' of {self.model.label} is left out where it is computed")
        interface = name
        if name in self.graph.outputs:
            if self._parent is None:
                raise OnnxError(f"{self.model.label} returns '{name}' twice under the same name")
            interface = f"{name}_{len(self.graph.outputs)}"  # a subgraph's results are told apart by their position
        self.graph.set_output(interface, value)

    def read_nodes(self, protos: Sequence[onnx.NodeProto]) -> None:
        """Read nodes, in whatever order the file lists them.

        Raises:
            OnnxError: one of them is damaged, or they form a cycle.
        """
        outer: Any = self._parent if self._parent is not None else ()
        for proto in ordered_nodes(protos, self._values, outer):
            self._read_node(proto)

    # -- a node ----------------------------------------------------------------------------------------------

    def _read_node(self, proto: onnx.NodeProto) -> None:
        self.model.count_node()
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        inputs = [self.resolve(name) if name else None for name in proto.input]
        outputs = list(proto.output)
        while outputs and not outputs[-1]:
            outputs.pop()
        if not outputs:
            return  # nothing can read it
        protos = dict(self._bound(proto.attribute))
        function = self.model.functions.get((domain, proto.op_type))
        if function is not None:
            self._call(function, inputs, outputs, protos, describe(proto))
            return
        app = Application(proto.op_type, domain, inputs, outputs, {}, describe(proto))
        if not domain and proto.op_type == "Constant":
            constant = read_constant_node([one for one, _ in protos.values()], self.model.data, app.label)
            self.define(outputs[0], self.graph.add_constant(constant, self.value_name(outputs[0])))
            return
        app.attributes = self._read_attributes(app, protos)
        source = next((entry.value for entry in proto.metadata_props if entry.key == SOURCE_KEY), None)
        add_application(self, app, _read_source(source))

    def _bound(self, protos: Iterable[onnx.AttributeProto]) -> Iterable[tuple[str, tuple[onnx.AttributeProto, Scope]]]:
        """The attributes of a node, references to a function's attributes resolved, each with the scope it is from."""
        for proto in protos:
            if not proto.ref_attr_name:
                yield proto.name, (proto, self)
            elif proto.ref_attr_name in self._bindings:
                given, scope = self._bindings[proto.ref_attr_name]
                named = type(given)()
                named.CopyFrom(given)
                named.name = proto.name
                yield proto.name, (named, scope)

    def _call(
        self,
        function: onnx.FunctionProto,
        inputs: Sequence[Value | None],
        outputs: Sequence[str],
        protos: dict[str, tuple[onnx.AttributeProto, Scope]],
        label: str,
    ) -> None:
        """Write out a call of a model-local function."""
        if len(inputs) > len(function.input) or len(outputs) > len(function.output):
            raise OnnxError(
                f"{label} has {len(inputs)} inputs and {len(outputs)} outputs, and the function takes "
                f"{len(function.input)} and gives {len(function.output)}"
            )
        opsets = {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in function.opset_import}
        if "" in opsets:
            check_opset(opsets[""], f"the function {function.name} of {self.model.label}")
        defaults = {proto.name: (proto, self) for proto in function.attribute_proto}
        prefix = f"{self.value_name(outputs[0])}."
        inner = Scope(self.model, self.graph, opsets, prefix=prefix, bindings={**defaults, **protos})
        inner._values = dict(zip(function.input, [*inputs, *[None] * len(function.input)], strict=False))
        inner._result_names = {
            formal: self.value_name(name) for formal, name in zip(function.output, outputs, strict=False) if name
        }
        with self.model.inside((function.domain, function.name)):
            inner.read_nodes(function.node)
        for formal, name in zip(function.output, outputs, strict=False):
            value = inner.resolve(formal)
            if name and value is None:
                raise OnnxError(f"{label} does not compute its output '{name}'")
            if name and value is not None:
                self.define(name, value)

    # -- attributes and subgraphs ----------------------------------------------------------------------------

    def _read_attributes(
        self, app: Application, protos: Mapping[str, tuple[onnx.AttributeProto, Scope]]
    ) -> dict[str, Attribute]:
        attributes: dict[str, Attribute] = {}
        subgraphs: dict[str, Scope] = {}
        for name, (proto, scope) in protos.items():
            if proto.type == proto.GRAPH:
                subgraphs[name] = scope._read_subgraph(proto.g, _formals(app, self.opsets.get("", 0)))
            else:
                _check_kind(app, proto, self.opsets.get(""))
                value = read_attribute(app.op, proto, self.model.data)
                if value is not None:
                    attributes[name] = value
        num_operands = len(app.inputs)
        outer = list(dict.fromkeys(value for scope in subgraphs.values() for value in scope.captured))
        app.inputs += outer
        for name, scope in subgraphs.items():
            captured = tuple((inner, num_operands + outer.index(value)) for value, inner in scope.captured.items())
            payload = Subgraph(scope.graph, captured, num_operands)
            attributes[name] = Opaque(f"graph {scope.graph.name}", payload)
        return attributes

    def _read_subgraph(self, proto: onnx.GraphProto, formals: Sequence[Declared]) -> Scope:
        inner = Scope(self.model, Graph(proto.name or "body"), self.opsets, parent=self, bindings=self._bindings)
        inner.read_graph(proto, formals)
        return inner


def _check_kind(app: Application, proto: onnx.AttributeProto, opset: int | None) -> None:
    """Refuse an attribute of another kind than the standard says."""
    schema = find_schema(app.op, opset) if opset is not None and not app.domain else None
    expected = schema.attributes.get(proto.name) if schema is not None else None
    kinds = type(proto).AttributeType
    found = kinds.Name(proto.type) if proto.type in kinds.values() else f"number {proto.type}"
    if expected not in (None, found):
        raise OnnxError(f"{app.label} has the attribute '{proto.name}' of the kind {found}: expected {expected}")


def _formals(app: Application, opset: int) -> list[Declared]:
    """What the node of a subgraph passes to it, position by position."""
    passed = [NOTHING if value is None else passed_on(value.type) for value in app.inputs]
    match app.op:
        case "Loop":
            return [Declared(DType.INT64, ()), Declared(DType.BOOL, ()), *passed[2:]]
        case "Scan":  # in opset 8 the lengths of rows come first, and are not passed
            return passed[1:] if opset < 9 else passed
        case "SequenceMap":
            return [one if one.container is None else passed_on(one.container.element) for one in passed]
    return []


def _read_source(text: str | None) -> Source | None:
    file, _, line = (text or "").rpartition(":")
    return Source(file, int(line)) if file and line.isascii() and line.isdigit() else None
