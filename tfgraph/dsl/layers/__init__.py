"""What models are put together from. Users see these names as `tfgraph.nn`.

- `linear`, `embedding`, `norms`, `mlp`, `activations`: the small parts;
- `positions`, `rotary`, `position_bias`: positions added to embeddings, turned into rotations, added to scores;
- `masks`, `attention`: what may be attended to; multi-head attention around the operator;
- `blocks`: encoder and decoder blocks; `choices`: checks of settings.

What composite operators compute is in `tfgraph.dsl.functions`, whole models are in `tfgraph.models`.
"""

from tfgraph.dsl.layers.activations import ACTIVATIONS, get_activation
from tfgraph.dsl.layers.attention import KeyValue, MultiHeadAttention
from tfgraph.dsl.layers.blocks import BlockOptions, DecoderBlock, EncoderBlock
from tfgraph.dsl.layers.embedding import Embedding
from tfgraph.dsl.layers.linear import Linear
from tfgraph.dsl.layers.masks import combine_masks
from tfgraph.dsl.layers.mlp import MLP
from tfgraph.dsl.layers.norms import LayerNorm, RMSNorm, ZeroCentredRMSNorm
from tfgraph.dsl.layers.position_bias import AlibiBias, RelativeBias, alibi_slopes, relative_buckets
from tfgraph.dsl.layers.positions import (
    LearnedPositions,
    SinusoidalPositions,
    masked_positions,
    sequence_positions,
    sinusoidal_table,
)
from tfgraph.dsl.layers.rotary import RotaryPositions

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "AlibiBias",
    "BlockOptions",
    "DecoderBlock",
    "Embedding",
    "EncoderBlock",
    "KeyValue",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "MultiHeadAttention",
    "RMSNorm",
    "RelativeBias",
    "RotaryPositions",
    "SinusoidalPositions",
    "ZeroCentredRMSNorm",
    "alibi_slopes",
    "combine_masks",
    "get_activation",
    "masked_positions",
    "relative_buckets",
    "sequence_positions",
    "sinusoidal_table",
]
