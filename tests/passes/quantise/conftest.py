"""A small model with what there is to quantise, and ways to run graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfgraph.backends.onnx.lower import to_onnx_ir
from tfgraph.backends.onnx.write import to_bytes
from tfgraph.backends.onnxruntime.session import Session
from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import gelu, layer_norm
from tfgraph.dsl.module import Buffer, Module
from tfgraph.dsl.trace import spec, trace
from tfgraph.ir.constant import ArrayConstant
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.graph import Graph
from tfgraph.ir.interpret import interpret
from tfgraph.ir.verify import verify
from tfgraph.passes.pipeline import preparing, quantising
from tfgraph.passes.quantise.plan import Plan
from tfgraph.passes.report import Report
from tfgraph.targets import get_target

Array = np.ndarray[Any, Any]
VOCABULARY, HIDDEN, INNER = 97, 48, 80
IDS = np.array([[3, 96, 0, 5, 61], [7, 7, 42, 1, 2]])


def weight(rng: np.random.Generator, *shape: int) -> Buffer:
    return Buffer(ArrayConstant((rng.standard_normal(shape) * 0.2).astype(np.float32)))


class Tiny(Module):
    """Embeddings, a norm read by two products, a bias after a third, and a head that is tied to the embeddings."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(3)
        self.table, self.gate = weight(rng, VOCABULARY, HIDDEN), weight(rng, HIDDEN, INNER)
        self.up, self.down = weight(rng, HIDDEN, INNER), weight(rng, INNER, HIDDEN)
        self.scale, self.shift = weight(rng, HIDDEN), weight(rng, HIDDEN)
        self.gate_bias, self.down_bias = weight(rng, INNER), weight(rng, HIDDEN)

    def forward(self, ids: Any) -> Any:
        x = F.gather(self.table, ids)
        h = layer_norm(x, self.scale, self.shift)
        inner = gelu(F.matmul(h, self.gate) + self.gate_bias) * F.matmul(h, self.up)
        x = F.matmul(inner, self.down) + self.down_bias + x
        return F.matmul(layer_norm(x, self.scale, self.shift), F.transpose(self.table, (1, 0)))


@pytest.fixture(scope="session")
def tiny() -> Graph:
    """The traced model; leave it as it is."""
    return trace(Tiny(), ids=spec("int64", ["batch", "seq"]))


@pytest.fixture(scope="session")
def expected(tiny: Graph) -> Array:
    """What it gives for `IDS`."""
    return interpret(tiny, {"ids": IDS})["output"]


@pytest.fixture(scope="session")
def prepared(tiny: Graph) -> Callable[[str], Graph]:
    """`prepared(target)`: a fresh copy of the graph in which sites are looked for."""
    known: dict[str, Graph] = {}

    def prepare(target: str) -> Graph:
        if target not in known:
            known[target] = copy_graph(tiny)
            preparing().run(known[target], get_target(target))
        return copy_graph(known[target])

    return prepare


@pytest.fixture(scope="session")
def quantised(prepared: Callable[[str], Graph]) -> Callable[[str, Plan], tuple[Graph, Report]]:
    """`quantised(target, plan)`: the graph, verified after every pass, and the report."""

    def run(target: str, plan: Plan) -> tuple[Graph, Report]:
        graph = prepared(target)
        report = quantising(plan).run(graph, get_target(target), check=lambda _, changed: verify(changed))
        return graph, report

    return run


@pytest.fixture(scope="session")
def onnxruntime_runs() -> Callable[..., Array]:
    """`onnxruntime_runs(graph, target, ids=...)`: the only output, from ONNX Runtime."""

    def run(graph: Graph, target: str, **inputs: Array) -> Array:
        results = Session(to_bytes(to_onnx_ir(graph, get_target(target)))).run(inputs)
        return next(iter(results.values()))

    return run


def off_by(found: Array, wanted: Array) -> float:
    """The largest difference, relative to the largest number."""
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.fixture(scope="session")
def error() -> Callable[[Array, Array], float]:
    """See `off_by`."""
    return off_by
