"""Floating-point operations of nodes, as formulas over the sizes that a graph leaves open.

A multiply-add counts as two operations. An elementwise operator counts one an element, a reduction one an element that
it reads; what only moves or compares elements is free. A composite operator counts what its definition does, so that a
fused graph and a written-out one have about the same cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tfgraph.errors import DTypeError, ShapeError
from tfgraph.ir.dims import Dim, Shape, product
from tfgraph.ir.graph import Graph, Node
from tfgraph.ir.optable import Operands, all_attributes, find_spec

_FREE_ELEMENTWISE: Final = frozenset(
    {
        *("Cast", "CastLike", "Identity", "Where", "Clip", "IsNaN", "IsInf", "And", "Or", "Xor", "Not", "Equal"),
        *("Less", "Greater", "LessOrEqual", "GreaterOrEqual"),
        *("BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"),
    }
)
_PER_INPUT_ELEMENT: Final = {
    "Softmax": 5,  # maximum, difference, exponential, sum, quotient
    "LogSoftmax": 5,
    "BatchNormalization": 2,
    "InstanceNormalization": 8,
    "LpNormalization": 3,
    "GlobalAveragePool": 1,
    "CumSum": 1,
    "QuantizeLinear": 2,
    "DequantizeLinear": 2,
    "DynamicQuantizeLinear": 4,
}


def count_flops(node: Node) -> Dim | None:
    """The operations of one node; None where the operator, or a shape that matters, is not known."""
    spec = find_spec(node.key)
    shapes = [None if value is None else value.type.known_shape for value in node.inputs]
    unknown = any(value is not None and shape is None for value, shape in zip(node.inputs, shapes, strict=True))
    results = [value.type.known_shape for value in node.outputs]
    if spec is None or unknown or results[0] is None or not shapes:
        return 0 if spec is not None and not shapes else None
    attributes = all_attributes(spec, node.attributes)
    if spec.body is not None:
        types = tuple(None if value is None else value.type for value in node.inputs)
        try:
            return graph_flops(spec.body(Operands(node.key, types, attributes, len(node.outputs))))
        except (ShapeError, DTypeError):  # a file may claim shapes that the definition does not take
            return None
    rule = _RULES.get(node.key)
    if rule is not None:
        return rule(shapes, results[0], attributes)
    first = node.input(0)
    if first is None or shapes[0] is None or not (first.dtype.is_float or node.key == "DequantizeLinear"):
        return 0  # arithmetic on shapes and indices
    if node.key in _PER_INPUT_ELEMENT:
        return _PER_INPUT_ELEMENT[node.key] * product(shapes[0])
    if node.key.startswith("Reduce"):
        return product(shapes[0])
    if spec.elementwise and node.key not in _FREE_ELEMENTWISE:
        return max(1, len(shapes) - 1) * product(results[0]) if spec.inputs[0].variadic else product(results[0])
    return 0


def graph_flops(graph: Graph) -> Dim | None:
    """The operations of all nodes together; None where those of one are not known."""
    total: Dim = 0
    for node in graph:
        count = count_flops(node)
        if count is None:
            return None
        total = total + count
    return total


_Shapes = Sequence[Shape | None]


def _matmul(shapes: _Shapes, result: Shape, attributes: Mapping[str, Any]) -> Dim | None:
    return None if shapes[0] is None else 2 * product(result) * shapes[0][-1]


def _gemm(shapes: _Shapes, result: Shape, attributes: Mapping[str, Any]) -> Dim | None:
    if shapes[0] is None:
        return None
    inner = shapes[0][0 if attributes.get("transA") else 1]
    return 2 * product(result) * inner + (product(result) if len(shapes) > 2 else 0)


def _conv(shapes: _Shapes, result: Shape, attributes: Mapping[str, Any]) -> Dim | None:
    if shapes[1] is None:
        return None
    window = product(shapes[1][1:])  # input channels of a group, kernel
    return 2 * product(result) * window + (product(result) if len(shapes) > 2 else 0)


def _conv_transpose(shapes: _Shapes, result: Shape, attributes: Mapping[str, Any]) -> Dim | None:
    return None if shapes[0] is None or shapes[1] is None else 2 * product(shapes[0]) * product(shapes[1][1:])


def _average_pool(shapes: _Shapes, result: Shape, attributes: Mapping[str, Any]) -> Dim | None:
    return product(result) * product(attributes["kernel_shape"])


def _einsum(shapes: _Shapes, result: Shape, attributes: Mapping[str, Any]) -> Dim | None:
    """One multiply-add for each combination of a result element and the indices that are summed over."""
    terms, _, output = str(attributes["equation"]).replace(" ", "").partition("->")
    summed: dict[str, Dim] = {}
    for term, shape in zip(terms.split(","), shapes, strict=False):
        if shape is None:
            return None
        before, dots, after = term.partition("...")
        letters = [*zip(before, shape, strict=False)]
        letters += zip(reversed(after), reversed(shape), strict=False) if dots else ()
        summed.update({letter: dim for letter, dim in letters if letter not in output})
    operations = max(1, 2 * (len(shapes) - 1))
    return operations * product(result) * product(summed.values())


_RULES: Final[Mapping[str, Callable[[_Shapes, Shape, Mapping[str, Any]], Dim | None]]] = {
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "AveragePool": _average_pool,
    "Einsum": _einsum,
}
