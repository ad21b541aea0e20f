"""A LLaMA checkpoint of any size, made of generated numbers and split over several files as published ones are.

The numbers are a block of random ones that is written again and again, each tensor beginning elsewhere in it: making
13 GB of them takes as long as writing 13 GB. What is measured on such a checkpoint is in `write.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from tfgraph.checkpoints.folder import CONFIG_FILE
from tfgraph.errors import ExportError
from tfgraph.ir.constant import Array
from tfgraph.ir.dtypes import DType
from tfgraph.models.family import TEXT_GENERATION
from tfgraph.models.llama import FAMILY, LlamaConfig
from tfgraph.models.names import checkpoint_name

DTYPES: Final = {DType.FLOAT16: "F16", DType.FLOAT32: "F32"}
"""The dtypes that a checkpoint can be made in, with their names in its files."""

_SHARD_BYTES: Final = 4 * 10**9
_BLOCK: Final = 2**24 + 3  # elements; an odd number, so that rows of one matrix differ
_SPREAD: Final = 0.02  # standard deviation, as models are initialised


def write_llama_checkpoint(
    folder: Path,
    config: LlamaConfig,
    dtype: DType = DType.FLOAT16,
    *,
    shard_bytes: int = _SHARD_BYTES,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write `config.json`, the shards of the weights, and their index, in Hugging Face's form; return the shards.

    Args:
        folder: where to write; it must exist.
        config: the model's sizes.
        dtype: of the weights, one of `DTYPES`.
        shard_bytes: how many bytes of weights a file may hold; a single larger tensor gets a file of its own.
        seed: of the numbers.
        on_progress: called with the bytes written so far and their total.

    Raises:
        ExportError: the folder cannot be written, or the disk is full.
    """
    shapes = _shapes(config)
    sizes = {name: dtype.nbytes(int(np.prod(shape))) for name, shape in shapes.items()}
    shards = list(_split(sizes, shard_bytes))
    names = [f"model-{index:05}-of-{len(shards):05}.safetensors" for index in range(1, len(shards) + 1)]
    placed = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
    total, done = sum(sizes.values()), 0
    block = np.random.default_rng(seed).standard_normal(_BLOCK, np.float32)
    block = (block * np.float32(_SPREAD)).astype(dtype.numpy())
    try:
        (folder / CONFIG_FILE).write_text(json.dumps(_settings(config, dtype), indent=2), encoding="utf-8")
        index = {"metadata": {"total_size": total}, "weight_map": placed}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
        for name, shard in zip(names, shards, strict=True):
            with (folder / name).open("wb") as file:
                file.write(_header(shard, shapes, sizes, dtype))
                for tensor in shard:
                    for piece in _pieces(block, sizes[tensor], start=done % _BLOCK):
                        file.write(piece.view(np.uint8).data)
                        done += piece.nbytes
                        if on_progress is not None:
                            on_progress(done, total)
    except OSError as error:
        raise ExportError(f"cannot write a checkpoint into {folder}: {error.strerror or error}") from None
    return [folder / name for name in names]


def _shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """The tensors of the language model, by their names in checkpoints."""
    architecture = FAMILY.architecture_for(TEXT_GENERATION)
    parameters = architecture.build(config).named_parameters()
    return {checkpoint_name(path, architecture.names): parameter.shape for path, parameter in parameters}


def _split(sizes: dict[str, int], limit: int) -> Iterator[list[str]]:
    """The tensors, in order, in runs of at most `limit` bytes."""
    shard: list[str] = []
    taken = 0
    for name, size in sizes.items():
        if shard and taken + size > limit:
            yield shard
            shard, taken = [], 0
        shard.append(name)
        taken += size
    yield shard


def _header(shard: list[str], shapes: dict[str, tuple[int, ...]], sizes: dict[str, int], dtype: DType) -> bytes:
    """The beginning of a safetensors file; see `tfgraph.checkpoints.safetensors`."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for name in shard:
        end = begin + sizes[name]
        entries[name] = {"dtype": DTYPES[dtype], "shape": list(shapes[name]), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _pieces(block: Array, nbytes: int, start: int) -> Iterator[Array]:
    """Parts of `block`, `nbytes` bytes in all, from the element `start` on and then over and over."""
    left = nbytes // block.itemsize
    while left:
        piece = block[start : start + left]
        yield piece
        left -= piece.size
        start = 0


def _settings(config: LlamaConfig, dtype: DType) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.kv_heads,
        "intermediate_size": config.mlp_size,
        "max_position_embeddings": config.max_position_embeddings,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "tie_word_embeddings": config.tie_word_embeddings,
        "torch_dtype": str(dtype),
    }
