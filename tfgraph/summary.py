"""What a graph consists of: inputs, outputs, parameters, operations, operators, and all of that for each layer.

Counting the operations of one node is in `flops.py`; printing is the business of the command line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tfgraph.backends.interface import TensorSpec
from tfgraph.errors import InputError
from tfgraph.flops import count_flops
from tfgraph.ir.dims import Dim, substitute, symbols_of
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.manifest import interface_of
from tfgraph.random_inputs import free_symbols

DEFAULT_LENGTH = 128  # tokens of a text
_NO_PARAMETERS = frozenset({DType.INT32, DType.INT64, DType.BOOL, DType.STRING})


@dataclass
class Counts:
    """What a part of a graph holds: nodes, parameters, their bytes, and operations at the chosen sizes."""

    path: str
    nodes: int = 0
    parameters: int = 0
    nbytes: int = 0
    flops: int = 0

    def add(self, other: Counts) -> None:
        """Count what `other` holds as well."""
        self.nodes += other.nodes
        self.parameters += other.parameters
        self.nbytes += other.nbytes
        self.flops += other.flops

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain data, for JSON."""
        return {
            "path": self.path,
            "nodes": self.nodes,
            "parameters": self.parameters,
            "bytes": self.nbytes,
            "flops": self.flops,
        }


@dataclass(frozen=True)
class Summary:
    """A graph in numbers.

    Attributes:
        inputs, outputs: by name.
        total: of the whole graph.
        modules: path of a module to what it holds itself, without the modules in it.
        operators: how often each occurs, the most frequent first.
        sizes: the sizes that operations are counted at.
        formula: the operations, as a formula over the sizes that the graph leaves open.
        uncounted: operators, with numbers of nodes, whose operations are not known.
    """

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    total: Counts
    modules: dict[str, Counts]
    operators: dict[str, int]
    sizes: dict[str, int]
    formula: Dim
    uncounted: dict[str, int] = field(default_factory=dict)

    def layers(self) -> list[Counts]:
        """The graph cut into layers: each node and each parameter is in exactly one, in the order of the graph.

        A layer is what lies at a path that ends in its first number (`encoder.layers.3`); what lies outside of them is
        cut at the first name that leads to no layer (`embeddings`).
        """
        above = {prefix for path in self.modules if (layer := layer_of(path)) for prefix in _prefixes(layer)[:-1]}
        parts: dict[str, Counts] = {}
        for path, counts in self.modules.items():
            outside = next((prefix for prefix in _prefixes(path) if prefix not in above), path)
            cut = layer_of(path) or outside
            parts.setdefault(cut, Counts(cut)).add(counts)
        return list(parts.values())

    def tree(self) -> list[Counts]:
        """Every module with all that is in it, each after the module that it is in; what is in none comes last."""
        parts: dict[str, Counts] = {}
        for path, counts in self.modules.items():
            for prefix in _prefixes(path):
                parts.setdefault(prefix, Counts(prefix)).add(counts)
        children: dict[str, list[str]] = {}
        for path in parts:
            if path:
                children.setdefault(path.rpartition(".")[0], []).append(path)
        return [parts[path] for path in (*_walk("", children), "") if path in parts]

    def as_dict(self) -> dict[str, Any]:
        """The summary as plain data, for JSON."""
        return {
            "inputs": [_spec_as_dict(spec) for spec in self.inputs.values()],
            "outputs": [_spec_as_dict(spec) for spec in self.outputs.values()],
            "parameters": self.total.parameters,
            "parameter_bytes": self.total.nbytes,
            "nodes": self.total.nodes,
            "flops": self.total.flops,
            "flops_formula": str(self.formula),
            "flops_unknown": self.uncounted,
            "sizes": self.sizes,
            "operators": self.operators,
            "layers": [counts.as_dict() for counts in self.layers()],
        }


def summarise(graph: Graph, sizes: Mapping[str, int] | None = None) -> Summary:
    """Count what a graph holds.

    `sizes` says at which sizes to count operations; those that it leaves open are 1 for batches, and 128 for lengths.
    Parameters are constants with at least one axis that hold neither indices, truth values nor text; one that is used
    twice counts once.

    Raises:
        InputError: a size of another name than the graph's, or below 1.
    """
    settled = settled_sizes(graph, sizes)
    known: dict[str, Dim] = dict(settled)
    modules: dict[str, Counts] = {}
    formula: Dim = 0
    uncounted: Counter[str] = Counter()
    paths = module_paths(graph)
    for node, path in paths.items():
        flops = count_flops(node)
        number = None if flops is None else substitute(flops, known)
        if flops is None or not isinstance(number, int):
            uncounted[node.key] += 1
            number = 0
        else:
            formula = formula + flops
        modules.setdefault(path, Counts(path)).add(Counts(path, nodes=1, flops=number))
    for value in _parameters(graph):
        path = _path_of_name(value.name)
        if not path and value.users:
            path = paths[value.users[0]]
        if value.constant is not None:
            counts = Counts(path, parameters=value.constant.size, nbytes=value.constant.nbytes)
            modules.setdefault(path, Counts(path)).add(counts)
    total = Counts("")
    for counts in modules.values():
        total.add(counts)
    inputs, outputs = interface_of(graph)
    operators = Counter(node.key for node in graph)
    ordered = dict(sorted(operators.items(), key=lambda item: (-item[1], item[0])))
    return Summary(inputs, outputs, total, modules, ordered, settled, formula, dict(sorted(uncounted.items())))


def settled_sizes(graph: Graph, given: Mapping[str, int] | None = None) -> dict[str, int]:
    """A size for each name that the inputs leave open: that given, else 1 for a batch, and 128 for a length.

    Raises:
        InputError: a size of another name than the graph's, or below 1.
    """
    given = given or {}
    names = free_symbols(graph)
    for name, size in given.items():
        if name not in names:
            raise InputError(f"there is no size '{name}': this model leaves open {', '.join(names) or 'none'}")
        if size < 1:
            raise InputError(f"the size {name}={size} is no size: expected 1 or more")
    return {name: given.get(name, _likely_size(graph, name)) for name in names}


def _likely_size(graph: Graph, name: str) -> int:
    """1 for a batch, 128 for a length: told by the name, else by the axis."""
    if "batch" in name.lower():
        return 1
    if any(part in name.lower() for part in ("seq", "len", "past")):
        return DEFAULT_LENGTH
    for value in graph.inputs.values():
        shape = value.type.known_shape or ()
        if value.dtype.is_integer and len(shape) > 1 and name in symbols_of(shape[-1]):
            return DEFAULT_LENGTH
    return 1


def _parameters(graph: Graph) -> Iterator[Value]:
    for value in graph.constants:
        if value.constant is not None and value.constant.shape and value.dtype not in _NO_PARAMETERS and value.num_uses:
            yield value


# -- which module a node is in -----------------------------------------------------------------------------------------


def module_paths(graph: Graph) -> dict[Node, str]:
    """The module of each node.

    That is its scope; in an imported graph, what its name says, else the name of a parameter that it reads, else the
    module of the node before it.
    """
    paths: dict[Node, str] = {}
    parameters = set(_parameters(graph))
    before = ""
    for node in graph:
        path = node.scope or _path_of_name(node.output.name)
        if not path:
            named = (_path_of_name(value.name) for value in node.inputs if value in parameters and value is not None)
            path = next((name for name in named if name), before)
        paths[node] = before = path
    return paths


def _path_of_name(name: str) -> str:
    """`encoder.layers.0` for `encoder.layers.0.MatMul_2`, `/encoder/layers.0/MatMul_output_0` and the like; else ""."""
    if "::" in name:  # a name made up by torch's exporter
        return ""
    separator = "/" if "/" in name else "."
    return ".".join(part for part in name.split(separator)[:-1] if part)


def _prefixes(path: str) -> list[str]:
    """`a`, `a.b` and `a.b.c` for `a.b.c`."""
    parts = path.split(".")
    return [".".join(parts[: index + 1]) for index in range(len(parts))]


def layer_of(path: str) -> str | None:
    """The path up to its first number, None where it has none."""
    return next((prefix for prefix in _prefixes(path) if prefix.rpartition(".")[2].strip("_").isdigit()), None)


def _walk(path: str, children: Mapping[str, list[str]]) -> Iterator[str]:
    for child in children.get(path, ()):
        yield child
        yield from _walk(child, children)


def _spec_as_dict(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": str(spec.dtype), "shape": spec.shape_text}
