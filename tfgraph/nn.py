"""What a model is declared with: `from tfgraph import nn`, then `class Block(nn.Module)`, `nn.Linear`, …

Names only. `functional` has the primitive operators as functions, `functions` the composite ones; the layers are in
`tfgraph.dsl.layers`.
"""

from tfgraph.dsl import functional, functions
from tfgraph.dsl.layers import (
    ACTIVATIONS,
    MLP,
    AlibiBias,
    BlockOptions,
    DecoderBlock,
    Embedding,
    EncoderBlock,
    KeyValue,
    LayerNorm,
    LearnedPositions,
    Linear,
    MultiHeadAttention,
    RelativeBias,
    RMSNorm,
    RotaryPositions,
    SinusoidalPositions,
    alibi_slopes,
    combine_masks,
    get_activation,
    relative_buckets,
    sequence_positions,
    sinusoidal_table,
)
from tfgraph.dsl.module import Buffer, Module, ModuleList, Parameter
from tfgraph.dsl.tensor import Tensor

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "AlibiBias",
    "BlockOptions",
    "Buffer",
    "DecoderBlock",
    "Embedding",
    "EncoderBlock",
    "KeyValue",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "Module",
    "ModuleList",
    "MultiHeadAttention",
    "Parameter",
    "RMSNorm",
    "RelativeBias",
    "RotaryPositions",
    "SinusoidalPositions",
    "Tensor",
    "alibi_slopes",
    "combine_masks",
    "functional",
    "functions",
    "get_activation",
    "relative_buckets",
    "sequence_positions",
    "sinusoidal_table",
]
