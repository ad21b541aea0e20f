"""Small checkpoints that generate text, written without torch: a LLaMA that knows one story, and a Transformer.

The LLaMA is a bigram model. Its embeddings are one-hot, its layers add nothing, and its head holds the logarithms of
the probabilities of the next token, so that what it says is known: the probabilities are those of `STORY`.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tfgraph.models.names import checkpoint_name
from tfgraph.models.registry import find_family

STORY: dict[str, dict[str, float]] = {
    "Once": {" upon": 1.0},
    " upon": {" a": 1.0},
    " a": {" time": 1.0},
    " time": {" there": 1.0},
    " there": {" was": 1.0},
    " was": {" an": 1.0},
    " an": {" old": 1.0},
    " old": {" lighthouse": 0.6, " ship": 0.3, " dog": 0.1},
    " lighthouse": {" by": 1.0},
    " ship": {" by": 1.0},
    " dog": {" by": 1.0},
    " by": {" the": 1.0},
    " the": {" sea": 0.7, " harbour": 0.3},
    " sea": {".": 1.0},
    " harbour": {".": 1.0},
    ".": {"<end>": 1.0},
    " Every": {" night": 1.0},
    " night": {" it": 1.0},
    " it": {" shone": 1.0},
    " shone": {" over": 1.0},
    " over": {" the": 1.0},
}
"""The probabilities of the token after each."""

_SPECIAL = ("<end>", "<pad>", "<unk>")
_UNLIKELY = 1e-6
_HIDDEN = 32
_CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": len(_SPECIAL) + len(STORY),
    "hidden_size": _HIDDEN,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 1,
}


def write_stories(folder: Path) -> Path:
    """Write the LLaMA with its tokenizer into `folder`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = [*_SPECIAL, *STORY]
    save_file(_weights(_CONFIG, {"lm_head.weight": _head(tokens), **_embeddings(tokens)}), folder / "model.safetensors")
    _write_json(folder / "config.json", _CONFIG)
    _write_json(folder / "generation_config.json", {"eos_token_id": 0, "pad_token_id": 1})
    _write_tokenizer(folder, tokens)
    return folder


def write_stories_gguf(path: Path) -> Path:
    """Write the same model, without its tokenizer, as a GGUF file, and return it."""
    from tests.gguf_files import convert

    with TemporaryDirectory() as folder:
        convert(write_stories(Path(folder)), "llama", path)
    return path


def write_translator(folder: Path) -> Path:
    """Write a Transformer of random weights without a tokenizer into `folder`, and return it."""
    config = {
        "model_type": "transformer",
        "architectures": ["TransformerForConditionalGeneration"],
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 32,
    }
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    shapes = _shapes(config, "text-generation")
    weights = {name: rng.standard_normal(shape).astype(np.float32) * np.float32(0.3) for name, shape in shapes.items()}
    save_file(weights, folder / "model.safetensors")
    _write_json(folder / "config.json", config)
    return folder


def _shapes(config: dict[str, Any], task: str) -> dict[str, tuple[int, ...]]:
    """The tensors of a checkpoint."""
    family = find_family(config["model_type"])
    architecture = family.architecture_for(task)
    module = architecture.build(family.config.from_dict(config))
    return {checkpoint_name(path, architecture.names): each.shape for path, each in module.named_parameters()}


def _weights(config: dict[str, Any], given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those that are given, norms of one, and zeros."""
    shapes = _shapes(config, "text-generation")
    assert given.keys() <= shapes.keys()
    return {
        name: given.get(name, (np.ones if "norm" in name else np.zeros)(shape, np.float32))
        for name, shape in shapes.items()
    }


def _embeddings(tokens: list[str]) -> dict[str, np.ndarray]:
    return {"model.embed_tokens.weight": np.eye(len(tokens), _HIDDEN, dtype=np.float32)}


def _head(tokens: list[str]) -> np.ndarray:
    """The logarithms of the probabilities, [V, hidden]; the norm before it makes a one-hot row sqrt(hidden) long."""
    head = np.full((len(tokens), _HIDDEN), np.log(_UNLIKELY), np.float32)
    for token, following in STORY.items():
        for next_token, probability in following.items():
            head[tokens.index(next_token), tokens.index(token)] = np.log(probability)
    return head / np.float32(np.sqrt(_HIDDEN))


def _write_tokenizer(folder: Path, tokens: list[str]) -> None:
    """Words with the space before them, as GPT-2's tokenizer splits a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token.replace(" ", "Ġ"): number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(_SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(folder / "tokenizer_config.json", {"eos_token": "<end>", "pad_token": "<pad>", "unk_token": "<unk>"})


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
