"""Texts of an ONNX file that are no text: protobuf hands on bytes where a name is not UTF-8, in a damaged file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tfgraph.errors import OnnxError

if TYPE_CHECKING:
    import onnx


def check_texts(model: onnx.ModelProto, label: str) -> None:
    """Refuse a model with a name that is no text.

    Raises:
        OnnxError: there is one.
    """
    for text in _texts(model):
        if not isinstance(text, str):
            raise OnnxError(f"{label} is damaged: the name {bytes(text)!r} in it is not UTF-8")


def _texts(model: onnx.ModelProto) -> Iterator[str]:
    yield from (model.domain, model.producer_name, model.producer_version, model.doc_string, model.graph.doc_string)
    yield from (entry.domain for entry in model.opset_import)
    for entry in model.metadata_props:
        yield from (entry.key, entry.value)
    for function in model.functions:
        yield from (function.domain, function.name, *function.input, *function.output)
        yield from (entry.domain for entry in function.opset_import)
        yield from (attribute.name for attribute in function.attribute_proto)
        yield from _of_nodes(function.node)
    yield from _of_graph(model.graph)


def _of_graph(graph: onnx.GraphProto) -> Iterator[str]:
    yield graph.name
    for values in (graph.input, graph.output, graph.value_info):
        for value in values:
            yield value.name
            yield from _of_type(value.type)
    for tensor in graph.initializer:
        yield tensor.name
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    yield from (tensor.values.name for tensor in graph.sparse_initializer)
    yield from _of_nodes(graph.node)


def _of_type(type_: onnx.TypeProto) -> Iterator[str]:
    while True:
        match type_.WhichOneof("value"):
            case "sequence_type":
                type_ = type_.sequence_type.elem_type
            case "optional_type":
                type_ = type_.optional_type.elem_type
            case _:
                break
    yield from (dim.dim_param for dim in type_.tensor_type.shape.dim if dim.HasField("dim_param"))


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    for node in nodes:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
        for attribute in node.attribute:
            yield from (attribute.name, attribute.ref_attr_name)
            if attribute.HasField("g"):
                yield from _of_graph(attribute.g)
            if attribute.HasField("tp"):
                yield from _of_type(attribute.tp)
        yield from (text for entry in node.metadata_props for text in (entry.key, entry.value))
