"""Smoothing: exact without rounding, folded where a normalisation serves only products that want it, and only there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import layer_norm, rms_norm
from tfgraph.dsl.trace import spec, trace
from tfgraph.ir.graph import Graph
from tfgraph.ir.interpret import interpret
from tfgraph.passes.pipeline import preparing, quantising
from tfgraph.passes.quantise.plan import Scheme, SitePlan
from tfgraph.passes.quantise.sites import find_sites
from tfgraph.targets import get_target

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(5)
HIDDEN = 32
SCALE, SHIFT = RNG.random(HIDDEN).astype(np.float32) + 0.5, RNG.standard_normal(HIDDEN).astype(np.float32)
A, B = (RNG.standard_normal((HIDDEN, 8)).astype(np.float32) for _ in range(2))
FACTORS = np.exp2(RNG.integers(-1, 2, HIDDEN)).astype(np.float32)
X = RNG.standard_normal((2, 3, HIDDEN)).astype(np.float32)
FINE = Scheme("weight_only", 8, 16)  # on the interpreter, activations stay in float32


def normal(x: Any) -> Any:
    return layer_norm(x, SCALE, SHIFT)


def root_mean_square(x: Any) -> Any:
    return rms_norm(x, SCALE)


def run(forward: Callable[[Any], Any], plans: list[SitePlan | None]) -> tuple[Graph, Counter[str]]:
    graph = trace(forward, x=spec("float32", ["batch", "seq", HIDDEN]))
    before = interpret(graph, {"x": X})
    preparing().run(graph, get_target("cpu"))
    sites = find_sites(graph)
    assert len(sites) == len(plans)
    plan = {site.name: chosen for site, chosen in zip(sites, plans, strict=True) if chosen is not None}
    report = quantising(plan).run(graph, get_target("cpu"))
    for name, array in interpret(graph, {"x": X}).items():
        assert np.abs(array - before[name]).max() < 0.03 * np.abs(before[name]).max()
    return graph, report.stages[0].result.changes


FOLDED, BY_MUL = "quantise: smoothing in a normalisation", "quantise: smoothing by a Mul"


@pytest.mark.parametrize("norm", [normal, root_mean_square])
def test_a_norm_that_serves_only_these_products_takes_it_in(norm: Callable[[Any], Any]) -> None:
    wanted = SitePlan(FINE, smoothing=FACTORS)

    def forward(x: Any) -> tuple[Any, Any]:
        normed = norm(x)
        return F.matmul(normed, A), F.matmul(normed, B)

    graph, changes = run(forward, [wanted, wanted])
    assert (changes[FOLDED], changes[BY_MUL]) == (1, 0)
    assert Counter(node.key for node in graph)["Mul"] == 0


def others(kind: str) -> tuple[Callable[[Any], Any], list[SitePlan | None]]:
    wanted, plain = SitePlan(FINE, smoothing=FACTORS), SitePlan(FINE)
    match kind:
        case "another smoothing":
            plans: list[SitePlan | None] = [wanted, SitePlan(FINE, smoothing=FACTORS * 2)]
            return lambda x: (F.matmul(normal(x), A), F.matmul(normal(x), B)), plans
        case "no smoothing":
            return lambda x: (F.matmul(normal(x), A), F.matmul(normal(x), B)), [wanted, plain]
        case "a float product":
            return lambda x: (F.matmul(normal(x), A), F.matmul(normal(x), B)), [wanted, None]
        case "an addition":
            return lambda x: (F.matmul(normal(x), A), normal(x) + 1.0), [wanted]
        case "the output":
            return lambda x: (F.matmul(normal(x), A), normal(x)), [wanted]
        case _:
            return lambda x: F.matmul(F.tanh(x), A), [wanted]


@pytest.mark.parametrize(
    "kind", ["another smoothing", "no smoothing", "a float product", "an addition", "the output", "no norm"]
)
def test_what_others_read_is_left_alone(kind: str) -> None:
    graph, changes = run(*others(kind))
    assert changes[FOLDED] == 0
    assert changes[BY_MUL] == (2 if kind == "another smoothing" else 1)
    assert Counter(node.key for node in graph)["Mul"] >= 1


def test_products_of_one_activation_share_the_division() -> None:
    wanted = SitePlan(FINE, smoothing=FACTORS)
    _, changes = run(lambda x: (F.matmul(F.tanh(x), A), F.matmul(F.tanh(x), B)), [wanted, wanted])
    assert changes[BY_MUL] == 1


def test_outliers_of_an_activation_cost_less_when_smoothed() -> None:
    """One feature a hundred times the others: what smoothing is for."""
    outlier = np.ones(HIDDEN, np.float32)
    outlier[3] = 100
    graph = trace(lambda x: F.matmul(x, A), x=spec("float32", ["batch", "seq", HIDDEN]))
    x = X * outlier
    meant = interpret(graph, {"x": x})["output"]
    errors = []
    for smoothing in (None, np.sqrt(outlier)):
        changed = trace(lambda x: F.matmul(x, A), x=spec("float32", ["batch", "seq", HIDDEN]))
        (site,) = find_sites(changed)
        quantising({site.name: SitePlan(Scheme("dynamic"), smoothing=smoothing)}).run(changed, get_target("cpu"))
        errors.append(np.abs(interpret(changed, {"x": x})["output"] - meant).mean())
    assert errors[1] < errors[0] / 2
