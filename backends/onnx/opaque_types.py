"""Types of the results of nodes that the IR carries without understanding them.

In order: what the file declares, what the subgraphs return, what the ONNX standard infers, and at last the element type
of the first operand with nothing known about the shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tfgraph.backends.onnx.attributes import is_split_fill, write_attribute, write_fill
from tfgraph.backends.onnx.opaque import OMITTED, Subgraph
from tfgraph.backends.onnx.schemas import find_schema
from tfgraph.backends.onnx.upgrade import Application
from tfgraph.backends.onnx.value_types import NOTHING, Declared, completed, passed_on, read_type, write_type
from tfgraph.errors import OnnxError
from tfgraph.ir.constant import ArrayConstant
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Opaque, Value
from tfgraph.ir.optable import OPSET
from tfgraph.ir.types import ContainerType, SequenceType, TensorType

if TYPE_CHECKING:
    import onnx

_LARGEST_OPERAND: Final = 1024  # bytes of a constant operand shown to the standard's inference: shapes, axes, sizes


def opaque_types(app: Application, declared: Sequence[Declared], opset: int) -> list[TensorType]:
    """The types of the results of `app`, where `declared` is what the file says of each.

    Raises:
        OnnxError: the standard's own inference refuses the application.
    """
    known = _merged(declared, _from_subgraphs(app))
    if not app.domain and any(one.container is None and (one.dtype is None or one.shape is None) for one in known):
        known = _merged(known, _from_standard(app, max(opset, OPSET)))
    first = next((value.dtype for value in app.inputs if value is not None), DType.FLOAT32)
    return [completed(one, name, first) for one, name in zip(known, app.outputs, strict=True)]


def check_application(app: Application, opset: int) -> None:
    """Ask the ONNX standard whether an application that the operator table refuses makes sense.

    Raises:
        OnnxError: it does not.
    """
    _check_containers(app, max(opset, OPSET))
    _from_standard(app, max(opset, OPSET))


def _check_containers(app: Application, opset: int) -> None:
    """Refuse a sequence or an optional value where the standard has a tensor."""
    import onnx

    if find_schema(app.op, opset) is None:
        return
    formals = onnx.defs.get_schema(app.op, opset, "").inputs
    for index, value in enumerate(app.inputs):
        if value is None or not isinstance(value.type, ContainerType) or not formals:
            continue
        formal = formals[min(index, len(formals) - 1)]
        if all(allowed.startswith("tensor") for allowed in formal.types):
            raise OnnxError(f"{app.label} takes tensors only, and its input '{value.name}' is {value.type}")


def _merged(first: Sequence[Declared], second: Sequence[Declared]) -> list[Declared]:
    """What either says, the first where both do; the second may be shorter."""
    merged = []
    for one, other in zip(first, [*second, *[NOTHING] * (len(first) - len(second))], strict=False):
        if one.container is not None or other.container is not None:
            merged.append(other if one == NOTHING else one)
            continue
        agree = one.dtype is None or other.dtype is None or one.dtype is other.dtype
        shape = one.shape if one.shape is not None or not agree else other.shape
        merged.append(Declared(one.dtype or other.dtype, shape))
    return merged


def _from_subgraphs(app: Application) -> list[Declared]:
    results = [[value.type for value in subgraph.graph.outputs.values()] for subgraph in _subgraphs(app)]
    if app.domain or not results:
        return []
    match app.op:
        case "If":
            return [_common(types) for types in zip(*results, strict=False)]
        case "Loop":  # the condition to go on comes first; it is no result
            return [passed_on(type_) for type_ in results[0][1:]]
        case "Scan":
            return [passed_on(type_) for type_ in results[0]]
        case "SequenceMap":
            return [passed_on(SequenceType(type_)) for type_ in results[0]]
    return []


def _subgraphs(app: Application) -> list[Subgraph]:
    payloads = [given.payload for given in app.attributes.values() if isinstance(given, Opaque)]
    return [payload for payload in payloads if isinstance(payload, Subgraph)]


def _common(types: tuple[TensorType, ...]) -> Declared:
    """What the results of all branches have in common."""
    if any(isinstance(type_, ContainerType) for type_ in types):
        return _common_container(types)
    dtype = types[0].dtype
    shapes = [type_.known_shape for type_ in types if type_.known_shape is not None]
    if len(shapes) != len(types) or len({len(shape) for shape in shapes}) != 1:
        return Declared(dtype, None)
    dims = zip(*shapes, strict=True)
    return Declared(dtype, tuple(choices[0] if len(set(choices)) == 1 else None for choices in dims))


def _common_container(types: tuple[TensorType, ...]) -> Declared:
    if len(set(types)) == 1:
        return Declared(None, None, types[0] if isinstance(types[0], ContainerType) else None)
    loose = {passed_on(type_) for type_ in types}
    return loose.pop() if len(loose) == 1 else NOTHING


def _from_standard(app: Application, opset: int) -> list[Declared]:
    import onnx

    if find_schema(app.op, opset) is None or _subgraphs(app):
        return []
    names = ["" if value is None else f"i{index}" for index, value in enumerate(app.inputs)]
    outputs = [f"o{index}" for index in range(len(app.outputs))]
    node = onnx.helper.make_node(app.op, names, outputs)
    node.attribute.extend(_attributes(app))
    types = {name: write_type(value.type) for name, value in zip(names, app.inputs, strict=True) if value is not None}
    data = {
        name: tensor for name, value in zip(names, app.inputs, strict=True) if (tensor := _small(value)) is not None
    }
    try:
        found = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(app.op, opset, ""),
            node,
            types,
            data,
            opset_imports=[onnx.helper.make_opsetid("", opset)],
            ir_version=onnx.IR_VERSION,
        )
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise OnnxError(f"{app.label} is not valid ONNX: {str(error).strip()}") from None
    except (RuntimeError, KeyError, ValueError):  # the standard infers nothing for this operator
        return []
    return [read_type(found[name], name) if name in found else NOTHING for name in outputs]


def _attributes(app: Application) -> list[onnx.AttributeProto]:
    import onnx_ir as ir

    if is_split_fill(app.op, app.attributes):
        written = list(write_fill(app.attributes).values())
    else:
        schema = find_schema(app.op, OPSET)
        kinds = schema.attributes if schema is not None else {}
        written = [
            write_attribute(name, value, kinds.get(name), app.op)
            for name, value in app.attributes.items()
            if name != OMITTED
        ]
    return [ir.serde.serialize_attribute(attribute) for attribute in written]


def _small(value: Value | None) -> onnx.TensorProto | None:
    import onnx

    constant = value.constant if value is not None else None
    if not isinstance(constant, ArrayConstant) or constant.nbytes > _LARGEST_OPERAND or not constant.dtype.bits:
        return None
    return onnx.numpy_helper.from_array(constant.array)
