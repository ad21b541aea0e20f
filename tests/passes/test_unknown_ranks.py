"""Imported graphs may hold values of which not even the rank is known: passes leave what they cannot see alone."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl.tensor import Tensor
from tfgraph.dsl.trace import Trace, recording
from tfgraph.errors import TargetError
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph
from tfgraph.ir.types import TensorType
from tfgraph.passes.canonical import CANONICAL
from tfgraph.passes.pipeline import optimising
from tfgraph.targets import get_target

F32 = np.float32
ONE, TWO, BIG = F32(1.0), F32(2.0), F32(10000.0)
W = np.arange(4, dtype=F32)


def ints(*numbers):
    return np.array(numbers, np.int64)


def weights(op, a, b, c):
    return op("Softmax", op("Add", op("MatMul", a, op("Transpose", b, perm=(0, 1, 3, 2))), c))


def rotated(op, a, b, c):
    first, second = op("Slice", a, ints(0), ints(2), ints(-1)), op("Slice", a, ints(2), ints(9), ints(-1))
    return op("Add", op("Mul", a, b), op("Mul", op("Concat", op("Neg", second), first, axis=-1), c))


def normalised(op, a, b, c):
    centred = op("Sub", a, op("ReduceMean", a, ints(-1)))
    variance = op("ReduceMean", op("Pow", centred, TWO), ints(-1))
    return op("Mul", op("Div", centred, op("Sqrt", op("Add", variance, F32(1e-5)))), W)


def masked(op, a, b, c):
    kept = op("Cast", op("Cast", b, to="bool"), to="float32")
    return op("Sub", op("Mul", a, kept), op("Mul", op("Sub", ONE, kept), BIG))


FORMS = {
    "Identity": lambda op, a, b, c: op("Identity", a),
    "Cast": lambda op, a, b, c: op("Cast", op("Cast", a, to="float64"), to="float32"),
    "Concat": lambda op, a, b, c: op("Concat", op("Concat", a, axis=1), b, axis=1),
    "Slice": lambda op, a, b, c: op("Slice", a, ints(0), ints(9), ints(0)),
    "GatherElements": lambda op, a, b, c: op("GatherElements", a, op("Cast", op("Relu", b), to="int64"), axis=1),
    "Split": lambda op, a, b, c: op("Split", a, ints(2, 2), axis=1, outputs=2)[0],
    "Softmax": lambda op, a, b, c: op("Softmax", op("Add", op("Add", a, b), ONE), axis=1),
    "Reduce": lambda op, a, b, c: op("ReduceMean", a, ints(1)),
    "Pool": lambda op, a, b, c: op("GlobalAveragePool", a),
    "InstanceNormalization": lambda op, a, b, c: op("InstanceNormalization", a, W, W),
    "Pow": lambda op, a, b, c: op("Pow", a, TWO),
    "Reciprocal": lambda op, a, b, c: op("Mul", a, op("Reciprocal", b)),
    "numbers": lambda op, a, b, c: op("Mul", op("Add", op("Sub", op("Div", a, TWO), ONE), F32(0)), ONE),
    "scales": lambda op, a, b, c: op("Mul", op("Mul", op("Mul", a, TWO), b), TWO),
    "shift": lambda op, a, b, c: op("Add", op("Mul", a, b), op("Sub", c, op("Mul", c, b))),
    "weight": lambda op, a, b, c: op("Mul", a, op("Mul", b, W)),
    "quotients": lambda op, a, b, c: op("Sub", op("Div", a, b), op("Div", c, b)),
    "Sum": lambda op, a, b, c: op("Sum", a, b, c),
    "Transpose": lambda op, a, b, c: op("Transpose", op("Transpose", a)),
    "Reshape": lambda op, a, b, c: op("Reshape", op("Transpose", op("Reshape", a, ints(-1, 4))), ints(2, 2, -1)),
    "views": lambda op, a, b, c: op("Squeeze", op("Unsqueeze", op("Flatten", a), ints(0)), ints(0)),
    "negation": lambda op, a, b, c: op("Where", op("Not", op("Not", op("Cast", a, to="bool"))), b, c),
    "unit weight": lambda op, a, b, c: op("Mul", op("Mul", a, np.ones(4, F32)), W),
    "softmax by hand": lambda op, a, b, c: op("Div", op("Exp", a), op("ReduceSum", op("Exp", a), ints(-1))),
    "expanded": lambda op, a, b, c: op("Add", op("Expand", a, ints(2, 2)), b),
    "floor": lambda op, a, b, c: op("Softmax", op("Max", op("Add", op("MatMul", a, b), c), F32(-3.4028235e38))),
    "scale after a mask": lambda op, a, b, c: op("Softmax", op("Mul", op("Add", op("MatMul", a, b), c), TWO)),
    "Expand": lambda op, a, b, c: op("Expand", a, ints(2, 2)),
    "Shape": lambda op, a, b, c: op("Gather", op("Shape", a), np.asarray(1), axis=0),
    "MatMul": lambda op, a, b, c: op("MatMul", a, op("Transpose", b, perm=(0, 2, 3, 1))),
    "MatMul without order": lambda op, a, b, c: op("MatMul", op("Mul", a, TWO), op("Transpose", b)),
    "flattened": lambda op, a, b, c: op("Reshape", op("MatMul", a, b), ints(2, 2, 3, -1)),
    "linear": lambda op, a, b, c: op("Add", op("MatMul", op("Reshape", a, ints(-1, 4)), np.eye(4, dtype=F32)), W),
    "bias": lambda op, a, b, c: op("Add", op("Reshape", a, ints(-1, 4)), W),
    "Gemm": lambda op, a, b, c: op("Gemm", a, b, c, transB=1),
    "Einsum": lambda op, a, b, c: op("Einsum", a, b, equation="ij,jk->ik"),
    "guard": lambda op, a, b, c: op("Where", op("IsNaN", weights(op, a, b, c)), F32(0), weights(op, a, b, c)),
    "mask": masked,
    "cap": lambda op, a, b, c: op("Mul", op("Tanh", op("Mul", op("MatMul", a, b), F32(0.1))), F32(5)),
    "one head": lambda op, a, b, c: op("MatMul", op("Softmax", a), op("Reshape", b, ints(2, 1, 3, 4))),
    "rotary": rotated,
    "norm": normalised,
    "gelu": lambda op, a, b, c: op(
        "Mul", op("Mul", a, F32(0.5)), op("Add", op("Erf", op("Div", a, F32(1.4142135))), ONE)
    ),
    "silu": lambda op, a, b, c: op("Mul", a, op("Sigmoid", a)),
    "attention by hand": lambda op, a, b, c: op("MatMul", weights(op, a, b, c), c),
    "Attention": lambda op, a, b, c: op("Attention", a, b, c, op("Cast", a, to="bool")),
    "Attention with a bias": lambda op, a, b, c: op("Attention", a, b, c, a),
    "LayerNormalization": lambda op, a, b, c: op("LayerNormalization", op("Add", a, b), W, axis=1),
    "MultiHeadAttention": lambda op, a, b, c: op("com.microsoft::MultiHeadAttention", a, b, c, num_heads=2),
}


@pytest.fixture
def unknown(op):
    """`unknown(form)`: the graph of a form over three results of an operator that is only carried."""

    def build(form):
        graph = Graph("unknown")
        x = graph.add_input("x", DType.FLOAT32, (2, 3))
        trace = Trace(graph)
        tensors = []
        for name in "abc":
            type_ = TensorType(DType.FLOAT32, None)
            node = graph.add("Mystery", [x], types=[type_], names=[name], domain="com.example")
            tensors.append(Tensor(node.output, trace))
        with recording(trace):
            result = form(op, *tensors)
        graph.set_output("y", result.value)
        return graph

    return build


@pytest.mark.parametrize("name", FORMS)
def test_every_form_passes(unknown, target_with, name):
    for layout in ("heads", "folded", "microsoft"):
        graph = unknown(FORMS[name])
        optimising().run(graph, target_with(layout), check=lambda *_: None)
        assert sum(node.key == "com.example::Mystery" for node in graph) >= 1


def test_every_canonical_rule_is_asked(unknown):
    """The forms above hold every operator that a rule looks at."""
    asked = {node.key for form in FORMS.values() for node in unknown(form)}
    several = {"Dropout", "LogSoftmax", "RMSNormalization", "Min", "Max", "Mean", "And", "Or", "Equal"}
    reductions = {key for key in CANONICAL.rules if key.startswith("Reduce")}
    assert set(CANONICAL.rules) <= asked | several | reductions


def test_what_cannot_be_written_out_is_an_error_that_names_it(unknown):
    graph = unknown(FORMS["Attention"])
    message = (
        r"Attention 'Attention' \(.*\) cannot be lowered for onnx: onnx has no Attention, and its definition needs"
    )
    with pytest.raises(TargetError, match=message + ".* rank of this value is not known"):
        optimising().run(graph, get_target("onnx"))
