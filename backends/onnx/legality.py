"""Whether a target takes a node, asked before anything is written; and which of the node's results a file names."""

from __future__ import annotations

from typing import Final

from tfgraph.backends.onnx.opaque import OMITTED, Subgraph, file_domain, is_carried
from tfgraph.backends.onnx.schemas import find_schema, first_opset
from tfgraph.backends.onnx.upgrade import form_since
from tfgraph.capabilities import Capabilities
from tfgraph.errors import TargetError
from tfgraph.ir.graph import Node, Opaque
from tfgraph.ir.optable import all_attributes, find_spec

OLDEST_OPSET: Final = 18
"""The oldest opset whose forms are the IR's, but for what `form_since` says."""

# operator -> (results that may be left out, operands that a result is the continuation of: given one, all are computed)
_CONTRIB_OPTIONAL: Final[dict[str, tuple[frozenset[int], frozenset[int]]]] = {
    "com.microsoft::Attention": (frozenset({1}), frozenset({4})),
    "com.microsoft::EmbedLayerNormalization": (frozenset({1, 2}), frozenset()),
    "com.microsoft::MultiHeadAttention": (frozenset({1, 2, 3}), frozenset({6, 7})),
    "com.microsoft::SkipLayerNormalization": (frozenset({1, 2, 3}), frozenset()),
    "com.microsoft::SkipSimplifiedLayerNormalization": (frozenset({1, 2, 3}), frozenset()),
}


def check_node(node: Node, capabilities: Capabilities) -> None:
    """Refuse a node that the target cannot run.

    Raises:
        TargetError: it cannot; the message names the node and the reason.
    """
    reason = _refusal(node, capabilities)
    if reason is not None:
        raise TargetError(f"{node.describe()} cannot be lowered for the target {capabilities.name}: {reason}")


def _refusal(node: Node, capabilities: Capabilities) -> str | None:
    if capabilities.opset < OLDEST_OPSET:
        return f"tfgraph writes opset {OLDEST_OPSET} or newer, and the target reads {capabilities.opset}"
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.dtype.since > capabilities.opset:
            return f"{value.dtype} came with opset {value.dtype.since}, and the target reads {capabilities.opset}"
    spec = None if is_carried(node) else find_spec(node.key)
    if spec is not None:
        reason = capabilities.refusal(
            node.key,
            since=spec.since,
            composite=spec.body is not None,
            dtypes=tuple(None if value is None else value.dtype for value in node.inputs),
            attributes=all_attributes(spec, node.attributes),
            num_outputs=len(node.outputs),
        )
        support = capabilities.operators.get(node.key)
        slow = support is not None and reason == support.slower_than_body  # no reason not to write it
        if reason is not None and not slow:
            return reason
    return None if file_domain(node) else _opset_refusal(node, capabilities.opset)


def _opset_refusal(node: Node, opset: int) -> str | None:
    """Why the ONNX standard has no such application at `opset`."""
    schema = find_schema(node.op, opset)
    if schema is None:
        came = first_opset(node.op)
        return None if came is None else f"{node.op} came with opset {came}, and the target reads {opset}"
    if form_since(node.op) > opset:
        return f"{node.op} has this meaning since opset {form_since(node.op)}, and the target reads {opset}"
    for name, value in node.attributes.items():
        if name not in schema.attributes and not _is_ours(node, name):
            return f"{node.op} of opset {opset} has no attribute {name} (here {value!r})"
    count = min(
        (
            value.payload.num_operands
            for value in node.attributes.values()
            if isinstance(value, Opaque) and isinstance(value.payload, Subgraph)
        ),
        default=len(node.inputs),
    )
    if count > schema.max_inputs:
        return f"{node.op} of opset {opset} takes {schema.max_inputs} inputs, and this has {count}"
    if len(node.outputs) > schema.max_outputs:
        return f"{node.op} of opset {opset} gives {schema.max_outputs} results, and this has {len(node.outputs)}"
    return None


def _is_ours(node: Node, name: str) -> bool:
    """Whether an attribute is the IR's own, and a file says the same in another way."""
    return name == OMITTED or (node.op, name) == ("ConstantOfShape", "dtype")


def omitted_outputs(node: Node, opset: int) -> frozenset[int]:
    """The results that a file leaves out: those its own file left out, or optional ones that nothing reads.

    What continues a past (`present_key` for `past_key`) is kept: kernels want it computed when a past is given.
    """
    if OMITTED in node.attributes:
        given = node.attributes[OMITTED]
        return (
            frozenset(index for index in given if isinstance(index, int)) if isinstance(given, tuple) else frozenset()
        )
    if find_spec(node.key) is None:
        return frozenset()
    optional, past = _CONTRIB_OPTIONAL.get(node.key, (frozenset[int](), frozenset[int]()))
    schema = None if node.domain else find_schema(node.op, opset)
    if schema is not None:
        optional = schema.optional_outputs
        past = frozenset(index for index, name in enumerate(schema.inputs) if name.startswith("past"))
    if any(node.input(index) is not None for index in past):
        return frozenset()
    unused = frozenset(index for index, value in enumerate(node.outputs) if not value.num_uses)
    return optional & unused if len(optional & unused) < len(node.outputs) else frozenset()
