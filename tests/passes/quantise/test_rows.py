"""Scaling rows: exact, shared by the products of one activation, and what it gains where tokens differ in size."""

from __future__ import annotations

import numpy as np
import pytest

import tfgraph as tg
from tfgraph import nn
from tfgraph.errors import ConfigError
from tfgraph.ir.interpret import interpret
from tfgraph.ir.verify import verify
from tfgraph.passes.pipeline import preparing
from tfgraph.passes.quantise.plan import Scheme, SitePlan
from tfgraph.passes.quantise.rows import scale_rows_of
from tfgraph.passes.quantise.sites import find_sites
from tfgraph.quantization.metrics import cosine
from tfgraph.quantization.runner import session_of
from tfgraph.targets import get_target

SPEC = tg.spec("float32", ["batch", "seq", 16])


class Pair(nn.Module):
    """Two products of one activation."""

    def __init__(self):
        self.first, self.second = nn.Linear(16, 24), nn.Linear(16, 24)

    def forward(self, x):
        return self.first(x) * self.second(x)


@pytest.fixture
def graph():
    made = Pair()
    made.init_weights(seed=2, scale=0.3)
    traced = tg.trace(made, x=SPEC)
    preparing().run(traced, get_target("cpu"))
    return traced


def inputs(rng: np.random.Generator) -> np.ndarray:
    sizes = np.array([1.0, 100.0, 0.01, 0.0, 1.0], np.float32)[:, None]
    return (rng.standard_normal((2, 5, 16)) * sizes).astype(np.float32)


@pytest.mark.parametrize("smooth", [False, True])
def test_it_changes_no_result_and_is_done_once_for_one_activation(graph, rng, smooth):
    x = inputs(rng)
    expected = interpret(graph, {"x": x})["output"]
    names = [site.name for site in find_sites(graph)]
    vector = np.linspace(0.5, 2, 16, dtype=np.float32) if smooth else None
    plan = SitePlan(Scheme("dynamic"), smoothing=vector, scales_rows=True)
    scale_rows_of(graph, [(site, plan) for site in find_sites(graph)])
    verify(graph)
    assert [site.name for site in find_sites(graph)] == names
    assert sum(node.key == "ReduceMax" for node in graph) == sum(node.key == "Div" for node in graph) == 1
    np.testing.assert_allclose(interpret(graph, {"x": x})["output"], expected, rtol=1e-5, atol=1e-6)


def test_small_tokens_beside_large_ones_gain(graph, rng):
    x = inputs(rng)
    expected = interpret(graph, {"x": x})["output"]
    names = [site.name for site in find_sites(graph)]
    found = {}
    for rows in (False, True):
        plan = {name: SitePlan(Scheme("dynamic"), scales_rows=rows) for name in names}
        with session_of(graph, get_target("cpu"), plan) as session:
            found[rows] = cosine(expected, session.run({"x": x})["output"])
    assert found[True] > 0.999 > found[False]


def test_nothing_that_asks_changes_nothing(graph):
    before = str(graph)
    scale_rows_of(graph, [(site, SitePlan(Scheme("dynamic"))) for site in find_sites(graph)])
    assert str(graph) == before


def test_a_product_with_a_bias_of_its_own(rng):
    from tfgraph.ir.build import add_array, add_node
    from tfgraph.ir.dtypes import DType
    from tfgraph.ir.graph import Graph

    graph = Graph()
    x = graph.add_input("x", DType.FLOAT32, (2, 4))
    weight, bias = add_array(graph, np.ones((4, 3), np.float32), "w"), add_array(graph, np.ones(3, np.float32), "b")
    graph.set_output("y", add_node(graph, "Gemm", [x, weight, bias]).output)
    with pytest.raises(ConfigError, match="Gemm adds a bias itself"):
        scale_rows_of(graph, [(site, SitePlan(Scheme("dynamic"), scales_rows=True)) for site in find_sites(graph)])

    with pytest.raises(ConfigError, match="dynamic ones alone"):
        SitePlan(Scheme("weight_only", 8, 128), scales_rows=True)
