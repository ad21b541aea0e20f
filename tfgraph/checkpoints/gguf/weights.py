"""The tensors of a GGUF file under Hugging Face's names, as the Hugging Face checkpoint held them.

Names are translated, and the converter's rewriting of elements undone, by the tables in
`tfgraph.checkpoints.gguf.architectures`. No element is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfgraph.checkpoints.gguf.architectures import Architecture
from tfgraph.checkpoints.gguf.header import TensorInfo
from tfgraph.checkpoints.gguf.layouts import Heads, Layout
from tfgraph.checkpoints.gguf.tensors import constant_of, slice_of
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import Constant

_LAYER = re.compile(r"blk\.(?P<layer>\d+)\.(?P<name>[a-z_]+)(?:\.(?P<expert>\d+))?")
_NOT_WEIGHTS = frozenset({"rope_freqs", "rope_factors_long", "rope_factors_short"})  # part of the configuration
_MOST_LISTED = 8


def gguf_weights(
    path: Path, tensors: Mapping[str, TensorInfo], architecture: Architecture, config: Mapping[str, Any]
) -> dict[str, Constant]:
    """The weights by their Hugging Face names. `config` is that of `gguf_config`; `path` is for errors.

    Raises:
        CheckpointError: tensors that the architecture does not have (all are listed), shapes that do not fit the number
            of heads, or a quantised tensor without the `gguf` package.
    """
    heads = _heads(config)
    weights: dict[str, Constant] = {}
    unknown: list[str] = []
    for info in tensors.values():
        stem, _, ending = info.name.rpartition(".")
        if stem in _NOT_WEIGHTS or stem.endswith(".attn_rot_embd"):
            continue
        wanted = _translated(stem, architecture) if ending in ("weight", "bias") else None
        if wanted is None:
            unknown.append(info.name)
            continue
        layout = _layout(stem, architecture)
        for name, part in _experts(wanted, info):
            constant = constant_of(part)
            weights[f"{name}.{ending}"] = constant if layout is None else layout(constant, heads)
    if unknown:
        shown = ", ".join(unknown[:_MOST_LISTED]) + (", ..." if len(unknown) > _MOST_LISTED else "")
        raise CheckpointError(
            f"{path} holds {len(unknown)} tensors that a {architecture.model_type} model does not have: {shown}. It "
            "may be a variant of the architecture that is not known here; read the model from its Hugging Face folder"
        )
    return weights


def _translated(stem: str, architecture: Architecture) -> str | None:
    """The Hugging Face name; `{expert}` stands in it for the number of an expert that GGUF's name does not give."""
    if stem in architecture.outer:
        return architecture.outer[stem]
    found = _LAYER.fullmatch(stem)
    if found is None:
        return None
    name, expert = found["name"], found["expert"]
    inner = architecture.block.get(name if expert is None else f"{name}.{{expert}}")
    if inner is None:
        return None
    if expert is not None:
        inner = inner.replace("{expert}", expert)
    return f"{architecture.layers}.{found['layer']}.{inner}"


def _experts(wanted: str, info: TensorInfo) -> Iterator[tuple[str, TensorInfo]]:
    """Name and place of each expert that the tensor stacks along its first axis, or of the tensor itself."""
    if "{expert}" not in wanted:
        yield wanted, info
        return
    if len(info.shape) < 2:
        raise CheckpointError(
            f"{info.path}: tensor {info.name!r} must stack experts, and has the shape {list(info.shape)}"
        )
    for index in range(info.shape[0]):
        yield wanted.replace("{expert}", str(index)), slice_of(info, index)


def _layout(stem: str, architecture: Architecture) -> Layout | None:
    last = stem.rpartition(".")[2]
    for name, layout in architecture.layouts.items():
        if last == name or (name.startswith("*") and last.endswith(name[1:])):
            return layout
    return None


def _heads(config: Mapping[str, Any]) -> Heads:
    query = config.get("num_attention_heads", config.get("n_head"))
    return Heads(query, config.get("num_key_value_heads", query))
