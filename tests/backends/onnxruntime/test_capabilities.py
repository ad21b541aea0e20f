"""The table of the CPU provider against ONNX Runtime itself: sessions of one operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from onnx.helper import make_node

from tfgraph.backends.onnx.lower import to_onnx_ir
from tfgraph.backends.onnx.write import to_bytes
from tfgraph.backends.onnxruntime.capabilities import _WITHOUT_BFLOAT16, _WITHOUT_FLOAT64, CPU
from tfgraph.backends.onnxruntime.session import Session
from tfgraph.backends.reference.session import Session as Reference
from tfgraph.errors import TargetError
from tfgraph.ir.build import add_node
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph
from tfgraph.ir.optable import find_spec

Shapes = tuple[Any, ...]
X, V = (2, 4, 8), (8,)
PACKED = (2, 4, 16)
IDS = ("int64", (2, 4))
MASK = ("int32", (2, 4))

# operator -> applications: shapes of the operands (with a dtype where it is not the one under test), and attributes
COMPOSITES: dict[str, list[tuple[Shapes, Mapping[str, Any]]]] = {
    "LayerNormalization": [((X, V, V), {}), ((X, (4, 8)), {"axis": 1, "epsilon": 1e-3})],
    "RMSNormalization": [((X, V), {}), ((X, (4, 8)), {"axis": 1})],
    "Gelu": [((X,), {}), ((X,), {"approximate": "tanh"})],
    "Swish": [((X,), {}), ((X,), {"alpha": 1.5})],
    "Attention": [
        (((2, 2, 4, 8),) * 3, {}),
        ((PACKED,) * 3, {"q_num_heads": 2, "kv_num_heads": 2, "is_causal": 1}),
        ((PACKED, PACKED, PACKED, ("bool", (4, 4))), {"q_num_heads": 2, "kv_num_heads": 2}),
        ((PACKED, PACKED, PACKED, (2, 1, 4, 4)), {"q_num_heads": 2, "kv_num_heads": 2, "scale": 0.3}),
        ((PACKED, (2, 4, 8), (2, 4, 8)), {"q_num_heads": 2, "kv_num_heads": 1, "softcap": 5.0}),
    ],
    "RotaryEmbedding": [
        (((2, 2, 4, 8), (16, 4), (16, 4), IDS), {}),
        ((PACKED, (2, 4, 2), (2, 4, 2)), {"num_heads": 2, "rotary_embedding_dim": 4, "interleaved": 1}),
    ],
    "com.microsoft::Attention": [
        ((PACKED, (16, 48), (48,), MASK), {"num_heads": 2}),
        ((PACKED, (16, 48), (48,), None, None, (1, 2, 4, 4)), {"num_heads": 2, "unidirectional": 1}),
    ],
    "com.microsoft::MultiHeadAttention": [
        ((PACKED, (2, 7, 16), (2, 7, 16)), {"num_heads": 2}),
        ((PACKED, PACKED, PACKED, (48,), MASK), {"num_heads": 2, "scale": 0.3}),
        ((PACKED, PACKED, PACKED, None, None, (1, 2, 4, 4)), {"num_heads": 2}),
    ],
    "com.microsoft::BiasGelu": [((X, V), {})],
    "com.microsoft::FastGelu": [((X,), {}), ((X, V), {})],
    "com.microsoft::Gelu": [((X,), {})],
    "com.microsoft::QuickGelu": [((X,), {}), ((X,), {"alpha": 1.0})],
    "com.microsoft::SkipLayerNormalization": [((X, X, V, V), {}), ((X, X, V, V, V), {"epsilon": 1e-3})],
    "com.microsoft::SkipSimplifiedLayerNormalization": [((X, X, V), {}), ((X, X, V, V), {"epsilon": 1e-3})],
    # quantised weights and operands as inputs; as constants, of all sizes, in tests/dsl/functions/test_quantized.py
    "com.microsoft::DynamicQuantizeMatMul": [
        ((X, ("int8", (8, 4)), (4,)), {}),
        ((X, ("uint8", (8, 4)), (4,), ("uint8", (4,)), (4,)), {}),
    ],
    "com.microsoft::MatMulIntegerToFloat": [
        ((("uint8", (2, 4, 8)), ("int8", (8, 4)), ("float32", ()), (4,)), {}),
        ((("uint8", (4, 8)), ("uint8", (8, 4)), ("float32", ()), (4,), ("uint8", ()), ("uint8", (4,)), (4,)), {}),
    ],
    "com.microsoft::MatMulNBits": [
        ((X, ("uint8", (4, 1, 8)), (4, 1)), {"K": 8, "N": 4, "block_size": 16}),
        ((X, ("uint8", (4, 1, 16)), (4, 1), ("uint8", (4, 1))), {"K": 8, "N": 4, "block_size": 16, "bits": 8}),
    ],
    "com.microsoft::GatherBlockQuantized": [
        ((("uint8", (5, 8)), ("int64", (2, 3)), (5, 1)), {"block_size": 16}),
        ((("uint8", (5, 2, 16)), ("int64", (2, 3)), (5, 2, 1)), {"block_size": 16, "bits": 8, "quantize_axis": 2}),
    ],
}
# listed, and defined by nobody yet: that a session can be made and run is what is checked
KERNELS: dict[str, tuple[Shapes, Mapping[str, Any]]] = {
    "GroupNormalization": (((2, 4, 8), (4,), (4,)), {"num_groups": 2}),
    "HardSwish": ((X,), {}),
    "InstanceNormalization": ((X, (4,), (4,)), {}),
    "LpNormalization": ((X,), {}),
    "MeanVarianceNormalization": (((2, 3, 4, 5),), {}),
    "Mish": ((X,), {}),
    "Shrink": ((X,), {}),
    "ThresholdedRelu": ((X,), {}),
    "com.microsoft::FusedGemm": (((4, 8), (8, 4), (4,)), {"activation": "Relu"}),
    "com.microsoft::FusedMatMul": ((X, X), {"transB": 1, "alpha": 0.5}),
    "com.microsoft::RotaryEmbedding": ((PACKED, IDS, (16, 4), (16, 4)), {"num_heads": 2}),
}


def dtype_and_shape(operand: Any, dtype: DType) -> tuple[DType, tuple[int, ...]]:
    return (DType(operand[0]), operand[1]) if isinstance(operand[0], str) else (dtype, operand)


def one_operator(key: str, operands: Shapes, attributes: Mapping[str, Any], dtype: DType) -> Graph:
    graph = Graph("one")
    values = []
    for index, operand in enumerate(operands):
        typed = None if operand is None else dtype_and_shape(operand, dtype)
        values.append(None if typed is None else graph.add_input(f"x{index}", *typed))
    node = add_node(graph, key, values, attributes)
    graph.set_output("y", node.output)
    return graph


def feed(graph: Graph, rng: np.random.Generator) -> dict[str, np.ndarray]:
    arrays = {}
    for name, value in graph.inputs.items():
        shape = tuple(dim for dim in value.shape if isinstance(dim, int))
        numbers = (
            rng.standard_normal(shape)
            if value.dtype.is_float
            else np.tril(np.ones(shape), 1)
            if len(shape) > 1
            else np.ones(shape)
        )
        arrays[name] = np.asarray(numbers).astype(value.dtype.numpy())
    return arrays


COMPOSITE_CASES = [
    pytest.param(key, *case, dtype, id=f"{key}-{index}-{dtype}")
    for key, cases in COMPOSITES.items()
    for index, case in enumerate(cases)
    for dtype in sorted(CPU.operators[key].dtypes, key=str)
]


@pytest.mark.parametrize(("key", "operands", "attributes", "dtype"), COMPOSITE_CASES)
def test_a_kernel_computes_its_definition(
    key: str, operands: Shapes, attributes: Mapping[str, Any], dtype: DType, rng: np.random.Generator
) -> None:
    graph = one_operator(key, operands, attributes, dtype)
    inputs = feed(graph, rng)
    found = Session(to_bytes(to_onnx_ir(graph, CPU)), optimize=False).run(inputs)["y"]
    expected = Reference(graph).run(inputs)["y"]
    tolerance = 5e-3 if dtype is DType.FLOAT16 else 2e-5
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("key", KERNELS)
def test_a_listed_kernel_runs(key: str, make_model: Any, rng: np.random.Generator) -> None:
    operands, attributes = KERNELS[key]
    domain, _, op = key.rpartition("::")
    for dtype in CPU.operators[key].dtypes:
        typed = {f"x{index}": dtype_and_shape(operand, dtype) for index, operand in enumerate(operands)}
        node = make_node(op, list(typed), ["y"], domain=domain, **attributes)
        inputs = {name: (kind.onnx_code, shape) for name, (kind, shape) in typed.items()}
        model = make_model([node], inputs, {"y": (dtype.onnx_code, None)}, domains={domain: 1} if domain else {})
        arrays = {name: np.ones(shape, kind.numpy()) for name, (kind, shape) in typed.items()}
        assert Session(model.SerializeToString()).run(arrays)["y"].dtype == dtype.numpy()


def test_every_listed_operator_is_checked() -> None:
    primitive = {key for key in CPU.operators if (spec := find_spec(key)) is not None and spec.body is None}
    quantised = {key for key in CPU.operators if CPU.operators[key].dtypes == frozenset()} - primitive
    cached = {"com.microsoft::GroupQueryAttention"}
    assert set(CPU.operators) == primitive | set(COMPOSITES) | set(KERNELS) | quantised | cached
    defined = {key for key in CPU.operators if (spec := find_spec(key)) is not None and spec.body is not None}
    assert not defined & set(KERNELS), "a definition came: move the case to COMPOSITES"


def test_attention_without_a_bias_is_refused_since_its_kernel_ends_the_process() -> None:
    graph = one_operator("com.microsoft::Attention", (PACKED, (16, 48)), {"num_heads": 2}, DType.FLOAT32)
    with pytest.raises(TargetError, match=r"com\.microsoft::Attention on cpu does not run without input 2"):
        to_onnx_ir(graph, CPU)


UNARY = (
    *("Abs", "ArgMax", "ArgMin", "Ceil", "Cos", "Dropout", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "LeakyRelu"),
    *("Log", "LogSoftmax", "Neg", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax"),
    *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Round", "Selu", "Sigmoid"),
    *("Sin", "Softmax", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "Trilu"),
)
BINARY = (
    *("Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mul", "PRelu"),
    *("Pow", "Sub", "Sum"),
)
IMAGE = (1, 2, 8, 8)
PRIMITIVES: dict[str, tuple[Shapes, Mapping[str, Any]]] = {
    **{op: ((X,), {}) for op in UNARY},
    **{op: ((X, X), {}) for op in BINARY},
    "AveragePool": ((IMAGE,), {"kernel_shape": [2, 2]}),
    "Conv": ((IMAGE, (3, 2, 3, 3)), {}),
    "ConvTranspose": ((IMAGE, (2, 3, 3, 3)), {}),
    "CumSum": ((X, ("int64", ())), {}),
    "Expand": ((X, ("int64", (3,))), {}),
    "Gemm": (((8, 8), (8, 8)), {}),
    "GlobalAveragePool": ((IMAGE,), {}),
    "MatMul": ((X, (8, 8)), {}),
    "Mod": ((X, X), {"fmod": 1}),
    "Pad": ((X, ("int64", (6,))), {}),
    "Tile": ((X, ("int64", (3,))), {}),
    "TopK": ((X, ("int64", (1,))), {}),
    "Where": ((("bool", X), X, X), {}),
}


@pytest.mark.parametrize("op", [*_WITHOUT_BFLOAT16, *_WITHOUT_FLOAT64])
def test_a_dtype_is_refused_only_where_onnx_runtime_has_no_kernel(op: str, make_model: Any) -> None:
    operands, attributes = PRIMITIVES[op]
    refused = {DType.BFLOAT16} | ({DType.FLOAT64} if op in _WITHOUT_FLOAT64 else set())
    for dtype in (DType.FLOAT32, DType.FLOAT16, DType.FLOAT64, DType.BFLOAT16):
        assert (dtype in CPU.operators[op].dtypes) == (dtype not in refused)
        typed = {f"x{index}": dtype_and_shape(operand, dtype) for index, operand in enumerate(operands)}
        outputs = ["y", "z"] if op == "TopK" else ["y"]
        inputs = {name: (kind.onnx_code, shape) for name, (kind, shape) in typed.items()}
        model = make_model([make_node(op, list(typed), outputs, **attributes)], inputs, outputs).SerializeToString()
        if dtype in refused:
            with pytest.raises(TargetError, match="lacks a kernel"):
                Session(model, optimize=False)
        else:
            Session(model, optimize=False)
