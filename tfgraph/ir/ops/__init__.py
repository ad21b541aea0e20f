"""The primitive operators, a module a theme. Importing this package fills the operator table.

Conventions that differ from an ONNX file, because the IR has no protobuf: an attribute that names a dtype holds the
dtype's name (`to="float32"`), strings are `str`, and `ConstantOfShape` has its fill `value` and its `dtype` as two
plain attributes. Composite operators (LayerNormalization, Gelu, Attention, …) are not here: they are definitions in
the DSL.
"""

from tfgraph.ir.ops import (
    activation,
    bits,
    cast,
    convolution,
    einsum,
    elementwise,
    gather,
    generate,
    logic,
    matmul,
    normalize,
    pooling,
    quantize,
    reduce,
    reshape,
    scatter,
    search,
    slicing,
    stack,
    unary,
)

__all__ = [
    "activation",
    "bits",
    "cast",
    "convolution",
    "einsum",
    "elementwise",
    "gather",
    "generate",
    "logic",
    "matmul",
    "normalize",
    "pooling",
    "quantize",
    "reduce",
    "reshape",
    "scatter",
    "search",
    "slicing",
    "stack",
    "unary",
]
