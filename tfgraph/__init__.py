"""tfgraph: a small language for Transformers that compiles to ONNX.

    import tfgraph as tg
    from tfgraph import nn

    graph = tg.trace(model, x=tg.spec("float32", ["batch", "seq", 64]))
    compiled = tg.compile(graph, target="cpu")
    tg.export(tg.load("checkpoint/"), "out/", target="cpu")

Everything below is imported when it is first used, so that `import tfgraph` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tfgraph.version import __version__

if TYPE_CHECKING:
    from tfgraph import models as models
    from tfgraph import nn as nn
    from tfgraph.artefact import Artefact as Artefact
    from tfgraph.artefact import open as open
    from tfgraph.compiler import CompiledModel as CompiledModel
    from tfgraph.compiler import compile as compile
    from tfgraph.dsl import functional as functional
    from tfgraph.dsl import functions as functions
    from tfgraph.dsl.trace import spec as spec
    from tfgraph.dsl.trace import trace as trace
    from tfgraph.exporter import export as export
    from tfgraph.generation import Generation as Generation
    from tfgraph.generation import GenerationSettings as GenerationSettings
    from tfgraph.generator import Generator as Generator
    from tfgraph.ir.graph import Graph as Graph
    from tfgraph.ir.parse import parse_graph as parse_graph
    from tfgraph.optimizer import optimize_onnx as optimize_onnx
    from tfgraph.pretrained import Pretrained as Pretrained
    from tfgraph.pretrained import load as load

_HOMES = {
    "Artefact": "tfgraph.artefact",
    "CompiledModel": "tfgraph.compiler",
    "Generation": "tfgraph.generation",
    "GenerationSettings": "tfgraph.generation",
    "Generator": "tfgraph.generator",
    "Graph": "tfgraph.ir.graph",
    "Pretrained": "tfgraph.pretrained",
    "compile": "tfgraph.compiler",
    "export": "tfgraph.exporter",
    "functional": "tfgraph.dsl",
    "functions": "tfgraph.dsl",
    "load": "tfgraph.pretrained",
    "models": "tfgraph",
    "nn": "tfgraph",
    "open": "tfgraph.artefact",
    "optimize_onnx": "tfgraph.optimizer",
    "parse_graph": "tfgraph.ir.parse",
    "spec": "tfgraph.dsl.trace",
    "trace": "tfgraph.dsl.trace",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tfgraph' has no attribute '{name}'")
    if home in ("tfgraph", "tfgraph.dsl"):
        return importlib.import_module(f"{home}.{name}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
