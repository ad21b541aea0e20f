"""What the ONNX standard says about an operator at an opset: a cached view of `onnx.defs`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Schema:
    """The form that an operator of the ONNX domain has at an opset.

    Attributes:
        since: the opset that brought this form.
        attributes: attribute name to its kind: "INT", "FLOATS", "GRAPH", ….
        inputs, outputs: formal names.
        max_inputs, max_outputs: how many there may be.
        optional_outputs: positions of the results that may be left out.
    """

    since: int
    attributes: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    max_inputs: int
    max_outputs: int
    optional_outputs: frozenset[int]


@cache
def find_schema(op: str, opset: int) -> Schema | None:
    """The form of `op` at `opset`, or None where that opset has no such operator."""
    import onnx

    try:
        schema = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return None
    optional = onnx.defs.OpSchema.FormalParameterOption.Optional
    return Schema(
        since=schema.since_version,
        attributes={name: str(attribute.type).rpartition(".")[2] for name, attribute in schema.attributes.items()},
        inputs=tuple(parameter.name for parameter in schema.inputs),
        outputs=tuple(parameter.name for parameter in schema.outputs),
        max_inputs=schema.max_input,
        max_outputs=schema.max_output,
        optional_outputs=frozenset(
            index for index, parameter in enumerate(schema.outputs) if parameter.option == optional
        ),
    )


@cache
def first_opset(op: str) -> int | None:
    """The opset in which the ONNX domain got `op`, or None where it never did."""
    import onnx

    newest = find_schema(op, onnx.defs.onnx_opset_version())
    if newest is None:
        return None
    return next(opset for opset in range(1, newest.since + 1) if find_schema(op, opset) is not None)
