"""`from_onnx`: any ONNX model into the IR.

Old forms of operators are raised to the IR's (`upgrade.py`), model-local functions are written out, `Constant` nodes
become constants. What the operator table does not hold (`If`, `Loop`, operators of other domains) is carried as it is
(`opaque.py`). One graph is read in `scope.py`; this module holds what the whole model shares.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tfgraph.backends.onnx.model_file import load_model, read_opsets
from tfgraph.backends.onnx.tensors import DataFolder
from tfgraph.errors import OnnxError
from tfgraph.ir.graph import Graph

if TYPE_CHECKING:
    import onnx

    from tfgraph.backends.onnx.model_file import OnnxSource

DOMAIN_VERSION_KEY: Final = "tfgraph.domain."
"""Prefix of the graph's metadata that keeps the version of a foreign operator domain; it is not written as metadata."""

_MOST_NODES: Final = 200_000  # functions that call functions can stand for more nodes than memory holds


@dataclass
class Model:
    """What all graphs of a model share.

    Attributes:
        label: how errors call the model.
        functions: model-local functions by domain and name.
        data: where external data may lie.
        names: every name in the file's main graph, so that names made up on the way keep clear of them.
    """

    label: str
    functions: dict[tuple[str, str], onnx.FunctionProto]
    data: DataFolder
    names: frozenset[str]
    _open: list[tuple[str, str]] = field(default_factory=list)
    _num_nodes: int = 0

    def count_node(self) -> None:
        """Note that one more node was read, inside a function or not.

        Raises:
            OnnxError: there are too many.
        """
        self._num_nodes += bool(self._open)
        if self._num_nodes > _MOST_NODES:
            raise OnnxError(f"the functions of {self.label} stand for more than {_MOST_NODES} nodes once written out")

    @contextmanager
    def inside(self, function: tuple[str, str]) -> Iterator[None]:
        """While a function's body is read.

        Raises:
            OnnxError: it is being read already, so it calls itself.
        """
        if function in self._open:
            raise OnnxError(
                f"the function {'::'.join(function)} of {self.label} calls itself, which ONNX does not allow"
            )
        self._open.append(function)
        try:
            yield
        finally:
            self._open.pop()


def from_onnx(
    source: OnnxSource,
    *,
    data_folder: str | os.PathLike[str] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Graph:
    """Read an ONNX model of opset 7 to 28 into the IR.

    What came after the IR's own opset is carried as it is, for targets that read it.

    Args:
        source: the path of a file, its bytes, or an `onnx.ModelProto`.
        data_folder: where the external data of a model that has no path lies; for a path it is the path's folder.
        path: for an `onnx.ModelProto` that was read from a file, that file: errors name it, its data lies beside it.

    Returns:
        A graph that computes the same. Names of inputs, outputs and values are the file's. An initializer that is also
        declared as an input (which a caller could override) is a constant. Weights in external data stay on disk.

    Raises:
        OnnxError: the file is damaged, of an opset that is not read, or holds what tensors cannot express.
    """
    from tfgraph.backends.onnx.scope import Scope

    proto, label = load_model(source)
    if path is None and isinstance(source, str | os.PathLike):
        path = source
    label = label if path is None else os.fspath(path)
    opsets = read_opsets(proto, label)
    if data_folder is not None:
        data = DataFolder.at(Path(data_folder))
    elif path is not None:
        data = DataFolder.of(Path(path))
    else:
        data = DataFolder(None)
    functions = {(function.domain, function.name): function for function in proto.functions}
    model = Model(label, functions, data, frozenset(_names(proto.graph)))
    graph = Graph(proto.graph.name or "main")
    graph.metadata.update(
        {entry.key: entry.value for entry in proto.metadata_props if not entry.key.startswith(DOMAIN_VERSION_KEY)}
    )
    for domain, version in _foreign_domains(proto, opsets).items():
        graph.metadata[f"{DOMAIN_VERSION_KEY}{domain}"] = str(version)
    try:
        Scope(model, graph, opsets).read_graph(proto.graph)
    except RecursionError:
        raise OnnxError(f"{label} nests graphs or functions too deeply to be read") from None
    return graph


def _foreign_domains(proto: onnx.ModelProto, opsets: dict[str, int]) -> dict[str, int]:
    """The versions of domains other than ONNX's and those of model-local functions."""
    local = {function.domain for function in proto.functions}
    inner = {entry.domain: entry.version for function in proto.functions for entry in function.opset_import}
    return {
        domain: version
        for domain, version in {**inner, **opsets}.items()
        if domain not in ("", "ai.onnx") and domain not in local and version != 1
    }


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (value.name for value in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    for node in graph.node:
        yield from node.output
