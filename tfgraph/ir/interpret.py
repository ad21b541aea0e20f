"""Running a graph with numpy, one node after the other: slow, exact, and what everything else is compared with.

Primitives are computed by their numpy references, composites by the graph that defines them. Nothing is planned or
fused here; what runs models for users is in `tfgraph.backends`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from tfgraph.errors import (
    DTypeError,
    GraphError,
    InputError,
    ShapeError,
    TFGraphError,
    UnknownOperatorError,
    VerificationError,
)
from tfgraph.ir.constant import Array, ArrayConstant
from tfgraph.ir.dim_text import format_dim, format_shape
from tfgraph.ir.dims import Dim, Expr, Symbol, substitute
from tfgraph.ir.dtypes import as_dtype
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.infer import constant_content, infer_types
from tfgraph.ir.optable import Operands, OpSpec, all_attributes, find_spec
from tfgraph.ir.types import ContainerType, TensorType


def interpret(graph: Graph, inputs: Mapping[str, Array], *, keep: Collection[Value] = ()) -> dict[str, Array]:
    """The outputs of `graph` for `inputs`, by name; and the arrays of the values in `keep`, under the values' names.

    Arrays are dropped after their last use, constants included.

    Raises:
        InputError: an input is missing, unknown, no tensor, of another dtype or shape, or two inputs disagree about a
            symbol.
        UnknownOperatorError: the graph has an operator that tfgraph only carries.
        CheckpointError: the graph has a weight without elements.
        VerificationError: a node's result is not of the type that the graph says.
    """
    sizes: dict[str, Dim] = {}
    arrays = _check_inputs(graph, inputs, sizes)
    pinned = {*graph.outputs.values(), *keep}
    uses = {value: len(value.users) for value in graph.values()}
    for node in graph:
        operands = [None if value is None else _array_of(value, arrays) for value in node.inputs]
        results = evaluate_node(node, operands)
        for value, array in zip(node.outputs, results, strict=False):
            _check_result(node, value, array, sizes)
            if value.num_uses or value in pinned:
                arrays[value] = array
        for value in {value for value in node.inputs if value is not None}:
            uses[value] -= 1
            if not uses[value] and value not in pinned:
                del arrays[value]
    named = {name: _array_of(value, arrays) for name, value in graph.outputs.items()}
    for value in keep:
        if value.name in named and graph.outputs.get(value.name) not in (None, value):
            raise GraphError(f"cannot keep %{value.name}: an output of that name is another value")
        named[value.name] = _array_of(value, arrays)
    return named


def evaluate_node(node: Node, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
    """The results of one node for the arrays of its operands (None for one left out).

    Raises:
        UnknownOperatorError: tfgraph carries the operator without knowing what it computes.
        DTypeError, ShapeError: the operator does not take such operands; the message names the node.
    """
    spec = find_spec(node.key)
    if spec is None:
        raise UnknownOperatorError(
            f"{node.describe()} cannot be interpreted: tfgraph carries {node.key} without knowing what it computes; "
            "run the graph with ONNX Runtime instead"
        )
    try:
        return evaluate(spec, arrays, node.attributes, len(node.outputs))
    except (DTypeError, ShapeError) as error:
        raise type(error)(f"{node.describe()}: {error}") from error


def evaluate(
    spec: OpSpec, arrays: Sequence[Array | None], attributes: Mapping[str, Any], num_outputs: int = 1
) -> tuple[Array, ...]:
    """The results of one application of the operator `spec`.

    Raises:
        DTypeError, ShapeError: the operator does not take such operands.
    """
    filled = all_attributes(spec, attributes)
    types = tuple(None if array is None else type_of(array) for array in arrays)
    if spec.reference is None:
        return _evaluate_body(spec, arrays, Operands(spec.key, types, filled, num_outputs))
    infer_types(spec, types, attributes, num_outputs)
    try:
        results = spec.reference(*arrays, **filled)
    except (IndexError, OverflowError, ValueError, ZeroDivisionError) as error:
        if isinstance(error, TFGraphError):
            raise
        given = ", ".join(str(type_) for type_ in types)
        raise ShapeError(f"{spec.key} of {given} cannot be computed: {error}") from error
    return tuple(np.asarray(result) for result in (results if isinstance(results, tuple) else (results,)))


def _evaluate_body(spec: OpSpec, arrays: Sequence[Array | None], operands: Operands) -> tuple[Array, ...]:
    if spec.body is None:
        raise UnknownOperatorError(f"{spec.key} has neither a numpy reference nor a body in the operator table")
    body = spec.body(operands)
    given = [array for array in arrays if array is not None]
    if len(given) != len(body.inputs):
        raise GraphError(f"the body of {spec.key} has {len(body.inputs)} inputs, and {len(given)} operands were given")
    return tuple(interpret(body, dict(zip(body.inputs, given, strict=True))).values())


def type_of(array: Array) -> TensorType:
    """The type of an array, with its elements as content where it is a small integer vector."""
    constant = ArrayConstant(array)
    return TensorType(constant.dtype, constant.shape, constant_content(constant))


def _array_of(value: Value, arrays: dict[Value, Array]) -> Array:
    if value not in arrays:
        if value.constant is None:
            raise GraphError(f"%{value.name} is read before it is computed: the nodes are not in topological order")
        arrays[value] = value.constant.numpy()
    return arrays[value]


def _check_inputs(graph: Graph, inputs: Mapping[str, Array], sizes: dict[str, Dim]) -> dict[Value, Array]:
    """The arrays of the graph's inputs; the sizes of the symbols in their shapes are written to `sizes`."""
    expected = ", ".join(graph.inputs) or "none"
    for name in inputs:
        if name not in graph.inputs:
            raise InputError(f"the graph has no input '{name}'; its inputs are: {expected}")
    arrays: dict[Value, Array] = {}
    for name, value in graph.inputs.items():
        if name not in inputs:
            raise InputError(f"the input '{name}' is missing: expected {value.type}; the inputs are: {expected}")
        if isinstance(value.type, ContainerType):
            raise InputError(f"the input '{name}' is {value.type}, and only graphs over tensors are interpreted")
        array = np.asarray(inputs[name])
        if array.dtype != value.dtype.numpy():
            raise InputError(f"the input '{name}' is {_dtype_name(array)}, expected {value.dtype}: cast it")
        arrays[value] = array
    origin: dict[str, str] = {}
    for value, array in arrays.items():
        _bind_symbols(value, array, sizes, origin)
    for value, array in arrays.items():
        _check_sizes(value, array, sizes)
    return arrays


def _dtype_name(array: Array) -> str:
    try:
        return str(as_dtype(array.dtype))
    except DTypeError:
        return str(array.dtype)


def _bind_symbols(value: Value, array: Array, sizes: dict[str, Dim], origin: dict[str, str]) -> None:
    shape = value.type.known_shape
    if shape is None:
        return
    if len(shape) != array.ndim:
        raise InputError(
            f"the input '{value.name}' has the shape {format_shape(array.shape)}, expected {format_shape(shape)}: "
            f"rank {len(shape)}"
        )
    for axis, (dim, size) in enumerate(zip(shape, array.shape, strict=True)):
        name = plain_symbol(dim)
        if name is None:
            continue
        if sizes.setdefault(name, size) != size:
            raise InputError(
                f"the input '{value.name}' has {size} at axis {axis}, which is {name}, and {name} is {sizes[name]} "
                f"in the input '{origin[name]}'"
            )
        origin.setdefault(name, value.name)


def _check_sizes(value: Value, array: Array, sizes: Mapping[str, Dim]) -> None:
    for axis, (dim, size) in enumerate(zip(value.type.known_shape or (), array.shape, strict=False)):
        expected = substitute(dim, sizes)
        if isinstance(expected, int) and expected != size:
            why = f"{expected}" if isinstance(dim, int) else f"{expected}, which is {format_dim(dim)}"
            raise InputError(f"the input '{value.name}' has {size} at axis {axis}, expected {why}")


def plain_symbol(dim: Dim) -> str | None:
    """The name of the symbol that `dim` is, None where it is an integer or arithmetic."""
    if isinstance(dim, Expr) and len(dim.terms) == 1:
        monomial, coefficient = dim.terms[0]
        if coefficient == 1 and len(monomial) == 1 and isinstance(monomial[0], Symbol):
            return monomial[0].name
    return None


def _check_result(node: Node, value: Value, array: Array, sizes: dict[str, Dim]) -> None:
    """Compare a result with its declared type; a symbol met here first takes its size from it."""
    shape = value.type.known_shape
    fits = array.dtype == value.dtype.numpy() and (shape is None or len(shape) == array.ndim)
    for dim, size in zip(shape or (), array.shape, strict=False):
        name = plain_symbol(dim)
        if name is not None:
            fits = fits and sizes.setdefault(name, size) == size
        else:
            known = substitute(dim, sizes)
            fits = fits and (known == size or not isinstance(known, int))
    if not fits:
        given = f"{_dtype_name(array)}{format_shape(array.shape)}"
        raise VerificationError(f"{node.describe()} computed {given}, and the graph says %{value.name} is {value.type}")
