"""The view for graph theory: vertices are nodes, edges are uses, and networkx's algorithms work on it."""

from __future__ import annotations

from types import ModuleType

import networkx
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.ir.build import add_node
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph


def test_nodes_are_vertices_and_uses_are_edges(graph: Graph) -> None:
    view = graph.to_networkx()
    product, total, square = graph
    assert list(view) == [product, total, square]
    assert list(view.edges(keys=True)) == [
        (product, total, "linear.MatMul"),
        (total, square, "linear.Add"),
        (total, square, "linear.Add@1"),
    ]
    assert view.edges[total, square, "linear.Add@1"] == {"value": total.output, "operand": 1}
    assert view.nodes[product] == {
        "op": "MatMul",
        "name": "linear.MatMul",
        "scope": "linear",
        "inputs": [graph.inputs["x"], product.required(1)],
    }
    assert view.graph == {"name": "square", "outputs": {"y": square}}


def test_generations_and_the_critical_path(graph: Graph) -> None:
    product, total, square = graph
    branch = add_node(graph, "Relu", [graph.inputs["x"]])
    view = graph.to_networkx()
    assert list(networkx.topological_generations(view)) == [[product, branch], [total], [square]]
    assert networkx.dag_longest_path(view) == [product, total, square]


def test_a_cut_where_the_least_crosses(graph: Graph) -> None:
    product, _, square = graph
    view = networkx.DiGraph(graph.to_networkx())
    networkx.set_edge_attributes(view, 1, "capacity")
    assert networkx.minimum_cut_value(view, product, square) == 1


def test_an_output_that_no_node_computes_is_left_out() -> None:
    graph = Graph()
    graph.set_output("y", graph.add_input("x", DType.FLOAT32, ()))
    assert graph.to_networkx().graph["outputs"] == {}


@given(data=st.data())
def test_the_view_of_any_graph_is_acyclic_and_complete(random_graphs: ModuleType, data: st.DataObject) -> None:
    graph = data.draw(random_graphs.graphs())
    view = graph.to_networkx()
    assert list(view) == list(graph)
    assert networkx.is_directed_acyclic_graph(view)
    for source, reader, edge in view.edges(data=True):
        assert edge["value"] in source.outputs
        assert reader.inputs[edge["operand"]] is edge["value"]
    operands = [value for node in graph for value in node.inputs if value is not None and value.producer is not None]
    assert view.number_of_edges() == len(operands)
