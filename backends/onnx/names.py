"""Names of values in an ONNX file: unique in a graph and in the graphs inside it, the interface's names exactly."""

from __future__ import annotations

from collections.abc import Mapping

from tfgraph.errors import OnnxError
from tfgraph.ir.graph import Graph, Value


class Names:
    """The names that a graph uses; `around` are those of the graph that a subgraph lies in."""

    def __init__(self, around: Names | None = None) -> None:
        self._around = around
        self._taken: set[str] = set()
        self._outputs: dict[str, str] = {}
        self._counters: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._taken or (self._around is not None and name in self._around)

    def output(self, name: str) -> str:
        """What the output `name` of the graph is called in the file: that, except in a subgraph where it is taken."""
        return self._outputs[name]

    def assign(self, graph: Graph, inputs: Mapping[str, Value]) -> dict[Value, str]:
        """A name for each value of `graph` that has one in the file; `inputs` are those it does not capture.

        A result that the graph returns has the output's name. A result returned twice, an input and a constant keep
        their own, and are returned through an `Identity`.

        Raises:
            OnnxError: an output has the name of an input and is not that input.
        """
        named: dict[Value, str] = {}
        for name, value in inputs.items():
            named[value] = self._unique(name)
        for name, value in graph.outputs.items():
            if inputs.get(name) is value and named[value] == name:
                self._outputs[name] = name  # the model hands its input through under the same name
                continue
            if self._around is None and name in self._taken:
                raise OnnxError(f"the output '{name}' has the name of an input: rename one of them")
            self._outputs[name] = self._unique(name)
            if value.producer is not None and value not in named:
                named[value] = self._outputs[name]
        for value in graph.values():
            if value not in named and graph.inputs.get(value.name) is not value:
                named[value] = self._unique(value.name)
        return named

    def _unique(self, wanted: str) -> str:
        name = wanted
        while name in self or not name:
            self._counters[wanted] = self._counters.get(wanted, 0) + 1
            name = f"{wanted}_{self._counters[wanted]}"
        self._taken.add(name)
        return name
