"""What makes a rewritten file the same model to whoever uses it: the interface as declared, and the file's metadata.

Passes see neither: they work on the IR, which may know more about a shape than the file declares, and calls a size that
two inputs share by one name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import onnx_ir


def keep_identity(model: onnx_ir.Model, source: onnx.ModelProto) -> None:
    """Give `model`, made from `source`, what `source` declares about itself.

    That is the types of inputs and outputs with the names of their dynamic axes, texts about them, the model's
    producer, domain, version and text, and what is kept with its graph. Metadata of the model goes through the IR.
    """
    import onnx_ir as ir

    declared = {value.name: value for value in (*source.graph.input, *source.graph.output)}
    for value in (*model.graph.inputs, *model.graph.outputs):
        proto = declared.get(value.name or "")
        if proto is None:
            continue
        if proto.type.WhichOneof("value") in ("tensor_type", "sequence_type", "optional_type"):
            own = ir.serde.deserialize_value_info_proto(proto, None)
            value.shape = own.shape
            value.doc_string = own.doc_string
            value.metadata_props.update(own.metadata_props)
    graph = model.graph
    graph.name = source.graph.name or graph.name
    graph.doc_string = source.graph.doc_string
    graph.metadata_props.update({entry.key: entry.value for entry in source.graph.metadata_props})
    model.producer_name = source.producer_name
    model.producer_version = source.producer_version
    model.domain = source.domain
    model.model_version = source.model_version
    model.doc_string = source.doc_string
