"""Small BERT checkpoints with random weights and a tokenizer, written without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tfgraph.models.family import SENTENCE_EMBEDDING
from tfgraph.models.names import checkpoint_name
from tfgraph.models.registry import find_family

WORDS = [
    *("the", "a", "cat", "dog", "sat", "on", "mat", "red", "blue", "who"),
    *("where", "is", "was", "it", "runs", "to", "sleeps", "rains", "inside"),
]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, ".", "?", ",", "##s", "##ly"]
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": len(VOCABULARY),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
}


def write_checkpoint(folder: Path, task: str = SENTENCE_EMBEDDING, *, tokenizer: bool = True, **settings: Any) -> Path:
    """Write a checkpoint for `task` into `folder`, and return it. `settings` are put into its `config.json`."""
    family = find_family("bert")
    architecture = family.architecture_for("base" if task == SENTENCE_EMBEDDING else task)
    config = {**CONFIG, "architectures": [architecture.name], **settings}
    module = architecture.build(family.config.from_dict(config))
    rng = np.random.default_rng(3)
    weights = {}
    for path, parameter in module.named_parameters():
        noise = rng.standard_normal(parameter.shape, np.float32) * np.float32(0.3)
        weights[checkpoint_name(path, architecture.names)] = noise + (1 if "norm" in path and "weight" in path else 0)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(array, np.float32) for name, array in weights.items()}, _weights(folder))
    write_json(folder / "config.json", config)
    if tokenizer:
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
        write_json(folder / "tokenizer_config.json", {"do_lower_case": True, "model_max_length": 32})
    if task == SENTENCE_EMBEDDING:
        _write_pooling(folder)
    return folder


def _weights(folder: Path) -> Path:
    return folder / "model.safetensors"


def _write_pooling(folder: Path) -> None:
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": path} for path, kind in kinds.items()]
    write_json(folder / "modules.json", modules)
    (folder / "1_Pooling").mkdir()
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 20, "do_lower_case": False})


def write_json(path: Path, content: Any) -> None:
    """Write JSON."""
    path.write_text(json.dumps(content), encoding="utf-8")
