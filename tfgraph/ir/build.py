"""Adding nodes with inferred types: what the tracer, the passes and the importers call instead of `Graph.add`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfgraph.errors import DTypeError
from tfgraph.ir.constant import ArrayConstant
from tfgraph.ir.graph import Attribute, Graph, Node, Source, Value
from tfgraph.ir.infer import infer_types
from tfgraph.ir.optable import REQUIRED, OpSpec, find_spec, get_spec
from tfgraph.ir.types import TensorType


def add_node(
    graph: Graph,
    key: str,
    inputs: Sequence[Value | None],
    attributes: Mapping[str, Attribute] | None = None,
    *,
    num_outputs: int = 1,
    names: Sequence[str] | None = None,
    before: Node | None = None,
    scope: str = "",
    source: Source | None = None,
) -> Node:
    """Add an application of the operator `key` (`MatMul`, `com.microsoft::FusedMatMul`), its result types inferred.

    Attributes equal to their defaults are dropped, so that equal applications look equal. Results are named after the
    scope and the operator unless `names` says otherwise.

    Raises:
        UnknownOperatorError, ShapeError, DTypeError: the application makes no sense.
    """
    spec = get_spec(key)
    kept = check_attributes(spec, attributes or {})
    operands = [None if value is None else value.type for value in inputs]
    first, *others = names or [f"{scope}.{spec.name}" if scope else spec.name] * max(num_outputs, 1)
    site = graph.free_name(first)
    types = infer_types(spec, operands, kept, num_outputs, site)[: max(num_outputs, 1)]
    names = [site, *others][: len(types)]
    return graph.add(
        spec.name,
        inputs,
        kept,
        types=types,
        names=names,
        domain=spec.domain,
        before=before,
        scope=scope,
        source=source,
    )


def refresh_types(graph: Graph) -> None:
    """Infer the types of all results anew, in order; those of operators that the table lacks stay as they are.

    What was known better stays known: a rank, or a size as a number, that a file declared and inference cannot tell.
    """
    for node in graph:
        spec = find_spec(node.key)
        if spec is None:
            continue
        operands = [None if value is None else value.type for value in node.inputs]
        types = infer_types(spec, operands, node.attributes, len(node.outputs), node.outputs[0].name)
        for value, type_ in zip(node.outputs, types, strict=False):
            value.type = _sharper(type_, value.type)


def _sharper(inferred: TensorType, known: TensorType) -> TensorType:
    """`inferred`, with what only `known`, an older type of the same value, says of its shape."""
    new, old = inferred.known_shape, known.known_shape
    if old is None or new == old or inferred.dtype is not known.dtype:
        return inferred
    if new is None:
        return TensorType(inferred.dtype, old)
    if len(new) != len(old):
        return inferred
    shape = tuple(b if isinstance(b, int) and not isinstance(a, int) else a for a, b in zip(new, old, strict=True))
    return inferred if shape == new else TensorType(inferred.dtype, shape, inferred.content)


def check_attributes(spec: OpSpec, given: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """`given` without None and without what equals its default.

    Raises:
        DTypeError: an attribute that the operator lacks, or one that is required and missing.
    """
    kept: dict[str, Attribute] = {}
    for name, value in given.items():
        if name not in spec.attributes:
            known = ", ".join(spec.attributes) or "none"
            raise DTypeError(f"{spec.key} has no attribute '{name}'; it has: {known}")
        default = spec.attributes[name]
        if value is not None and (default is REQUIRED or value != default):
            kept[name] = value
    for name, default in spec.attributes.items():
        if default is REQUIRED and name not in kept:
            raise DTypeError(f"{spec.key} needs its attribute '{name}'")
    return kept


def add_array(graph: Graph, array: Any, name: str, dtype: object = None) -> Value:
    """Add a constant from an array, a list or a number."""
    return graph.add_constant(ArrayConstant(np.asarray(array), dtype), name)
