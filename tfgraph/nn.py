"""What a model is declared with: `from tfgraph import nn`, then `class Block(nn.Module)`, `nn.Linear`, …

Names only: the layers are in `tfgraph.dsl.layers`. Operators as functions are `tfgraph.functional` (the primitive ones)
and `tfgraph.functions` (the composite ones).
"""

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
    ZeroCentredRMSNorm,
    alibi_slopes,
    combine_masks,
    get_activation,
    masked_positions,
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
    "ZeroCentredRMSNorm",
    "alibi_slopes",
    "combine_masks",
    "get_activation",
    "masked_positions",
    "relative_buckets",
    "sequence_positions",
    "sinusoidal_table",
]
