"""Sizes that a graph's own products prove equal."""

from __future__ import annotations

import pytest

from tfgraph.dsl import functional as F
from tfgraph.ir.build import add_node
from tfgraph.ir.dim_text import parse_dim
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph
from tfgraph.passes.equal_sizes import equal_sizes


def products(*pairs):
    """A graph of matrix products, each of two inputs with the given shapes."""
    graph = Graph("products")
    for index, pair in enumerate(pairs):
        operands = [
            graph.add_input(f"{'ab'[side]}{index}", DType.FLOAT32, tuple(parse_dim(size) for size in shape.split()))
            for side, shape in enumerate(pair)
        ]
        node = add_node(graph, "MatMul", operands)
        graph.set_output(f"y{index}", node.output)
    return graph


def found(*pairs):
    return {name: str(dim) for name, dim in equal_sizes(products(*pairs)).items()}


def test_a_product_proves_its_inner_sizes_equal():
    assert found(("batch p", "q 8")) in ({"p": "q"}, {"q": "p"})
    assert found(("batch p", "8 5")) == {"p": "8"}
    assert found(("batch p+seq", "q+seq 8")) in ({"p": "q"}, {"q": "p"})
    assert found(("batch p", "2*q 8")) == {"p": "2*q"}
    assert found(("batch p", "q+1 8")) in ({"p": "q + 1"}, {"q": "p - 1"})


def test_what_is_equal_already_proves_nothing():
    assert found(("batch p", "p 8"), ("4 8", "8 2")) == {}


@pytest.mark.parametrize("pair", [("batch 2*p", "3*q 8"), ("batch p*q", "r*s 8"), ("batch p*p", "2*p 8")])
def test_what_cannot_be_solved_is_left(pair):
    assert found(pair) == {}


def test_one_proof_uses_another():
    proved = found(("batch p", "q 8"), ("batch q", "r 8"), ("batch r", "5 8"))
    assert proved == {"p": "5", "q": "5", "r": "5"}


def test_every_name_is_spelt_out():
    """No size that is given for a name mentions another name that is given."""
    proved = equal_sizes(products(("x a+b", "c 8"), ("x b", "d+1 8"), ("x c", "2*e 8")))
    names = {name for dim in proved.values() for name in str(dim).replace("*", " ").replace("+", " ").split()}
    assert not names & set(proved)


def test_keys_and_values_of_separate_lengths_fuse(optimise, target_with):
    """Exporters give the past keys and the past values symbols of their own."""

    def forward(q, k, v, past_key, past_value):
        keys, values = F.concat([past_key, k], 2), F.concat([past_value, v], 2)
        scores = F.matmul(q, F.swap_axes(keys, 2, 3)) * 0.4
        return F.matmul(F.softmax(scores), values), keys, values

    specs = {"q": "batch 4 seq 6", "k": "batch 4 seq 6", "v": "batch 4 seq 6"}
    past = {"past_key": "batch 4 p 6", "past_value": "batch 4 q 6"}
    done = optimise(forward, target_with("heads"), sizes=({"p": 3, "q": 3},), **specs, **past)
    assert done.operators == {"Attention": 1}
