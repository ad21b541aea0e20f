"""Megatron-LM checkpoints written by hand: one GPT-2 or BERT in every layout and number of shards that there is.

Nothing here comes from tfgraph. The whole model is a dict of arrays under Megatron's own names, with query, key and
value apart; `save` fuses and cuts them as a version of Megatron-LM would.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

HIDDEN, LAYERS, HEADS, VOCAB, POSITIONS = 32, 2, 4, 64, 16
HEAD_DIM = HIDDEN // HEADS

ARGUMENTS = {
    "num_layers": LAYERS,
    "hidden_size": HIDDEN,
    "num_attention_heads": HEADS,
    "ffn_hidden_size": 4 * HIDDEN,
    "kv_channels": HEAD_DIM,
    "max_position_embeddings": POSITIONS,
    "padded_vocab_size": VOCAB,
    "layernorm_epsilon": 1e-5,
    "bias_gelu_fusion": True,
    "openai_gelu": False,
    "apply_residual_connection_post_layernorm": False,
    "tensor_model_parallel_size": 1,
    "pipeline_model_parallel_size": 1,
}


def random_gpt(seed: int = 5) -> dict[str, np.ndarray]:
    """The tensors of a small GPT-2."""
    shapes: dict[str, tuple[int, ...]] = {
        "embedding.word_embeddings.weight": (VOCAB, HIDDEN),
        "embedding.position_embeddings.weight": (POSITIONS, HIDDEN),
    }
    for layer in range(LAYERS):
        for module, rows, columns in (
            ("self_attention.query", HIDDEN, HIDDEN),
            ("self_attention.key", HIDDEN, HIDDEN),
            ("self_attention.value", HIDDEN, HIDDEN),
            ("self_attention.dense", HIDDEN, HIDDEN),
            ("mlp.dense_h_to_4h", 4 * HIDDEN, HIDDEN),
            ("mlp.dense_4h_to_h", HIDDEN, 4 * HIDDEN),
        ):
            shapes[f"encoder.layers.{layer}.{module}.weight"] = (rows, columns)
            shapes[f"encoder.layers.{layer}.{module}.bias"] = (rows,)
        for module in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"encoder.layers.{layer}.{module}.weight"] = (HIDDEN,)
            shapes[f"encoder.layers.{layer}.{module}.bias"] = (HIDDEN,)
    shapes |= {"encoder.final_layernorm.weight": (HIDDEN,), "encoder.final_layernorm.bias": (HIDDEN,)}
    generator = np.random.default_rng(seed)
    return {
        name: (generator.standard_normal(shape) * 0.2 + ("norm.weight" in name)).astype(np.float32)
        for name, shape in shapes.items()
    }


def fuse(parts: list[np.ndarray], heads: int, version: float) -> np.ndarray:
    """Query, key and value of `heads` heads as one tensor, in the order of rows of a version, row by row."""
    rows = len(parts[0])
    size = rows // heads
    fused = np.empty((3 * rows, *parts[0].shape[1:]), np.float32)
    for part, array in enumerate(parts):
        for head in range(heads):
            for feature in range(size):
                place = {
                    0.0: (part * heads + head) * size + feature,
                    1.0: (head * size + feature) * 3 + part,
                    2.0: (head * 3 + part) * size + feature,
                    3.0: (head * 3 + part) * size + feature,
                }[version]
                fused[place] = array[head * size + feature]
    return fused


def cut(name: str, array: np.ndarray, rank: int, ranks: int) -> np.ndarray:
    """The part of a tensor that tensor rank `rank` of `ranks` has."""
    by_rows = ("word_embeddings.weight", "query", "key", "value", "dense_h_to_4h", "output_layer.weight")
    by_columns = ("self_attention.dense.weight", "dense_4h_to_h.weight")
    if any(part in name for part in by_rows) or name == "lm_head.bias":
        return np.split(array, ranks)[rank]
    if name.endswith(by_columns):
        return np.split(array, ranks, axis=1)[rank]
    return array


def shard(
    weights: Mapping[str, np.ndarray], version: float, rank: int, ranks: int, layers: range, older_names: bool
) -> dict[str, Any]:
    """The `language_model` of one file: the layers of its stage, numbered from 0, cut for its tensor rank."""
    import torch

    body: dict[str, Any] = {}
    embedding: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, whole in weights.items():
        array = cut(name, whole, rank, ranks)
        if name.startswith("embedding."):
            if layers.start == 0:
                module = name.split(".")[1]
                embedding[module] = {"weight": torch.from_numpy(array.copy())}
        elif name.startswith("encoder.layers."):
            _, _, number, rest = name.split(".", 3)
            if int(number) not in layers:
                continue
            local = int(number) - layers.start
            if rest.startswith(("self_attention.key", "self_attention.value")):
                continue
            if rest.startswith("self_attention.query"):
                parts = [
                    cut(name, weights[name.replace("query", part)], rank, ranks) for part in ("query", "key", "value")
                ]
                array = fuse(parts, HEADS // ranks, version)
                rest = rest.replace("query", "query_key_value")
            body[f"layers.{local}.{rest}"] = torch.from_numpy(array.copy())
        elif name.startswith("encoder."):
            if LAYERS - 1 in layers:
                body[name.removeprefix("encoder.")] = torch.from_numpy(array.copy())
        elif LAYERS - 1 in layers:
            module, kind = name.rsplit(".", 1)
            others.setdefault(module, {})[kind] = torch.from_numpy(array.copy())
    if older_names:
        body = {name.replace("self_attention.", "attention."): tensor for name, tensor in body.items()}
    return {"embedding": embedding, "transformer" if older_names else "encoder": body, **others}


def save(
    folder: Path,
    weights: Mapping[str, np.ndarray],
    version: float = 3.0,
    *,
    ranks: int = 1,
    stages: int = 1,
    older_names: bool = False,
    with_arguments: bool = True,
    beside: Mapping[str, Any] | None = None,
    iteration: str = "release",
    **arguments: Any,
) -> Path:
    """Save a checkpoint as Megatron-LM does, and return its folder.

    Args:
        beside: what the dict `model` holds beside `language_model`, such as the heads of a BERT.
        arguments: changes of `ARGUMENTS`.
    """
    import torch

    place = folder / (iteration if iteration == "release" else f"iter_{int(iteration):07d}")
    for rank in range(ranks):
        for stage in range(stages):
            layers = range(stage * LAYERS // stages, (stage + 1) * LAYERS // stages)
            content: dict[str, Any] = {
                "model": {"language_model": shard(weights, version, rank, ranks, layers, older_names)},
                "iteration": 7,
                "rng_state": [{"random_rng_state": (3, (1, 2), None)}],
            }
            if beside is not None and stage == stages - 1:
                content["model"] |= {
                    module: {
                        kind: torch.from_numpy(cut(f"{module}.{kind}", array, rank, ranks).copy())
                        for kind, array in tensors.items()
                    }
                    for module, tensors in beside.items()
                }
            if stages > 1 and stage == stages - 1:
                table = cut("word_embeddings.weight", weights["embedding.word_embeddings.weight"], rank, ranks)
                content["model"]["word_embeddings_for_head"] = {"weight": torch.from_numpy(table.copy())}
            if version:
                content["checkpoint_version"] = version
            if with_arguments:
                parallel = {"tensor_model_parallel_size": ranks, "pipeline_model_parallel_size": stages}
                content["args"] = argparse.Namespace(**{**ARGUMENTS, **parallel, **arguments})
            name = f"mp_rank_{rank:02d}" + (f"_{stage:03d}" if stages > 1 else "")
            (place / name).mkdir(parents=True)
            torch.save(content, place / name / "model_optim_rng.pt")
    (folder / "latest_checkpointed_iteration.txt").write_text(iteration)
    return folder
