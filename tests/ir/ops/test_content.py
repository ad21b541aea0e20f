"""Shape arithmetic: what is told about the elements of small integer tensors is what running the graph computes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfgraph.ir.build import add_array, add_node
from tfgraph.ir.dims import floordiv, maximum, minimum, substitute, symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph
from tfgraph.ir.infer import infer_types
from tfgraph.ir.interpret import interpret
from tfgraph.ir.optable import get_spec
from tfgraph.ir.types import TensorType

b, s, p = symbol("b"), symbol("s"), symbol("p")


def vector(*elements: object, dtype: DType = DType.INT64) -> TensorType:
    return TensorType(dtype, (len(elements),), tuple(elements))


def scalar(element: object, dtype: DType = DType.INT64) -> TensorType:
    return TensorType(dtype, (), (element,))


X = TensorType(DType.FLOAT32, (b, s, 64))


def content(key: str, *operands: TensorType | None, **attributes: object) -> object:
    (type_,) = infer_types(get_spec(key), operands, attributes)
    return type_.content


@pytest.mark.parametrize(
    "key, operands, attributes, expected",
    [
        ("Shape", [X], {}, (b, s, 64)),
        ("Shape", [X], {"start": 1, "end": 2}, (s,)),
        ("Size", [X], {}, (64 * b * s,)),
        ("Gather", [vector(b, s, 64), scalar(1)], {}, (s,)),
        ("Gather", [vector(b, s, 64), vector(-1, 0)], {}, (64, b)),
        ("Slice", [vector(b, s, 64), vector(1), vector(2**63 - 1)], {}, (s, 64)),
        ("Slice", [vector(b, s, 64), vector(0), vector(-1)], {}, (b, s)),
        ("Concat", [vector(b), vector(s, 12)], {"axis": 0}, (b, s, 12)),
        ("Squeeze", [vector(s), vector(0)], {}, (s,)),
        ("Unsqueeze", [scalar(s), vector(0)], {}, (s,)),
        ("Reshape", [scalar(s), vector(1)], {}, (s,)),
        ("Identity", [vector(b, s)], {}, (b, s)),
        ("Add", [vector(s, 2), scalar(1)], {}, (s + 1, 3)),
        ("Sub", [scalar(s + p), scalar(p)], {}, (s,)),
        ("Mul", [scalar(s), scalar(4)], {}, (4 * s,)),
        ("Div", [scalar(64 * s), scalar(16)], {}, (4 * s,)),
        ("Div", [scalar(s), scalar(2)], {}, (floordiv(s, 2),)),
        ("Div", [scalar(-7), scalar(2)], {}, (-3,)),
        ("Div", [scalar(s - 9), scalar(2)], {}, None),
        ("Mod", [scalar(-7), scalar(3)], {}, (2,)),
        ("Mod", [scalar(-7), scalar(3)], {"fmod": 1}, (-1,)),
        ("Mod", [scalar(4 * s), scalar(4)], {}, (0,)),
        ("Mod", [scalar(5), scalar(0)], {}, None),
        ("Tile", [scalar(s), vector()], {}, (s,)),
        ("Max", [scalar(s), scalar(s + 1)], {}, (s + 1,)),
        ("Max", [scalar(s), scalar(5)], {}, (maximum(s, 5),)),
        ("Min", [scalar(s), scalar(5)], {}, (minimum(s, 5),)),
        ("Neg", [scalar(s)], {}, (-s,)),
        ("Abs", [scalar(-s)], {}, (s,)),
        ("Cast", [scalar(s)], {"to": "int32"}, (s,)),
        ("Cast", [scalar(2**40)], {"to": "int32"}, None),
        ("Cast", [vector(2, 0)], {"to": "bool"}, (1, 0)),
        ("Cast", [scalar(s)], {"to": "bool"}, None),
        ("Cast", [scalar(s)], {"to": "float32"}, None),
        ("Equal", [vector(s, -1, 3), scalar(-1)], {}, (0, 1, 0)),
        ("Equal", [scalar(s), scalar(1)], {}, None),
        ("Less", [scalar(s), scalar(s + 1)], {}, (1,)),
        ("GreaterOrEqual", [scalar(s), scalar(0)], {}, (1,)),
        ("Greater", [scalar(p), scalar(0)], {}, None),
        ("Where", [vector(1, 0, dtype=DType.BOOL), vector(b, s), vector(7, 8)], {}, (b, 8)),
        ("Where", [TensorType(DType.BOOL, (2,)), vector(b, s), vector(b, s)], {}, (b, s)),
        ("Where", [TensorType(DType.BOOL, (2,)), vector(b, s), vector(b, 8)], {}, None),
        ("Where", [TensorType(DType.BOOL, (p,)), vector(b), vector(b)], {}, None),
        ("Not", [vector(1, 0, dtype=DType.BOOL)], {}, (0, 1)),
        ("Or", [vector(1, 0, dtype=DType.BOOL), vector(0, 0, dtype=DType.BOOL)], {}, (1, 0)),
        ("Range", [scalar(0), scalar(4), scalar(1)], {}, (0, 1, 2, 3)),
        ("Range", [scalar(p), scalar(p + 2), scalar(1)], {}, (p, p + 1)),
        ("Range", [scalar(0), scalar(s), scalar(1)], {}, None),
        ("ConstantOfShape", [vector(3)], {"value": 1, "dtype": "int64"}, (1, 1, 1)),
        ("ConstantOfShape", [vector(s)], {"value": 1, "dtype": "int64"}, None),
        ("Expand", [scalar(s), vector(2)], {}, (s, s)),
        ("Tile", [vector(b, s), vector(2)], {}, (b, s, b, s)),
        ("ReduceProd", [vector(b, s, 4), None], {"keepdims": 0}, (4 * b * s,)),
        ("ReduceSum", [vector(b, s, 4), vector(0)], {}, (b + s + 4,)),
        ("ReduceMax", [vector(3, s), vector(0)], {}, (maximum(3, s),)),
        ("CumSum", [vector(b, s), scalar(0)], {}, None),
    ],
)
def test_content(key, operands, attributes, expected):
    assert content(key, *operands, **attributes) == expected


def test_split_gives_the_content_of_each_part():
    parts = infer_types(get_spec("Split"), [vector(b, s, 64), vector(1, 2)], {}, num_outputs=2)
    assert [part.content for part in parts] == [(b,), (s, 64)]


def test_content_of_many_elements_is_dropped():
    assert content("Range", scalar(0), scalar(64), scalar(1)) == tuple(range(64))
    assert content("Range", scalar(0), scalar(65), scalar(1)) is None


def test_the_guard_that_torch_writes_before_an_expand_folds_away():
    shape = vector(b, -1, s)
    (guard,) = infer_types(get_spec("Equal"), [shape, scalar(-1)], {})
    (target,) = infer_types(get_spec("Where"), [guard, vector(1, 1, 1), shape], {})
    assert target.content == (b, 1, s)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Neg", "Abs", "Gather", "Slice", "Concat",
                "ReduceProd", "ReduceSum", "Where", "Cast", "Reshape",
            ]
        ),
        st.integers(0, 9),
        st.integers(0, 9),
        st.sampled_from([-3, -1, 1, 2, 4]),
    ),
    min_size=1,
    max_size=8,
)  # fmt: skip


@settings(max_examples=150)
@given(steps=STEPS, sizes=st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_random_shape_arithmetic_is_what_the_graph_computes(steps, sizes):
    graph = Graph()
    values = [add_node(graph, "Shape", [graph.add_input("x", DType.FLOAT32, (b, s, 4))]).output]

    def ints(*elements: int):
        return add_array(graph, np.array(elements, dtype=np.int64), "c")

    for op, first, second, number in steps:
        left, right = values[first % len(values)], values[second % len(values)]
        attributes: dict[str, object] = {}
        if op in ("Add", "Sub", "Mul", "Max", "Min"):
            operands = [left, right if left.shape == right.shape else ints(number)]
        elif op in ("Div", "Mod"):
            operands = [left, ints(number)]
        elif op == "Gather":
            operands = [left, ints(second % left.shape[0])]
        elif op == "Slice":
            operands = [left, ints(0), ints(max(number, 1))]
        elif op == "Concat":
            operands, attributes = [left, right], {"axis": 0}
        elif op in ("ReduceProd", "ReduceSum"):
            operands = [left]
        elif op == "Where":
            condition = add_node(graph, "Less", [left, ints(number)]).output
            operands = [condition, left, ints(number)]
        elif op == "Cast":
            values.append(add_node(graph, "Cast", [left], {"to": "int32"}).output)
            operands, attributes = [values.pop()], {"to": "int64"}
        elif op == "Reshape":
            operands = [left, ints(-1)]
        else:
            operands = [left]
        result = add_node(graph, op, operands, attributes).output
        if result.shape[0] <= 12:
            values.append(result)
    for number, value in enumerate(values):
        graph.set_output(f"y{number}", value)
    outputs = interpret(graph, {"x": np.zeros((*sizes, 4), dtype=np.float32)})
    for number, value in enumerate(values):
        if value.content is not None:
            told = [substitute(dim, {"b": sizes[0], "s": sizes[1]}) for dim in value.content]
            if all(abs(int(str(dim))) < 2**31 for dim in told):  # beyond it the casts to int32 wrap round
                assert told == outputs[f"y{number}"].tolist()
