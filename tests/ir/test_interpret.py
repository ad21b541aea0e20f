"""The numpy interpreter: inputs are checked, results are right, arrays are dropped after their last use."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from tfgraph.errors import (
    CheckpointError,
    GraphError,
    InputError,
    ShapeError,
    UnknownOperatorError,
    VerificationError,
)
from tfgraph.ir import optable
from tfgraph.ir.build import add_array, add_node
from tfgraph.ir.constant import AbsentConstant
from tfgraph.ir.dims import symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Source
from tfgraph.ir.interpret import evaluate, evaluate_node, interpret
from tfgraph.ir.optable import Operands, OpSpec, Parameter, get_spec
from tfgraph.ir.types import TensorType

b, s = symbol("b"), symbol("s")


@pytest.fixture
def graph() -> Graph:
    """softmax(x @ w) and its largest element, for x of [b, s, 4]."""
    graph = Graph()
    x = graph.add_input("x", DType.FLOAT32, (b, s, 4))
    scale = graph.add_input("scale", DType.FLOAT32, (b, 1, s + 1))
    weight = add_array(graph, np.eye(4, dtype=np.float32), "w")
    scores = add_node(graph, "MatMul", [x, weight], names=["scores"]).output
    weights = add_node(graph, "Softmax", [scores], names=["weights"]).output
    graph.set_output("weights", weights)
    graph.set_output("total", add_node(graph, "ReduceSum", [scale]).output)
    return graph


def inputs(batch: int = 2, seq: int = 3) -> dict[str, np.ndarray]:
    x = np.arange(batch * seq * 4, dtype=np.float32).reshape(batch, seq, 4)
    return {"x": x, "scale": np.ones((batch, 1, seq + 1), np.float32)}


def test_outputs_by_name(graph):
    given = inputs()
    outputs = interpret(graph, given)
    assert list(outputs) == ["weights", "total"]
    power = np.exp(given["x"] - given["x"].max(-1, keepdims=True))
    np.testing.assert_allclose(outputs["weights"], power / power.sum(-1, keepdims=True), rtol=1e-6)
    assert outputs["total"].item() == 8.0


def test_values_that_are_kept(graph):
    scores = next(value for value in graph.values() if value.name == "scores")
    outputs = interpret(graph, inputs(), keep=[scores])
    np.testing.assert_array_equal(outputs["scores"], inputs()["x"])


def test_a_kept_value_with_the_name_of_another_output(graph):
    scores = next(value for value in graph.values() if value.name == "scores")
    graph.set_output("scores", graph.outputs["total"])
    with pytest.raises(GraphError, match="cannot keep %scores: an output of that name is another value"):
        interpret(graph, inputs(), keep=[scores])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"x": None}, "the input 'x' is missing: expected float32[b, s, 4]; the inputs are: x, scale"),
        ({"y": np.zeros(1)}, "the graph has no input 'y'; its inputs are: x, scale"),
        ({"x": np.zeros((2, 3, 4))}, "the input 'x' is float64, expected float32: cast it"),
        ({"x": np.zeros((2, 3, 4), complex)}, "the input 'x' is complex128, expected float32: cast it"),
        (
            {"x": np.zeros((3, 4), np.float32)},
            "the input 'x' has the shape [3, 4], expected [b, s, 4]: rank 3",
        ),
        ({"x": np.zeros((2, 3, 5), np.float32)}, "the input 'x' has 5 at axis 2, expected 4"),
        (
            {"scale": np.zeros((3, 1, 4), np.float32)},
            "the input 'scale' has 3 at axis 0, which is b, and b is 2 in the input 'x'",
        ),
        (
            {"scale": np.zeros((2, 1, 3), np.float32)},
            "the input 'scale' has 3 at axis 2, expected 4, which is s + 1",
        ),
    ],
)
def test_inputs_that_do_not_fit(graph, change, message):
    given = {name: array for name, array in {**inputs(), **change}.items() if array is not None}
    with pytest.raises(InputError) as caught:
        interpret(graph, given)
    assert str(caught.value) == message


def test_an_opaque_operator_is_named(graph):
    graph.add("Loop", [graph.inputs["x"]], types=[TensorType(DType.FLOAT32, None)], names=["loop"])
    with pytest.raises(UnknownOperatorError, match="Loop 'loop' cannot be interpreted: tfgraph carries Loop without"):
        interpret(graph, inputs())


def test_a_weight_without_elements_is_named():
    graph = Graph()
    weight = graph.add_constant(AbsentConstant(DType.FLOAT32, (2,)), "w")
    graph.set_output("y", add_node(graph, "Exp", [weight]).output)
    with pytest.raises(CheckpointError, match="load a checkpoint"):
        interpret(graph, {})


def test_a_result_that_is_not_what_the_graph_says():
    graph = Graph()
    x = graph.add_input("x", DType.FLOAT32, (b,))
    wrong = graph.add("Exp", [x], types=[TensorType(DType.FLOAT32, (b, 1))], names=["y"])
    graph.set_output("y", wrong.output)
    with pytest.raises(VerificationError, match=r"Exp 'y' computed float32\[3\], and the graph says %y is float32\[b"):
        interpret(graph, {"x": np.zeros(3, np.float32)})


def test_nodes_out_of_order():
    graph = Graph()
    x = graph.add_input("x", DType.FLOAT32, (b,))
    early = add_node(graph, "Exp", [x])
    late = add_node(graph, "Exp", [x])
    graph.replace_all_uses(x, late.output)
    del early
    with pytest.raises(GraphError, match="read before it is computed"):
        interpret(graph, {"x": np.zeros(3, np.float32)})


def test_sizes_that_only_the_run_tells():
    graph = Graph()
    x = graph.add_input("x", DType.FLOAT32, (b,))
    places = add_node(graph, "NonZero", [x]).output
    graph.set_output("y", add_node(graph, "Transpose", [places]).output)
    assert interpret(graph, {"x": np.array([0, 1, 2], np.float32)})["y"].tolist() == [[1], [2]]


def test_arrays_are_dropped_after_their_last_use(monkeypatch):
    graph = Graph()
    value = graph.add_input("x", DType.FLOAT32, (b,))
    for _ in range(6):
        value = add_node(graph, "Exp", [value]).output
    graph.set_output("y", value)
    alive: list[weakref.ref] = []
    most = 0

    def spy(x: np.ndarray) -> np.ndarray:
        nonlocal most
        result = x * 1
        alive.append(weakref.ref(result))
        most = max(most, sum(reference() is not None for reference in alive))
        return result

    monkeypatch.setitem(get_spec("Exp").__dict__, "reference", spy)
    interpret(graph, {"x": np.zeros(3, np.float32)})
    assert len(alive) == 6
    assert most == 2


def test_composites_are_computed_by_their_body(monkeypatch):
    def body(given: Operands) -> Graph:
        graph = Graph("Double")
        x = graph.add_input("x", given.dtype(0), given.shape(0))
        graph.set_output("y", add_node(graph, "Add", [x, x]).output)
        return graph

    spec = OpSpec("Double", "test", (Parameter("x", "T"),), ("y",), infer=lambda given: [given.type(0)], body=body)
    monkeypatch.setattr(optable, "_TABLE", {**optable._TABLE, spec.key: spec})
    graph = Graph()
    x = graph.add_input("x", DType.FLOAT32, (b,))
    node = add_node(graph, "test::Double", [x])
    graph.set_output("y", node.output)
    assert interpret(graph, {"x": np.ones(2, np.float32)})["y"].tolist() == [2.0, 2.0]
    (result,) = evaluate_node(node, [np.full(1, 3.0, np.float32)])
    assert result.tolist() == [6.0]


def test_a_body_that_takes_other_operands(monkeypatch):
    def body(given: Operands) -> Graph:
        graph = Graph("Constant")
        graph.set_output("y", add_array(graph, np.zeros(1, np.float32), "c"))
        return graph

    spec = OpSpec("Odd", "test", (Parameter("x", "T"),), ("y",), infer=lambda given: [given.type(0)], body=body)
    with pytest.raises(GraphError, match="the body of test::Odd has 0 inputs, and 1 operands were given"):
        evaluate(spec, [np.zeros(1, np.float32)], {})


def test_shapes_that_turn_out_not_to_fit():
    graph = Graph()
    x, y = (graph.add_input(name, DType.FLOAT32, (symbol(name),)) for name in ("n", "m"))
    graph.set_output("y", add_node(graph, "Add", [x, y], source=Source("model.py", 7)).output)
    with pytest.raises(ShapeError, match=r"Add 'Add' \(model.py:7\): Add cannot broadcast \[2\] with \[3\]"):
        interpret(graph, {"n": np.zeros(2, np.float32), "m": np.zeros(3, np.float32)})


def test_indices_that_turn_out_not_to_fit():
    graph = Graph()
    table, places = graph.add_input("x", DType.FLOAT32, (4,)), graph.add_input("i", DType.INT64, (1, b))
    graph.set_output("y", add_node(graph, "Gather", [table, places]).output)
    with pytest.raises(ShapeError, match=r"Gather of float32\[4\], int64\[1, 2\] cannot be computed: index 9 is out"):
        interpret(graph, {"x": np.zeros(4, np.float32), "i": np.array([[0, 9]])})


def test_inputs_of_unknown_rank():
    graph = Graph()
    x = graph.add_input("x", DType.FLOAT32, None)
    graph.set_output("y", add_node(graph, "Exp", [x]).output)
    assert interpret(graph, {"x": np.zeros((1, 2), np.float32)})["y"].tolist() == [[1.0, 1.0]]


def test_an_operator_without_reference_and_body():
    spec = OpSpec("Nothing", "test", (), (), infer=lambda given: [])
    with pytest.raises(UnknownOperatorError, match="test::Nothing has neither a numpy reference nor a body"):
        evaluate(spec, [], {})
