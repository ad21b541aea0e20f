"""A graph run by the numpy interpreter, with the surface of a session of ONNX Runtime: one can stand for the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tfgraph.backends.interface import TensorSpec, check_inputs, example_inputs, output_names
from tfgraph.ir.constant import Array
from tfgraph.ir.graph import Graph, Value
from tfgraph.ir.interpret import interpret


class Session:
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

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """The inputs by name, in the graph's order."""
        return MappingProxyType(self._inputs)

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """The outputs by name, in the graph's order."""
        return MappingProxyType(self._outputs)

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

    def example_inputs(self, sizes: Mapping[str, int] | None = None) -> dict[str, Array]:
        """Inputs of zeros, with the sizes given for symbols (1 where none is given).

        Raises:
            InputError: a symbol that no input has, or a size below 0.
        """
        return example_inputs(self._inputs, sizes or {})

    def warm_up(self, sizes: Mapping[str, int] | None = None, *, runs: int = 1) -> None:
        """Run on zeros.

        Raises:
            InputError: as `example_inputs` does.
        """
        inputs = self.example_inputs(sizes)
        for _ in range(runs):
            self.run(inputs)


def _spec(name: str, value: Value) -> TensorSpec:
    return TensorSpec(name, value.dtype, value.type.known_shape)
