"""Constant folding: what does not depend on the inputs is computed when the model is compiled, or when it is written.

Small results are computed at once. Big ones become handles that compute when they are read, so that folding the
transposes of all weights costs neither time nor memory before the file is written.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from tfgraph.ir.constant import Array, ArrayConstant, Constant, Derived
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.interpret import evaluate_node
from tfgraph.ir.optable import find_spec
from tfgraph.ir.transforms import cast, reshaped, transposed

_SMALL = 4096  # elements
_LARGEST_GROWTH = 4  # a folded result may be this many times larger than its operands
_EXPENSIVE = frozenset({"MatMul", "Gemm", "Conv", "Einsum"})


def fold_constants(graph: Graph) -> Counter[str]:
    """Replace nodes whose operands are all constants, and integer values that are known, by constants."""
    changes: Counter[str] = Counter()
    for node in graph:
        if find_spec(node.key) is None:
            continue
        folded = _known_content(node) or _fold(node)
        if folded is None:
            continue
        fresh = [graph.add_constant(constant, value.name) for value, constant in zip(node.outputs, folded, strict=True)]
        for old, new in zip(node.outputs, fresh, strict=True):
            graph.replace_all_uses(old, new)
        source = node.input(0)
        graph.erase(node)
        _inherit_name(graph, source, fresh[0])
        changes["fold_constants"] += 1
    return changes


def _inherit_name(graph: Graph, source: Value | None, folded: Value) -> None:
    """A weight that is only used transposed keeps its name when the transpose is folded into it."""
    if source is not None and source in graph.constants and not source.num_uses:
        name = source.name
        graph.erase(source)
        graph.rename(folded, name)


def _known_content(node: Node) -> list[Constant] | None:
    """The result as a constant where shape inference already knows every element."""
    if len(node.outputs) != 1:
        return None
    value = node.output
    content = value.content
    if content is None or not all(isinstance(dim, int) for dim in content):
        return None
    return [ArrayConstant(np.asarray(content, value.dtype.numpy()).reshape(_fixed_shape(value)))]


def _fixed_shape(value: Value) -> tuple[int, ...]:
    return tuple(dim for dim in value.shape if isinstance(dim, int))


def _fold(node: Node) -> list[Constant] | None:
    operands = [value.constant for value in node.inputs if value is not None and value.constant is not None]
    if len(operands) != sum(value is not None for value in node.inputs) or not operands:
        return None
    if any(value.type.known_shape is None or len(_fixed_shape(value)) != value.rank for value in node.outputs):
        return None
    size = sum(int(np.prod(_fixed_shape(value))) for value in node.outputs)
    total = sum(constant.size for constant in operands)
    if all(constant.has_data for constant in operands) and max(size, total) <= _SMALL:
        arrays = [None if value is None or value.constant is None else value.constant.numpy() for value in node.inputs]
        return [ArrayConstant(array) for array in evaluate_node(node, arrays)]
    return _fold_lazily(node, operands, size, total)


def _fold_lazily(node: Node, operands: list[Constant], size: int, total: int) -> list[Constant] | None:
    if node.key == "Transpose":
        order = node.attributes.get("perm", tuple(reversed(range(len(operands[0].shape)))))
        return [transposed(operands[0], order)]  # type: ignore[arg-type]
    if node.key in ("Reshape", "Unsqueeze", "Squeeze", "Flatten"):
        return [reshaped(operands[0], _fixed_shape(node.output))]
    if node.key == "Cast":
        return [cast(operands[0], node.output.dtype)]
    if len(node.outputs) != 1 or node.key in _EXPENSIVE or size > max(_SMALL, _LARGEST_GROWTH * total):
        return None
    given = [value is not None for value in node.inputs]

    def compute(*arrays: Array) -> Array:
        remaining = iter(arrays)
        return evaluate_node(node, [next(remaining) if has else None for has in given])[0]

    key = (node.key, tuple(sorted(node.attributes.items())), tuple(given))
    return [Derived(compute, operands, key, node.output.dtype, _fixed_shape(node.output))]
