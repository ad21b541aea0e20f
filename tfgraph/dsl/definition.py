"""Definitions: composite operators, each written once as a function over simpler operators.

    @definition("LayerNormalization", since=17)
    def layer_norm(x, scale, bias=None, *, axis=-1, epsilon=1e-5): ...

The function is the operator's meaning (its types and its numbers come from running it), its pattern
(`tfgraph.passes.pattern` traces it and looks for the result), and its fallback (`tfgraph.passes.legalise` writes it out
for a target that lacks the operator). Positional parameters are the operator's inputs, in ONNX's order; keyword-only
parameters are its attributes, with ONNX's names.

Called while a model is traced, a definition is written out as primitives. Called while a pattern or another
definition's body is traced, it is recorded as one node.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from tfgraph.dsl.functional import as_tensor
from tfgraph.dsl.tensor import Operable, Tensor
from tfgraph.dsl.trace import Trace, current_trace, in_pattern, recording
from tfgraph.errors import DTypeError
from tfgraph.ir.graph import Graph
from tfgraph.ir.optable import REQUIRED, Operands, OpSpec, Parameter, all_attributes, get_spec, register
from tfgraph.ir.types import TensorType

P = ParamSpec("P")
R = TypeVar("R")
_LARGEST_CACHE = 4096


def definition(
    key: str, *, since: int = 1, outputs: Sequence[str] = ("output",)
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Register the decorated function as the definition of the operator `key`.

    `outputs` names the formal results; the function returns as many tensors, or fewer where the inputs given say so.
    """
    domain, _, name = key.rpartition("::")

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        inputs, attributes = _formals(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            trace = current_trace()
            if not trace.keep_composites:
                return function(*args, **kwargs)
            names = [parameter.name for parameter in inputs]
            recorded: R = _record(trace, key, args, kwargs, names)
            return recorded

        bodies: dict[Any, Graph] = {}

        def body(operands: Operands) -> Graph:
            free_sizes = in_pattern()
            cache_key = (operands.types, tuple(sorted(operands.attributes.items())), free_sizes)
            cached = bodies.get(cache_key)
            if cached is None:
                if len(bodies) >= _LARGEST_CACHE:
                    bodies.clear()
                cached = bodies[cache_key] = _trace_body(key, function, inputs, outputs, operands, free_sizes)
            return cached

        def infer(operands: Operands) -> Sequence[TensorType]:
            _check_operands(operands, inputs)
            first = operands.type(0)
            if any(type_ is not None and type_.known_shape is None for type_ in operands.types):
                return [TensorType(first.dtype, None)] * max(1, operands.num_outputs)
            return [value.type for value in body(operands).outputs.values()]

        register(
            OpSpec(
                name=name,
                domain=domain,
                inputs=tuple(inputs),
                outputs=tuple(outputs),
                attributes=attributes,
                since=since,
                infer=infer,
                body=body,
            )
        )
        return call

    return decorate


def _formals(function: Callable[..., Any]) -> tuple[list[Parameter], dict[str, Any]]:
    inputs: list[Parameter] = []
    attributes: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        missing = parameter.default is inspect.Parameter.empty
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            attributes[parameter.name] = REQUIRED if missing else parameter.default
        else:
            inputs.append(Parameter(parameter.name, "T", optional=not missing))
    return inputs, attributes


def _check_operands(operands: Operands, inputs: Sequence[Parameter]) -> None:
    """Refuse operands that the definition does not know, which its body would silently leave out."""
    if len(operands.types) > len(inputs):
        raise DTypeError(f"{operands.key} takes up to {len(inputs)} operands, and it was given {len(operands.types)}")
    for index, parameter in enumerate(inputs):
        if not parameter.optional and not operands.has(index):
            raise DTypeError(f"{operands.key} needs its input '{parameter.name}', and it is left out")


def _trace_body(
    key: str,
    function: Callable[..., Any],
    inputs: Sequence[Parameter],
    outputs: Sequence[str],
    operands: Operands,
    free_sizes: bool,
) -> Graph:
    graph = Graph(key.rpartition("::")[2])
    trace = Trace(graph, keep_composites=True)
    trace.free_sizes = free_sizes
    arguments: list[Tensor | None] = []
    for parameter, type_ in zip(inputs, operands.types, strict=False):
        if type_ is None:
            arguments.append(None)
            continue
        value = graph.add_input(parameter.name, type_.dtype, type_.shape)
        value.type = type_
        arguments.append(Tensor(value, trace))
    with recording(trace):
        result = function(*arguments, **operands.attributes)
    results = result if isinstance(result, tuple) else (result,)
    for name, tensor in zip(outputs, results, strict=False):
        graph.set_output(name, tensor.value)
    return graph


def _record(trace: Trace, key: str, args: Sequence[Any], kwargs: dict[str, Any], names: Sequence[str]) -> Any:
    """One node instead of the body; operands may also be given by name."""
    operands = dict(zip(names, args, strict=False))
    attributes = {}
    for name, value in kwargs.items():
        if name in names:
            operands[name] = value
        else:
            attributes[name] = value
    first = next((operand for operand in operands.values() if isinstance(operand, Operable)), None)
    dtype = None if first is None else first.dtype
    given = [operands.get(name) for name in names]
    tensors = [None if operand is None else as_tensor(operand, dtype) for operand in given]
    while tensors and tensors[-1] is None:
        tensors.pop()
    spec = get_spec(key)
    types = tuple(None if tensor is None else tensor.value.type for tensor in tensors)
    count = len(spec.infer(Operands(key, types, all_attributes(spec, attributes))))
    results = trace.emit(key, tensors, attributes, count)
    return results if len(results) > 1 else results[0]
