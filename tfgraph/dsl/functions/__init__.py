"""The composite operators: one definition each, by theme.

A definition is the operator's meaning, pattern and fallback at once; `tfgraph.dsl.definition` says how. Importing this
package fills the operator table with all of them.
"""

from tfgraph.dsl.functions.activations import bias_gelu, fast_gelu, gelu, microsoft_gelu, quick_gelu, swish
from tfgraph.dsl.functions.attention import attention
from tfgraph.dsl.functions.cached_attention import cached_attention, group_query_attention
from tfgraph.dsl.functions.microsoft_attention import multi_head_attention, packed_attention
from tfgraph.dsl.functions.normalization import (
    layer_norm,
    rms_norm,
    simplified_layer_norm,
    skip_layer_norm,
    skip_rms_norm,
)
from tfgraph.dsl.functions.quantized import (
    dynamic_quantize_matmul,
    gather_block_quantized,
    matmul_integer_to_float,
    matmul_nbits,
)
from tfgraph.dsl.functions.rotary import rotary_embedding

__all__ = [
    "attention",
    "bias_gelu",
    "cached_attention",
    "dynamic_quantize_matmul",
    "fast_gelu",
    "gather_block_quantized",
    "gelu",
    "group_query_attention",
    "layer_norm",
    "matmul_integer_to_float",
    "matmul_nbits",
    "microsoft_gelu",
    "multi_head_attention",
    "packed_attention",
    "quick_gelu",
    "rms_norm",
    "rotary_embedding",
    "simplified_layer_norm",
    "skip_layer_norm",
    "skip_rms_norm",
    "swish",
]
