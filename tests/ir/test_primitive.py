"""Declaring a primitive: signatures, type variables, and the dimensions that only running the model tells."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.errors import DTypeError, ShapeError
from tfgraph.ir import optable
from tfgraph.ir.build import add_array, add_node
from tfgraph.ir.constant import ArrayConstant
from tfgraph.ir.dims import symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph
from tfgraph.ir.infer import constant_content, infer_types
from tfgraph.ir.optable import Operands, find_spec, get_spec
from tfgraph.ir.primitive import FLOATS, primitive
from tfgraph.ir.types import TensorType


@pytest.fixture
def declare(monkeypatch):
    """`primitive`, writing to a table of its own."""
    get_spec("MatMul")
    monkeypatch.setattr(optable, "_TABLE", dict(optable._TABLE))
    return primitive


def first(given: Operands):
    return given.shape(0)


def test_a_signature_is_read(declare):
    spec = declare(
        "test::Mix", "a:T b?:I rest*:T -> y:T z?:int64", shape=first, reference=np.add, attributes={"k": 1}, T=FLOATS
    )
    assert [(p.name, p.type, p.optional, p.variadic) for p in spec.inputs] == [
        ("a", "T", False, False),
        ("b", "I", True, False),
        ("rest", "T", False, True),
    ]
    assert spec.outputs == ("y", "z")
    assert (spec.name, spec.domain, spec.key) == ("Mix", "test", "test::Mix")
    assert find_spec("test::Mix") is spec
    assert spec.limits == {"T": FLOATS}


def test_the_first_dtype_that_is_given_counts(declare):
    spec = declare("Pick", "x:T z?:Z -> y:Z|@to|uint8", shape=first, reference=np.add, attributes={"to": None})
    x, z = TensorType(DType.FLOAT32, (2,)), TensorType(DType.INT8, ())
    assert infer_types(spec, [x, z], {"to": "int16"})[0].dtype is DType.INT8
    assert infer_types(spec, [x], {"to": "int16"})[0].dtype is DType.INT16
    assert infer_types(spec, [x], {})[0].dtype is DType.UINT8


def test_an_attribute_that_names_the_dtype_is_needed():
    with pytest.raises(DTypeError, match="Cast needs its attribute 'to', the dtype of its result"):
        infer_types(get_spec("Cast"), [TensorType(DType.FLOAT32, ())], {})


def test_unknown_ranks_stay_unknown():
    (type_,) = infer_types(get_spec("Relu"), [TensorType(DType.FLOAT16, None)], {})
    assert type_ == TensorType(DType.FLOAT16, None)


def test_dtypes_are_checked_before_shapes():
    left, right = TensorType(DType.FLOAT32, (2,)), TensorType(DType.INT64, (3,))
    with pytest.raises(DTypeError):
        infer_types(get_spec("Add"), [left, right], {})
    with pytest.raises(ShapeError):
        infer_types(get_spec("Add"), [left, TensorType(DType.FLOAT32, (3,))], {})


def test_content_is_of_small_integers_and_booleans():
    assert constant_content(ArrayConstant(np.array([1, -2]))) == (1, -2)
    assert constant_content(ArrayConstant(np.array(True))) == (1,)
    assert constant_content(ArrayConstant(np.int8(1))) is None  # arithmetic on it wraps round
    assert constant_content(ArrayConstant(np.zeros(65, np.int64))) is None
    assert constant_content(ArrayConstant(np.zeros((1, 1), np.int64))) is None


def test_two_applications_never_share_an_unknown_dimension():
    graph = Graph()
    x = graph.add_input("x", DType.FLOAT32, (symbol("b"), 3))
    one, two = (add_node(graph, "NonZero", [x], scope="layers.0").output for _ in range(2))
    assert one.shape[0] == two.shape[0] == 2
    assert one.shape[1] != two.shape[1]
    assert str(one.shape[1]) == f"`dim1_of_{one.name}`"


def test_inferring_again_gives_the_same_unknown_dimension():
    graph = Graph()
    x = graph.add_input("x", DType.FLOAT32, (symbol("b"), 3))
    node = add_node(graph, "NonZero", [x])
    again = infer_types(get_spec("NonZero"), [x.type], {}, 1, node.output.name)
    assert again[0] == node.output.type


def test_what_an_unknown_dimension_leaves_known():
    graph = Graph()
    x = graph.add_input("x", DType.FLOAT32, (symbol("b"), 8, 3))
    length = graph.add_input("length", DType.INT64, (1,))
    sliced = add_node(graph, "Slice", [x, add_array(graph, [0], "zero"), length, add_array(graph, [1], "axis")]).output
    assert sliced.shape[0] == symbol("b")
    assert sliced.shape[2] == 3
    assert str(sliced.shape[1]) == "dim1_of_Slice"
