"""`to_onnx_ir`: the IR as an ONNX model, one node for one node.

Nothing is optimised or replaced here: a node that the target cannot run is refused, and replacing it is the work of the
legalisation pass. Weights stay handles until `write.py` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from tfgraph.backends.onnx.attributes import is_split_fill, write_array, write_attribute, write_fill
from tfgraph.backends.onnx.legality import check_node, omitted_outputs
from tfgraph.backends.onnx.names import Names
from tfgraph.backends.onnx.opaque import OMITTED, Subgraph, file_domain
from tfgraph.backends.onnx.read import DOMAIN_VERSION_KEY
from tfgraph.backends.onnx.schemas import find_schema
from tfgraph.backends.onnx.scope import SOURCE_KEY
from tfgraph.backends.onnx.value_types import write_type_and_shape
from tfgraph.capabilities import Capabilities
from tfgraph.errors import OnnxError
from tfgraph.ir.constant import Constant
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Node, Opaque, Value
from tfgraph.version import __version__

if TYPE_CHECKING:
    import onnx_ir

CONSTANT_KEY: Final = "tfgraph.constant"
"""Under this key the `meta` of a tensor holds the `Constant` that it is made from."""


def to_onnx_ir(graph: Graph, capabilities: Capabilities, metadata: Mapping[str, str] | None = None) -> onnx_ir.Model:
    """The graph as an ONNX model for a target, its weights not read.

    The opset and the IR version are the target's. Inputs and outputs have exactly the names of the graph's interface,
    and are in its order. The model's metadata is the graph's, `tfgraph.version`, `tfgraph.target`, and `metadata`.

    Raises:
        TargetError: the target cannot run a node; the message names it and the reason.
        OnnxError: the graph holds something that no ONNX file can.
    """
    import onnx_ir as ir

    lowering = _Lowering(capabilities, graph.metadata)
    lowered = lowering.graph(graph, Names(), {})
    lowered.opset_imports.update(lowering.opsets)
    kept = {key: value for key, value in graph.metadata.items() if not key.startswith(DOMAIN_VERSION_KEY)}
    return ir.Model(
        lowered,
        ir_version=capabilities.ir_version,
        producer_name="tfgraph",
        producer_version=__version__,
        metadata_props={
            **kept,
            "tfgraph.version": __version__,
            "tfgraph.target": capabilities.name,
            **(metadata or {}),
        },
    )


class _Lowering:
    """One model on its way to ONNX: the target, and the operator domains met so far."""

    def __init__(self, capabilities: Capabilities, metadata: Mapping[str, str]) -> None:
        self._capabilities = capabilities
        self._metadata = metadata
        self.opsets: dict[str, int] = {"": capabilities.opset}

    def graph(self, graph: Graph, names: Names, captured: Mapping[str, onnx_ir.Value]) -> onnx_ir.Graph:
        """A graph; `captured` are the values around a subgraph, by the names of the inputs that stand for them."""
        import onnx_ir as ir

        own = {name: value for name, value in graph.inputs.items() if name not in captured}
        named = names.assign(graph, own)
        lowered = {graph.inputs[name]: value for name, value in captured.items()}
        for value in own.values():
            lowered[value] = self._value(value, named[value])
        initializers = []
        for value in graph.constants:
            if value.num_uses and value.constant is not None:
                lowered[value] = self._value(value, named[value])
                lowered[value].const_value = _tensor(value.constant, named[value])
                initializers.append(lowered[value])
        nodes = [self._node(node, named, names, lowered) for node in graph]
        outputs = []
        for name, value in graph.outputs.items():
            direct = lowered[value]
            if named.get(value) != names.output(name):  # an input, a constant, or what another output already is
                copied = self._value(value, names.output(name))
                nodes.append(ir.Node("", "Identity", [direct], outputs=[copied], name=copied.name))
                direct = copied
            outputs.append(direct)
        inputs = [lowered[value] for value in own.values()]
        return ir.Graph(inputs, outputs, nodes=nodes, initializers=initializers, name=graph.name)

    def _value(self, value: Value, name: str) -> onnx_ir.Value:
        import onnx_ir as ir

        type_, shape = write_type_and_shape(value.type)
        return ir.Value(name=name, shape=shape, type=type_)

    def _node(
        self, node: Node, named: Mapping[Value, str], names: Names, lowered: dict[Value, onnx_ir.Value]
    ) -> onnx_ir.Node:
        import onnx_ir as ir

        check_node(node, self._capabilities)
        operands = [None if value is None else lowered[value] for value in node.inputs]
        attributes = self._attributes(node, names, operands)
        omitted = omitted_outputs(node, self._capabilities.opset)
        outputs = []
        for index, value in enumerate(node.outputs):
            made = ir.Value(name="") if index in omitted else self._value(value, named[value])
            lowered[value] = made
            outputs.append(made)
        while outputs[-1].name == "":
            outputs.pop()
        domain = file_domain(node)
        if domain:
            version = self._metadata.get(f"{DOMAIN_VERSION_KEY}{domain}", "1")
            self.opsets.setdefault(domain, self._capabilities.domains.get(domain, int(version)))
        return ir.Node(
            domain,
            node.op,
            operands,
            list(attributes.values()),
            outputs=outputs,
            name=next(value.name for value in outputs if value.name),
            metadata_props={SOURCE_KEY: _source(node)} if node.source is not None else None,
        )

    def _attributes(self, node: Node, names: Names, operands: list[onnx_ir.Value | None]) -> dict[str, onnx_ir.Attr]:
        """The node's attributes; what only its subgraphs read is taken off `operands`."""
        import onnx_ir as ir

        given: dict[str, Any] = {name: value for name, value in node.attributes.items() if name != OMITTED}
        if is_split_fill(node.op, given):
            return write_fill(given)
        schema = None if file_domain(node) else find_schema(node.op, self._capabilities.opset)
        kinds = schema.attributes if schema is not None else {}
        written: dict[str, onnx_ir.Attr] = {}
        num_operands = len(operands)
        for name, value in given.items():
            match value:
                case Opaque(payload=Subgraph() as subgraph):
                    captured = {inner: operands[position] for inner, position in subgraph.captured}
                    around = {inner: outer for inner, outer in captured.items() if outer is not None}
                    written[name] = ir.AttrGraph(name, self.graph(subgraph.graph, Names(names), around))
                    num_operands = min(num_operands, subgraph.num_operands)
                case _:
                    written[name] = write_attribute(name, value, kinds.get(name), node.op)
        del operands[num_operands:]
        return written


def _source(node: Node) -> str:
    """The line of the user's model, without folders, so that a file does not depend on where it is made."""
    if node.source is None:
        return ""
    return f"{PurePath(node.source.file).name}:{node.source.line}"


def _tensor(constant: Constant, name: str) -> onnx_ir.TensorProtocol:
    """A tensor whose elements are read when it is written."""
    import onnx_ir as ir

    if constant.dtype is DType.STRING:
        return write_array(constant.numpy(), "string", name)
    tensor = ir.LazyTensor(
        partial(_read, constant, name),
        dtype=ir.DataType(constant.dtype.onnx_code),
        shape=ir.Shape(constant.shape),
        name=name,
    )
    tensor.meta[CONSTANT_KEY] = constant
    return tensor


def _read(constant: Constant, name: str) -> onnx_ir.TensorProtocol:
    array = constant.numpy()
    if array.shape != constant.shape or array.dtype != constant.dtype.numpy():
        raise OnnxError(
            f"the weight '{name}' was declared as {constant!r} and reads as {array.dtype}{list(array.shape)}"
        )
    return write_array(array, str(constant.dtype), name)
