"""A graph run by the numpy interpreter, with the surface of a session of ONNX Runtime: one can stand for the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tfgraph.backends.interface import RunsArrays, TensorSpec, check_inputs, output_names
from tfgraph.ir.constant import Array
from tfgraph.ir.graph import Graph, Value
from tfgraph.ir.interpret import interpret
from tfgraph.ir.types import ContainerType


class Session(RunsArrays):
    """A graph ready to be interpreted.

    Args:
        graph: it is read at each run, and must not be changed in between.
        may_be_empty: symbols that may be 0 in a run, besides those whose name starts with `past`.
    """

    def __init__(self, graph: Graph, *, may_be_empty: Collection[str] = ()) -> None:
        self.graph = graph
        self.provider = "reference"
        self.may_be_empty = frozenset(may_be_empty)
        self._inputs = {name: _spec(name, value) for name, value in graph.inputs.items()}
        self._outputs = {name: _spec(name, value) for name, value in graph.outputs.items()}

    def run(self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Interpret the graph.

        Args:
            inputs: an array (or nested lists) for each input, of the declared dtype and shape.
            outputs: names of the outputs to return; all by default.

        Raises:
            InputError: an input or output name is wrong, or an input has a wrong dtype or shape.
            UnknownOperatorError: the graph has an operator that tfgraph only carries.
        """
        names = output_names(self._outputs, outputs)
        arrays, _ = check_inputs(self._inputs, inputs, self.may_be_empty)
        results = interpret(self.graph, arrays)
        return {name: results[name] for name in names}


def _spec(name: str, value: Value) -> TensorSpec:
    type_, containers = value.type, []
    while isinstance(type_, ContainerType):
        containers.append(type_.word)
        type_ = type_.element
    return TensorSpec(name, type_.dtype, type_.known_shape, tuple(containers))
