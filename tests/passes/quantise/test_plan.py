"""Schemes, ranges, plans and sites: what is refused, what things are called, what is found and what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfgraph.dsl import functional as F
from tfgraph.dsl.module import Buffer
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import ConfigError
from tfgraph.ir.build import add_node
from tfgraph.ir.constant import ArrayConstant
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph
from tfgraph.passes.quantise.plan import ActivationRange, QuantizedWeight, Scheme, SitePlan
from tfgraph.passes.quantise.sites import find_sites, sites_by_name

W = np.random.default_rng(0).standard_normal((24, 10)).astype(np.float32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("float4",), "no quantisation of kind 'float4': expected one of dynamic, static, weight_only"),
        (("dynamic", 4), r"dynamic scheme was given bits=4: expected 7 or 8"),
        (("weight_only", 3, 32), "bits=3: expected 2 or 4 or 8"),
        (("weight_only", 4, 48), "block_size=48: expected one of 16, 32"),
        (("weight_only", 4), "block_size=0: expected one of"),
        (("dynamic", 8, 32), "its weights have one scale a column"),
        (("static", 8, 0, False), "symmetric=False: runtimes take no zero points"),
    ],
)
def test_schemes_that_no_operator_has_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Scheme(*arguments)


def test_schemes_say_what_they_are() -> None:
    assert str(Scheme("weight_only", 4, 64, False)) == "weight_only 4 bit, blocks of 64, asymmetric"
    assert str(Scheme("dynamic")) == "dynamic 8 bit"


def test_ranges_hold_zero_and_their_ends() -> None:
    for low, high in ((-1.0, 3.0), (0.5, 2.0), (-3.0, -1.0), (0.0, 0.0)):
        found = ActivationRange.of(low, high)
        bounds = [(0 - found.zero_point) * found.scale, (255 - found.zero_point) * found.scale]
        assert bounds[0] <= min(low, 0) + found.scale
        assert bounds[1] >= max(high, 0) - found.scale
    signed = ActivationRange.of(-1, 2, symmetric=True)
    assert (signed.zero_point, signed.scale * 127) == (0, 2.0)
    for low, high in ((float("nan"), float("inf")), (0.0, float("inf"))):
        with pytest.raises(ConfigError, match="finite"):
            ActivationRange.of(low, high)
    with pytest.raises(ConfigError, match="zero point from 0 to 255"):
        ActivationRange(1.0, -1)
    with pytest.raises(ConfigError, match="zero point from -128 to 127"):
        ActivationRange(1.0, 200, signed=True)


def test_static_plans_alone_have_a_range() -> None:
    with pytest.raises(ConfigError, match="static scheme was given no activation range"):
        SitePlan(Scheme("static"))
    with pytest.raises(ConfigError, match="dynamic scheme was given an activation range"):
        SitePlan(Scheme("dynamic"), activation=ActivationRange(1.0, 0))


def test_parts_of_a_weight_that_do_not_fit_are_refused() -> None:
    data, scales = ArrayConstant(np.zeros((4, 2, 16), np.uint8)), ArrayConstant(np.ones((4, 2), np.float32))
    QuantizedWeight(data, scales, None, 4, 32, (40, 4))
    with pytest.raises(ConfigError, match=r"was given data \[4, 2, 16\]: expected \[4, 3, 16\]"):
        QuantizedWeight(data, scales, None, 4, 32, (70, 4))
    with pytest.raises(ConfigError, match=r"was given zero_points \[4, 2\]: expected \[4, 1\]"):
        QuantizedWeight(data, scales, ArrayConstant(np.zeros((4, 2), np.uint8)), 4, 32, (40, 4))


def test_a_tied_table_is_two_sites_of_one_weight(prepared: Callable[[str], Graph]) -> None:
    sites = sites_by_name(find_sites(prepared("cpu")))
    assert list(sites) == ["table:embedding", "gate", "up", "down", "table"]
    assert sites["table"].shared_with == ("table:embedding",)
    assert sites["table"].matrix.shape == sites["table:embedding"].matrix.shape == (48, 97)
    assert sites["gate"].shape == (48, 80)
    assert sites["gate"].num_parameters == 48 * 80
    assert [sites[name].kind for name in ("table", "table:embedding")] == ["linear", "embedding"]
    assert list(sites_by_name(find_sites(prepared("cpu")))) == list(sites), "names change from run to run"


def test_readers_of_one_weight_have_names_of_their_own() -> None:
    w = Buffer(ArrayConstant(np.eye(24, dtype=np.float32)))
    graph = trace(lambda x: F.matmul(F.matmul(F.matmul(x, w), w), w), x=spec("float32", ["rows", 24]))
    names = [site.name for site in find_sites(graph)]
    assert len(set(names)) == 3
    assert [name.rpartition(":")[2] for name in names[1:]] == ["2", "3"]
    assert find_sites(graph)[0].shared_with == tuple(names[1:])


@pytest.mark.parametrize(
    ("key", "shape", "attributes", "found"),
    [
        ("Gemm", (10, 24), {"transB": 1}, (24, 10)),
        ("Gemm", (24, 10), {}, (24, 10)),
        ("Gemm", (24, 10), {"alpha": 2.0}, None),
        ("MatMul", (24, 10), {}, (24, 10)),
        ("MatMul", (24,), {}, None),
        ("MatMul", (1, 24, 10), {}, None),
        ("Gather", (24, 10), {}, (10, 24)),
        ("Gather", (24, 10), {"axis": 1}, None),
    ],
)
def test_what_is_a_site(
    key: str, shape: tuple[int, ...], attributes: dict[str, Any], found: tuple[int, int] | None
) -> None:
    graph = Graph("one")
    weight = graph.add_constant(ArrayConstant(np.ones(shape, np.float32)), "w")
    if key == "Gather":
        operands = [weight, graph.add_input("ids", DType.INT64, (3,))]
    else:
        operands = [graph.add_input("x", DType.FLOAT32, (3, 24)), weight]
    graph.set_output("y", add_node(graph, key, operands, attributes).output)
    assert [site.shape for site in find_sites(graph)] == ([] if found is None else [found])


def test_what_is_no_float32_constant_is_no_site() -> None:
    x = spec("float32", ["rows", 24])
    assert not find_sites(trace(lambda x: F.matmul(x, F.transpose(x, (1, 0))), x=x))
    half = Buffer(ArrayConstant(W.astype(np.float16)))
    assert not find_sites(trace(lambda x: F.matmul(x, half), x=spec("float16", ["rows", 24])))
    assert len(find_sites(trace(lambda x: F.matmul(x, W), x=x))) == 1
