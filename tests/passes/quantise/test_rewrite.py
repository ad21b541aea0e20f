"""Plans carried out on a whole model: numbers against floating point, operators, sharing, biases, refusals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tfgraph.backends.onnx.lower import to_onnx_ir
from tfgraph.backends.onnx.write import to_bytes
from tfgraph.dsl import functional as F
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import ConfigError
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.graph import Graph
from tfgraph.ir.interpret import interpret
from tfgraph.passes.pipeline import optimising, optimising_with, preparing, quantising
from tfgraph.passes.quantise.packing import dequantise
from tfgraph.passes.quantise.plan import ActivationRange, Scheme, SitePlan
from tfgraph.passes.quantise.rewrite import quantise
from tfgraph.passes.quantise.sites import Site, find_sites
from tfgraph.passes.quantise.weights import round_to_nearest
from tfgraph.targets import get_target

Array = np.ndarray[Any, Any]
IDS = np.array([[3, 96, 0, 5, 61], [7, 7, 42, 1, 2]])
NBITS, GATHER = "com.microsoft::MatMulNBits", "com.microsoft::GatherBlockQuantized"
DYNAMIC, TO_FLOAT = "com.microsoft::DynamicQuantizeMatMul", "com.microsoft::MatMulIntegerToFloat"


def static(site: Site, symmetric: bool = False) -> SitePlan:
    reach = 1.5  # nothing in this model is larger
    return SitePlan(Scheme("static"), activation=ActivationRange.of(-reach, reach, symmetric=symmetric))


def smooth(site: Site) -> SitePlan:
    return SitePlan(Scheme("dynamic"), smoothing=np.linspace(0.5, 2, site.num_features, dtype=np.float32))


# scheme -> the plan of a product, of the table, how far from floating point, how far the kernel from the definition
PLANS: Mapping[str, tuple[Callable[[Site], SitePlan], Scheme | None, float, float]] = {
    "dynamic": (lambda _: SitePlan(Scheme("dynamic")), None, 0.03, 1e-5),
    "dynamic-7": (lambda _: SitePlan(Scheme("dynamic", 7)), None, 0.05, 1e-5),
    "dynamic-lopsided": (lambda _: SitePlan(Scheme("dynamic", symmetric=False)), None, 0.03, 1e-5),
    "smoothed": (smooth, None, 0.03, 2e-2),  # a rounding apart, an activation may become the next integer
    "static": (static, None, 0.08, 2e-2),
    "static-symmetric": (lambda site: static(site, symmetric=True), None, 0.08, 2e-2),
    "8-bit": (lambda _: SitePlan(Scheme("weight_only", 8, 32)), Scheme("weight_only", 8, 32), 0.02, 0.02),
    "4-bit": (lambda _: SitePlan(Scheme("weight_only", 4, 16)), Scheme("weight_only", 4, 16), 0.2, 0.02),
    "4-bit-lopsided": (
        lambda _: SitePlan(Scheme("weight_only", 4, 32, False)), Scheme("weight_only", 4, 32, False), 0.2, 0.02,
    ),
    "2-bit": (lambda _: SitePlan(Scheme("weight_only", 2, 16, False)), None, 0.7, 0.03),
}  # fmt: skip


def plan_of(graph: Graph, name: str) -> dict[str, SitePlan]:
    product, table, _, _ = PLANS[name]
    plan = {site.name: product(site) for site in find_sites(graph) if site.kind == "linear"}
    if table is not None:
        plan |= {site.name: SitePlan(table) for site in find_sites(graph) if site.kind == "embedding"}
    return plan


@pytest.mark.parametrize("target", ["cpu", "onnx"])
@pytest.mark.parametrize("name", PLANS)
def test_a_quantised_model_computes_nearly_what_it_did(
    name: str,
    target: str,
    prepared: Any,
    quantised: Any,
    expected: Array,
    onnxruntime_runs: Any,
    error: Callable[[Array, Array], float],
) -> None:
    plan = plan_of(prepared(target), name)
    graph, report = quantised(target, plan)
    meant = interpret(graph, {"ids": IDS})["output"]
    allowed, kernel = PLANS[name][2:]
    assert 0 < error(meant, expected) < allowed
    assert error(onnxruntime_runs(graph, target, ids=IDS), meant) < kernel
    done = report.stages[0].result.changes
    assert sum(count for rule, count in done.items() if "smoothing" not in rule) == len(plan)


def test_products_of_one_activation_quantise_it_once(prepared: Any, quantised: Any) -> None:
    graph, _ = quantised("cpu", plan_of(prepared("cpu"), "dynamic"))
    found = Counter(node.key for node in graph)
    assert found["DynamicQuantizeLinear"] == 1
    assert found[TO_FLOAT] == 2
    assert found[DYNAMIC] == 2
    assert found["com.microsoft::BiasGelu"] == 1


def test_a_static_activation_is_quantised_once(prepared: Any, quantised: Any) -> None:
    graph, _ = quantised("cpu", plan_of(prepared("cpu"), "static"))
    found = Counter(node.key for node in graph)
    assert found["QuantizeLinear"] == 3
    assert found["DequantizeLinear"] == 3 + 4
    of_the_standard = {"Gather", "LayerNormalization", "MatMul", "Add", "Sum", "Mul", "QuantizeLinear"}
    assert set(found) <= of_the_standard | {"DequantizeLinear", "com.microsoft::BiasGelu"}


def test_the_bias_becomes_the_kernels_own(prepared: Any, quantised: Any) -> None:
    for name, index in (("dynamic", 4), ("4-bit", 5)):
        graph, _ = quantised("cpu", plan_of(prepared("cpu"), name))
        biased = [node for node in graph if node.key in (DYNAMIC, NBITS) and node.input(index) is not None]
        assert [node.required(index).constant is not None for node in biased] == [True]
        assert all(len(node.inputs) == 2 for node in graph if node.key == "Sum")


def test_a_tied_table_is_stored_once(prepared: Any, quantised: Any) -> None:
    graph, _ = quantised("cpu", plan_of(prepared("cpu"), "4-bit"))
    gather = next(node for node in graph if node.key == GATHER)
    head = [node for node in graph if node.key == NBITS][-1]
    assert gather.required(0) is head.required(1)
    scales = gather.required(2).producer
    assert scales is not None
    assert scales.required(0) is head.required(2)
    assert not [value for value in graph.constants if value.name == "table"], "the float table is still there"
    assert not [node for node in graph if node.key in ("Gemm", "Shape") and node.scope == "head"]


def test_a_head_takes_operands_of_any_rank(prepared: Any, quantised: Any) -> None:
    graph, _ = quantised("cpu", plan_of(prepared("cpu"), "dynamic"))
    assert Counter(node.key for node in graph)["Reshape"] == 0


def test_what_is_not_in_the_plan_stays(prepared: Any, quantised: Any, expected: Array) -> None:
    graph, report = quantised("cpu", {})
    assert not report.stages[0].result.changed
    np.testing.assert_allclose(interpret(graph, {"ids": IDS})["output"], expected, rtol=1e-4, atol=1e-4)
    graph, _ = quantised("cpu", {"up": SitePlan(Scheme("dynamic"))})
    found = Counter(node.key for node in graph)
    assert (found[DYNAMIC], found["MatMul"], found["Gemm"]) == (1, 2, 1)


def test_integers_of_another_method_are_used(prepared: Any, quantised: Any, error: Any) -> None:
    site = next(site for site in find_sites(prepared("cpu")) if site.name == "up")
    scheme = Scheme("weight_only", 4, 32)
    chosen = round_to_nearest(site.matrix, scheme)
    graph, _ = quantised("cpu", {"up": SitePlan(scheme, chosen)})
    node = next(node for node in graph if node.key == NBITS)
    assert node.required(1).constant is chosen.data
    plain, _ = quantised("cpu", {"up": SitePlan(scheme)})
    assert error(*(interpret(each, {"ids": IDS})["output"] for each in (graph, plain))) == 0


def test_a_lacking_operator_is_written_in_the_standard(prepared: Any, quantised: Any) -> None:
    for name in PLANS:
        graph, _ = quantised("onnx", plan_of(prepared("onnx"), name))
        assert not [node.key for node in graph if node.domain], name


def test_blockwise_dequantisation_where_the_opset_has_it(
    tiny: Graph, expected: Array, onnxruntime_runs: Any, error: Any
) -> None:
    from dataclasses import replace

    target = replace(get_target("onnx"), opset=21, ir_version=10)
    for bits, symmetric, allowed in ((4, True, 0.2), (4, False, 0.2), (8, True, 0.02), (8, False, 0.02)):
        graph = copy_graph(tiny)
        preparing().run(graph, target)
        scheme = Scheme("weight_only", bits, 32, symmetric)
        quantising({site.name: SitePlan(scheme) for site in find_sites(graph) if site.kind == "linear"}).run(
            graph, target
        )
        widened = [node for node in graph if node.key == "DequantizeLinear"]
        assert [str(node.required(0).dtype) for node in widened] == [f"{'' if symmetric else 'u'}int{bits}"] * 4
        meant = interpret(graph, {"ids": IDS})["output"]
        assert error(meant, expected) < allowed
        from tfgraph.backends.onnxruntime.session import Session

        found = Session(to_bytes(to_onnx_ir(graph, target))).run({"ids": IDS})["output"]
        assert error(found, meant) < 0.02  # ONNX Runtime makes a MatMulNBits of it, at accuracy_level 4


def test_one_pipeline_does_both_and_a_planner_is_asked_in_it(tiny: Graph, expected: Array, error: Any) -> None:
    asked: list[int] = []

    def planner(graph: Graph, target: Any) -> dict[str, SitePlan]:
        asked.append(len(find_sites(graph)))
        return {site.name: SitePlan(Scheme("dynamic")) for site in find_sites(graph) if site.kind == "linear"}

    graph = copy_graph(tiny)
    report = optimising_with(planner).run(graph, get_target("cpu"))
    assert asked == [5]
    assert [stage.name for stage in report.stages].index("quantise") == len(preparing().passes)
    assert error(interpret(graph, {"ids": IDS})["output"], expected) < 0.03
    assert optimising() is optimising()


def test_a_gemm_with_a_bias_that_is_no_vector_keeps_it(onnxruntime_runs: Any, error: Any) -> None:
    rng = np.random.default_rng(0)
    w, bias = rng.standard_normal((24, 10)).astype(np.float32), rng.standard_normal((3, 10)).astype(np.float32)
    graph = trace(lambda x: F.matmul(x, w), x=spec("float32", [3, 24]))
    from tfgraph.ir.build import add_array, add_node

    product = next(node for node in graph if node.key == "MatMul")
    for given in (bias, bias[0]):
        changed = copy_graph(graph)
        product = next(node for node in changed if node.key == "MatMul")
        extra = add_array(changed, given, "bias")
        gemm = add_node(changed, "Gemm", [product.required(0), product.required(1), extra])
        changed.set_output("output", gemm.output)
        changed.erase(product)
        x = rng.standard_normal((3, 24)).astype(np.float32)
        (site,) = find_sites(changed)
        quantise(changed, get_target("cpu"), {site.name: SitePlan(Scheme("weight_only", 8, 32))})
        assert error(interpret(changed, {"x": x})["output"], x @ w + given) < 0.02
        assert Counter(node.key for node in changed)["Add"] == (1 if given.ndim == 2 else 0)


WRONG: Mapping[str, tuple[dict[str, Any], str]] = {
    "unknown site": ({"nothing": SitePlan(Scheme("dynamic"))}, r"names 1 sites that .* has not, such as 'nothing'"),
    "dynamic table": ({"table:embedding": SitePlan(Scheme("dynamic"))}, "is a table of embeddings"),
    "smoothing": (
        {"up": SitePlan(Scheme("dynamic"), smoothing=np.ones(7, np.float32))}, r"sums over 48 features.*\[7\]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_plan_that_does_not_fit_is_refused(name: str, prepared: Any) -> None:
    plan, message = WRONG[name]
    with pytest.raises(ConfigError, match=message):
        quantise(prepared("cpu"), get_target("cpu"), plan)


def test_weights_of_another_site_are_refused(prepared: Any) -> None:
    graph = prepared("cpu")
    sites = {site.name: site for site in find_sites(graph)}
    scheme = Scheme("weight_only", 4, 32)
    wrong = SitePlan(scheme, round_to_nearest(sites["down"].matrix, scheme))
    with pytest.raises(ConfigError, match=r"site 'up' is 48 x 80 .* given weights of 80 x 48"):
        quantise(graph, get_target("cpu"), {"up": wrong})
    assert dequantise(round_to_nearest(sites["down"].matrix, scheme)).shape == (80, 48)
