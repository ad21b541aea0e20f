"""Patterns: definitions traced with placeholders and canonicalised, ready to be looked for.

A `Variant` says how a definition is called to make one pattern: the types of its inputs, with symbols for sizes that
may be anything, and its attributes, which may be `ANY` (a number in the graph, found by matching) or a symbol (a size
in the graph, such as the number of heads). The same canonicalisation runs on patterns and on graphs, so one form is
enough.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from tfgraph.dsl.tensor import Tensor
from tfgraph.dsl.trace import Placeholder, TensorSpec, Trace, recording
from tfgraph.ir.dim_text import parse_dim
from tfgraph.ir.dims import Dim, symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.passes.cleanup import remove_dead_nodes
from tfgraph.passes.rewrite import RuleSet

ANY: Final = object()
"""An open attribute: it matches any constant of one element, or any value of that attribute of a nested operator."""

LEADING: Final = "..."
"""A first dimension of this name stands for any number of leading axes."""


@dataclass(frozen=True)
class Variant:
    """One way to call a definition; see the module's docstring.

    Attributes:
        inputs: declared inputs, by the definition's parameter names.
        attributes: attributes given: a value, `ANY`, or a symbol.
        results: which of the definition's results the pattern computes; the first one is where matching starts.
        broadcast: inputs of any shape that broadcasts as the declared one does.
        shared: inputs, such as a mask, that several matches have in common: what is computed from them alone may be
            read outside a match too.
    """

    inputs: Mapping[str, TensorSpec]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    results: tuple[int, ...] = (0,)
    broadcast: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Pattern:
    """A traced variant.

    Attributes:
        key: the operator that a match becomes.
        graph: the canonical form to look for.
        inputs: the pattern's free values, by name.
        numbers: the free values that must be constants of one element, by attribute name.
        variant: what it was made from.
    """

    key: str
    graph: Graph
    inputs: Mapping[str, Value]
    numbers: Mapping[str, Value]
    variant: Variant

    @property
    def outputs(self) -> tuple[Value, ...]:
        """The results, the one where matching starts first."""
        return tuple(self.graph.outputs.values())

    @cached_property
    def root(self) -> Node:
        """The node that gives the first result."""
        producer = self.outputs[0].producer
        if producer is None:
            from tfgraph.errors import GraphError

            raise GraphError(f"the pattern of {self.key} is empty: its definition returns an input")
        return producer

    @cached_property
    def size(self) -> int:
        """Number of nodes that a match covers at most."""
        return len(self.graph)

    @cached_property
    def shareable(self) -> frozenset[Value]:
        """The values that do not depend on the inputs of this one application; see `Variant.shared`."""
        own = {value for name, value in self.inputs.items() if name not in self.variant.shared}
        for node in self.graph:
            if any(value in own for value in node.inputs):
                own.update(node.outputs)
        return frozenset(value for value in self.graph.values() if value not in own)


def dims(*sizes: int | str | Dim) -> tuple[Dim, ...]:
    """A shape for a `Variant`: names are symbols; `...` first stands for any leading axes."""
    return tuple(_dim(size) for size in sizes)


def _dim(size: int | str | Dim) -> Dim:
    if isinstance(size, str):
        return symbol(LEADING) if size == LEADING else parse_dim(size)
    return size


def floats(*sizes: int | str | Dim) -> TensorSpec:
    """A floating-point input of a `Variant`; float32 stands for whatever floating-point type the graph has."""
    return TensorSpec(DType.FLOAT32, dims(*sizes))


def make_pattern(key: str, function: Callable[..., Any], variant: Variant, canonical: RuleSet) -> Pattern:
    """Trace `function` as `variant` says, keep the results asked for, and canonicalise."""
    graph = Graph(f"pattern.{key}")
    trace = Trace(graph, keep_composites=True)
    trace.free_sizes = True
    arguments: dict[str, Any] = {}
    inputs: dict[str, Value] = {}
    numbers: dict[str, Value] = {}
    for name, declared in variant.inputs.items():
        inputs[name] = graph.add_input(name, declared.dtype, declared.shape)
        arguments[name] = Tensor(inputs[name], trace)
    for name, given in variant.attributes.items():
        if given is ANY:
            numbers[name] = graph.add_input(name, DType.FLOAT32, ())
            trace.placeholders[name] = Tensor(numbers[name], trace)
            arguments[name] = Placeholder(name)
        else:
            arguments[name] = given
    with recording(trace):
        returned = inspect.unwrap(function)(**arguments)
    results: Sequence[Tensor] = returned if isinstance(returned, tuple) else (returned,)
    for index in variant.results:
        graph.set_output(str(index), results[index].value)
    remove_dead_nodes(graph)
    canonical.apply(graph)
    remove_dead_nodes(graph)
    return Pattern(key, graph, inputs, numbers, variant)
