"""Which cache a decoder is exported with where the user leaves that open: one that grows, or one written into in place.

What a cache in place becomes on a target is in `tfgraph.passes.cached_attention`; how each is run, in
`tfgraph.backends.onnxruntime`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tfgraph.dsl.layers.attention import MultiHeadAttention
from tfgraph.dsl.layers.rotary import RotaryPositions
from tfgraph.dsl.module import Module
from tfgraph.models.causal_lm import CAPACITY
from tfgraph.models.decoder import TextDecoder

if TYPE_CHECKING:
    from tfgraph.capabilities import Capabilities
    from tfgraph.pretrained import Pretrained

_OPERATOR = "com.microsoft::GroupQueryAttention"


def with_best_cache(model: Pretrained, target: Capabilities) -> Pretrained:
    """The model with the cache that it decodes fastest with on a target, where `load` was not told which.

    One that is written into in place, and is as long as each run makes it, where the target has one operator for
    attention over it that reads what is in use; else, as it is, one that grows.
    """
    architectures = (each for each in model.family.architectures if each.task == model.task)
    architecture = next(architectures, None)
    if model.cache_length is not None or architecture is None or architecture.fixed_inputs is None:
        return model
    dtype = next((spec.dtype for past in model.input_specs.get("past_key_values", ()) for spec in past.values()), None)
    support = target.operators.get(_OPERATOR)
    if support is None or dtype is None or dtype not in support.dtypes or not runs_in_place(model.module, target):
        return model
    return replace(model, input_specs=dict(architecture.fixed_inputs(model.config, dtype, CAPACITY)), parts={})


def runs_in_place(module: Module, target: Capabilities) -> bool:
    """Whether all self-attention of a decoder is one operator over a cache in place, on a target."""
    layers = [each for _, each in module.named_modules() if isinstance(each, MultiHeadAttention)]
    biased = any(isinstance(each, TextDecoder) and each.alibi is not None for _, each in module.named_modules())
    return bool(layers) and not biased and all(_fits(layer, target) for layer in layers)


def _fits(layer: MultiHeadAttention, target: Capabilities) -> bool:
    multiple = target.attention.cached_multiple
    if layer.rotary is not None:
        rotary = layer.rotary
        if not isinstance(rotary, RotaryPositions) or rotary.rotary_dim != layer.head_dim:
            return False
        if rotary.cos is not None:  # else turned before the operator
            multiple = target.attention.rotary_multiple
    plain = layer.causal and layer.window is None and layer.query_norm is None
    return plain and multiple > 0 and layer.head_dim % multiple == 0
