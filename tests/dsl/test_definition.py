"""Definitions: recorded as one node or written out, typed by their bodies, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tfgraph.dsl import functional as F
from tfgraph.dsl.definition import definition
from tfgraph.dsl.functions import gelu, layer_norm, skip_layer_norm
from tfgraph.dsl.tensor import Tensor
from tfgraph.dsl.trace import Trace, recording, spec, trace
from tfgraph.errors import DTypeError, ShapeError
from tfgraph.ir import optable
from tfgraph.ir.build import add_node
from tfgraph.ir.dims import symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph
from tfgraph.ir.infer import infer_types
from tfgraph.ir.interpret import evaluate, interpret
from tfgraph.ir.optable import Operands, all_specs, get_spec
from tfgraph.ir.types import TensorType
from tfgraph.ir.verify import verify

BATCH = TensorType(DType.FLOAT32, (symbol("batch"), 8))
BLOCK = TensorType(DType.FLOAT32, (2, 3, 8))
ROW = TensorType(DType.FLOAT32, (8,))


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A copy of the operator table, to which a test may add."""
    all_specs()
    monkeypatch.setattr(optable, "_TABLE", dict(optable._TABLE))
    return


def kept(function: Callable[..., Any], *shapes: list[Any]) -> Graph:
    """The graph of `function` with composites recorded as one node."""
    graph = Graph()
    recorder = Trace(graph, keep_composites=True)
    declared = [spec("float32", shape) for shape in shapes]
    tensors = [
        Tensor(graph.add_input(f"x{index}", given.dtype, given.shape), recorder) for index, given in enumerate(declared)
    ]
    with recording(recorder):
        result = function(*tensors)
    for index, tensor in enumerate(result if isinstance(result, tuple) else (result,)):
        graph.set_output(f"y{index}", tensor.value)
    verify(graph)
    return graph


def test_a_model_is_written_out_in_primitives() -> None:
    graph = trace(lambda x: gelu(x), x=spec("float32", ["batch", 8]))
    assert {node.op for node in graph} == {"Div", "Erf", "Add", "Mul"}
    assert all(get_spec(node.key).body is None for node in graph)


def test_a_pattern_keeps_composites_as_nodes() -> None:
    graph = kept(lambda x, g: layer_norm(gelu(x, approximate="tanh"), g, epsilon=1e-3), ["batch", 8], [8])
    nodes = list(graph)
    assert [node.op for node in nodes] == ["Gelu", "LayerNormalization"]
    assert nodes[0].attributes == {"approximate": "tanh"}
    assert nodes[1].attributes == {"epsilon": 1e-3}
    assert len(nodes[1].inputs) == 2


def test_the_body_of_a_composite_is_written_in_composites() -> None:
    row = get_spec("com.microsoft::SkipLayerNormalization")
    assert row.body is not None
    body = row.body(Operands(row.key, (BLOCK, BLOCK, ROW), {"epsilon": 1e-5}))
    verify(body)
    assert "LayerNormalization" in [node.op for node in body]
    assert list(body.inputs) == ["input", "skip", "gamma"]
    assert list(body.outputs) == ["output", "mean", "inv_std_var", "input_skip_bias_sum"]


def test_a_composite_of_several_results_is_one_node() -> None:
    graph = kept(lambda x, g: skip_layer_norm(x, x, g), [2, 3, 8], [8])
    assert [node.key for node in graph] == ["com.microsoft::SkipLayerNormalization"]
    assert [str(value.type) for value in graph.outputs.values()] == [
        "float32[2, 3, 8]", "float32[2, 3, 1]", "float32[2, 3, 1]", "float32[2, 3, 8]",
    ]  # fmt: skip


def test_operands_may_be_given_by_name_and_left_out_between_others() -> None:
    graph = kept(lambda x, g, b: skip_layer_norm(x, x, gamma=g, bias=b)[0], [2, 3, 8], [8], [8])
    node = next(iter(graph))
    assert [value.name if value else None for value in node.inputs] == ["x0", "x0", "x1", None, "x2"]


def test_types_follow_from_the_body_with_symbolic_sizes() -> None:
    result = infer_types(get_spec("LayerNormalization"), [BATCH, ROW], {})
    assert [str(type_) for type_ in result] == ["float32[batch, 8]"]


def test_an_operand_of_unknown_rank_gives_a_result_of_unknown_rank() -> None:
    result = infer_types(get_spec("Gelu"), [TensorType(DType.FLOAT16, None)], {})
    assert [str(type_) for type_ in result] == ["float16[...]"]


def test_the_body_of_equal_operands_is_traced_once() -> None:
    spec_ = get_spec("LayerNormalization")
    assert spec_.body is not None
    attributes = {"axis": -1, "epsilon": 1e-5, "stash_type": 1}
    first, second = (spec_.body(Operands(spec_.key, (BATCH, ROW), dict(attributes))) for _ in range(2))
    assert first is second
    assert spec_.body(Operands(spec_.key, (BATCH, ROW), {**attributes, "epsilon": 1.0})) is not first


def test_a_new_operator_is_one_function(table: None) -> None:
    @definition("test.domain::Scale", since=2, outputs=("scaled", "offset"))
    def scale(x: Tensor, bias: Tensor | None = None, *, factor: float, twice: int = 0) -> tuple[Tensor, ...]:
        """`x * factor + bias`, and `x + 1`."""
        scaled = x * factor
        scaled = scaled * 2 if twice else scaled
        return (scaled if bias is None else scaled + bias), x + 1

    row = get_spec("test.domain::Scale")
    assert (row.name, row.domain, row.since, row.outputs) == ("Scale", "test.domain", 2, ("scaled", "offset"))
    assert [(parameter.name, parameter.optional) for parameter in row.inputs] == [("x", False), ("bias", True)]
    assert row.attributes == {"factor": optable.REQUIRED, "twice": 0}
    assert scale.__doc__ == "`x * factor + bias`, and `x + 1`."

    x = np.array([1.0, 2.0], np.float32)
    expected = [x * 6 + 1, x + 1]
    np.testing.assert_array_equal(evaluate(row, [x, np.ones(2, np.float32)], {"factor": 3.0, "twice": 1}, 2), expected)
    graph = trace(lambda x: scale(x, F.as_tensor(np.ones(2, np.float32)), factor=3.0, twice=1), x=spec("float32", [2]))
    np.testing.assert_array_equal(list(interpret(graph, {"x": x}).values()), expected)
    with pytest.raises(DTypeError, match=r"test\.domain::Scale needs its attribute 'factor'"):
        add_node(Graph(), "test.domain::Scale", [graph.inputs["x"]])


def test_operands_that_the_definition_does_not_know_are_refused() -> None:
    with pytest.raises(DTypeError, match="Gelu takes up to 1 operands, and it was given 2"):
        infer_types(get_spec("Gelu"), [ROW, ROW], {})


def test_a_required_operand_that_is_left_out_is_refused() -> None:
    with pytest.raises(DTypeError, match="LayerNormalization needs its input 'scale', and it is left out"):
        infer_types(get_spec("LayerNormalization"), [BATCH], {})
    with pytest.raises(DTypeError, match="Attention needs its input 'k', and it is left out"):
        infer_types(get_spec("Attention"), [BATCH, None, BATCH], {})


def test_shapes_that_do_not_fit_are_refused_in_a_composite() -> None:
    with pytest.raises(ShapeError, match=r"\[batch, 8\].*\[7\]|\[7\].*\[batch, 8\]"):
        infer_types(get_spec("LayerNormalization"), [BATCH, TensorType(DType.FLOAT32, (7,))], {})


def test_an_error_in_a_kept_composite_names_the_users_line_once() -> None:
    with pytest.raises(ShapeError) as caught:
        kept(lambda x, g: layer_norm(x, g), ["batch", 8], [7])
    assert str(caught.value).count("test_definition.py") == 1


def test_an_attention_of_a_dtype_without_a_lowest_number_is_refused() -> None:
    ints = TensorType(DType.INT32, (1, 2, 3, 4))
    with pytest.raises(DTypeError, match="attention cannot be computed in int32: expected one of float32"):
        infer_types(get_spec("Attention"), [ints, ints, ints], {"scale": 1})
