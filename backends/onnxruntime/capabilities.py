"""The target `cpu`: ONNX Runtime's CPU provider, as ONNX Runtime 1.31 has it, checked by sessions of one operator.

Opset 24 is the IR's own; ONNX Runtime's graph optimiser does the same at every opset from 18 to 26 (counted on exported
BERT, GPT-2 and LLaMA graphs). What is named below but its kernels are not: float16 mostly runs through casts that ONNX
Runtime inserts, so that it is slower than float32 on a CPU.
"""

from __future__ import annotations

from typing import Final

from tfgraph.capabilities import AttentionSupport, Capabilities, Support
from tfgraph.ir.dtypes import DType

_SINGLE: Final = Support(dtypes=frozenset({DType.FLOAT32, DType.FLOAT16}))
_FLOATS: Final = Support(dtypes=frozenset({DType.FLOAT32, DType.FLOAT16, DType.FLOAT64}))
_NOT_BFLOAT16: Final = Support(dtypes=frozenset(DType) - {DType.BFLOAT16})
_NOT_FLOAT64: Final = Support(dtypes=frozenset(DType) - {DType.BFLOAT16, DType.FLOAT64})

# Primitive operators without a bfloat16 kernel; the others only move elements.
_WITHOUT_BFLOAT16: Final = (
    *("Abs", "Add", "ArgMax", "ArgMin", "Ceil", "Cos", "CumSum", "Div", "Dropout", "Equal", "Exp", "Expand", "Floor"),
    *("Gemm", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Log", "LogSoftmax", "MatMul", "Max", "Min", "Mod"),
    *("Mul", "Neg", "Pad", "Pow", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax"),
    *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Round", "Sigmoid", "Sin"),
    *("Softmax", "Sqrt", "Sub", "Sum", "Tanh", "Tile", "TopK", "Trilu", "Where"),
)
# Primitive operators without a float64 kernel either.
_WITHOUT_FLOAT64: Final = (
    *("AveragePool", "Conv", "ConvTranspose", "Elu", "Erf", "GlobalAveragePool", "HardSigmoid", "LeakyRelu", "Mean"),
    *("PRelu", "Selu", "Softplus", "Softsign", "Tan"),
)

_SLOW_SKIP: Final = (
    "its kernel takes 2.7 to 5.2 times as long as a Sum and a LayerNormalization "
    "(128 to 1,024 rows of 768 on two threads)"
)

# Random numbers: the kernels are those of opset 21 and before.
_LAST_OPSETS: Final = dict.fromkeys(
    ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"), 21
)

CPU: Final = Capabilities(
    name="cpu",
    opset=24,
    newest_opset=26,
    last_opsets=_LAST_OPSETS,
    ir_version=12,
    domains={"com.microsoft": 1},
    # GroupQueryAttention reads what is in use of a cache; with a past it takes several new tokens of one row only.
    attention=AttentionSupport(layout="folded", adds_whole_mask=True, cached_multiple=8, rotary_multiple=16),
    operators={
        **dict.fromkeys(_WITHOUT_BFLOAT16, _NOT_BFLOAT16),
        **dict.fromkeys(_WITHOUT_FLOAT64, _NOT_FLOAT64),
        # -- of the standard
        "Attention": _SINGLE,
        "Gelu": _SINGLE,
        "GroupNormalization": _SINGLE,
        "HardSwish": _SINGLE,
        "InstanceNormalization": _SINGLE,
        "LayerNormalization": _FLOATS,
        "LpNormalization": _FLOATS,
        "MeanVarianceNormalization": _SINGLE,
        "Mish": _SINGLE,
        "RMSNormalization": _FLOATS,
        "RotaryEmbedding": _SINGLE,
        "Shrink": _FLOATS,
        "Swish": _FLOATS,
        "TensorScatter": Support(),
        "ThresholdedRelu": _SINGLE,
        # -- of ONNX Runtime. Attention without a bias ends the process, and keys and values packed into the query of
        # MultiHeadAttention are not implemented.
        "com.microsoft::Attention": Support(dtypes=_SINGLE.dtypes, needs_inputs=frozenset({2})),
        "com.microsoft::BiasGelu": _SINGLE,
        "com.microsoft::FastGelu": _SINGLE,
        "com.microsoft::FusedGemm": _SINGLE,
        "com.microsoft::FusedMatMul": _FLOATS,
        "com.microsoft::Gelu": _SINGLE,
        "com.microsoft::GroupQueryAttention": _SINGLE,
        "com.microsoft::MultiHeadAttention": Support(dtypes=_SINGLE.dtypes, needs_inputs=frozenset({1, 2})),
        "com.microsoft::QuickGelu": _SINGLE,
        "com.microsoft::RotaryEmbedding": _SINGLE,
        "com.microsoft::SkipLayerNormalization": Support(dtypes=_SINGLE.dtypes, slower_than_body=_SLOW_SKIP),
        "com.microsoft::SkipSimplifiedLayerNormalization": _SINGLE,
        # -- of ONNX Runtime, quantised. MatMulNBits computes in float32 where accuracy_level 4 has no kernel (2 bits in
        # blocks of 16 or 256), and rounds each block of an activation to int8 where it has one.
        "com.microsoft::DynamicQuantizeMatMul": Support(dtypes=frozenset({DType.FLOAT32})),
        "com.microsoft::GatherBlockQuantized": Support(dtypes=_SINGLE.dtypes),
        "com.microsoft::MatMulIntegerToFloat": Support(dtypes=frozenset({DType.FLOAT32})),
        "com.microsoft::MatMulNBits": Support(dtypes=_SINGLE.dtypes),
        "com.microsoft::QAttention": Support(),
    },
)
