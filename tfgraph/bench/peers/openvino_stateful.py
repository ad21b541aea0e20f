"""A decoder of transformers as a stateful OpenVINO model: its cache of keys and values stays inside OpenVINO.

That is the form in which OpenVINO's own tools run decoders. It is made here by tracing transformers' model with its
cache as inputs and outputs, and turning those into states.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tfgraph.bench.peers.interface import Job, failures_as, quiet, require
from tfgraph.bench.peers.openvino_encoder import INSTALL
from tfgraph.bench.peers.torch_decoder import load_torch_decoder

_TEXT_INPUTS = ("input_ids", "attention_mask", "position_ids")


def write_stateful(job: Job, path: Path) -> None:
    """Write the model with inputs `input_ids`, `attention_mask`, `position_ids` [B, S] and `beam_idx` [B].

    Raises:
        PeerUnavailable: torch, transformers or OpenVINO is not installed, or cannot convert the model.
    """
    require("openvino", install=INSTALL)
    model = load_torch_decoder(job)
    with failures_as("OpenVINO cannot convert the decoder"), quiet():
        import openvino

        converted = _trace(model)
        _make_stateful(converted, _cache_shape(model.config))
        openvino.save_model(converted, path, compress_to_fp16=False)


def _cache_shape(config: Any) -> tuple[int, int, int]:
    """Layers, heads of keys and values, and numbers a head."""
    heads = config.num_attention_heads
    return (
        config.num_hidden_layers,
        getattr(config, "num_key_value_heads", None) or heads,
        getattr(config, "head_dim", None) or config.hidden_size // heads,
    )


def _trace(model: Any) -> Any:
    """The model with its cache as further inputs, keys and values of each layer in turn, and as further outputs."""
    import openvino
    import torch
    from transformers.cache_utils import DynamicCache, DynamicLayer

    layers, heads, head_dim = _cache_shape(model.config)

    class WithCache(torch.nn.Module):  # type: ignore[misc]
        """Arguments and results are tensors alone, which tracing follows."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, position_ids: Any, past: Any) -> Any:
            cache = DynamicCache()
            cache.layers = [_filled(past[2 * index], past[2 * index + 1]) for index in range(layers)]
            length, seq = past[0].shape[2], input_ids.shape[1]
            rows = torch.arange(seq)[:, None] + length
            visible = (torch.arange(length + seq)[None, :] <= rows)[None, None] & (attention_mask[:, None, None] != 0)
            mask = torch.where(visible, torch.tensor(0.0), torch.tensor(torch.finfo(torch.float32).min))
            result = self.model(
                input_ids=input_ids, attention_mask=mask, position_ids=position_ids, past_key_values=cache,
                use_cache=True,
            )  # fmt: skip
            present = [part for layer in result.past_key_values.layers for part in (layer.keys, layer.values)]
            return (result.logits, *present)

    def _filled(keys: Any, values: Any) -> Any:
        layer = DynamicLayer()
        layer.keys, layer.values, layer.is_initialized = keys, values, True
        layer.dtype, layer.device = keys.dtype, keys.device
        return layer

    example = {
        "input_ids": torch.ones((1, 3), dtype=torch.int64),
        "attention_mask": torch.ones((1, 5), dtype=torch.int64),
        "position_ids": torch.arange(2, 5)[None],
        "past": [torch.zeros((1, heads, 2, head_dim)) for _ in range(2 * layers)],
    }
    with torch.no_grad():
        return openvino.convert_model(WithCache().eval(), example_input=example)


def _make_stateful(model: Any, cache: tuple[int, int, int]) -> None:
    """Name the inputs and outputs, let `beam_idx` choose rows of the cache, and keep the cache as states from empty."""
    import openvino
    from openvino import opset13 as ops
    from openvino._offline_transformations import apply_make_stateful_transformation

    layers, heads, head_dim = cache
    parts = [f"{index}.{part}" for index in range(layers) for part in ("key", "value")]
    for port, name in zip(model.inputs, [*_TEXT_INPUTS, *(f"past.{part}" for part in parts)], strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_partial_shape(
            openvino.PartialShape([-1, -1] if name in _TEXT_INPUTS else [-1, heads, -1, head_dim])
        )
    for port, name in zip(model.outputs, ["logits", *(f"present.{part}" for part in parts)], strict=True):
        port.get_tensor().set_names({name})
    beams = ops.parameter([-1], dtype=np.int32, name="beam_idx")
    beams.output(0).get_tensor().set_names({"beam_idx"})
    model.add_parameters([beams])
    for part in parts:
        past = model.input(f"past.{part}")
        users = list(past.get_target_inputs())
        chosen = ops.gather(past, beams, ops.constant(0))
        for user in users:
            user.replace_source_output(chosen.output(0))
    model.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(model, {f"past.{part}": f"present.{part}" for part in parts})
    batch = ops.gather(
        ops.shape_of(model.input("input_ids"), output_type="i64"), ops.constant(np.array([0])), ops.constant(0)
    )
    sizes = [batch, *(ops.constant(np.array([size], np.int64)) for size in (heads, 0, head_dim))]
    empty = ops.broadcast(ops.constant(np.float32(0)), ops.concat([size.output(0) for size in sizes], 0))
    for node in model.get_ops():
        if node.get_type_name() == "ReadValue":
            node.set_arguments([empty.output(0)])
    model.validate_nodes_and_infer_types()
