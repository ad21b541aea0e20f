"""Checkpoints in Hugging Face's form, so that all candidates of a benchmark load the same numbers.

Random weights for a BERT or GPT-2 of a given size; and a loaded checkpoint of any layout, such as GGUF, written out
again for the peers that read only this one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tfgraph.checkpoints.folder import CONFIG_FILE
from tfgraph.errors import ExportError
from tfgraph.ir.constant import Array
from tfgraph.models.bert import ENCODER_NAMES, BertConfig, BertModel
from tfgraph.models.names import checkpoint_name

if TYPE_CHECKING:
    from tfgraph.models.gpt2 import GPT2Config
    from tfgraph.pretrained import Pretrained

WEIGHTS_FILE: Final = "model.safetensors"
_SPREAD: Final = 0.02  # standard deviation of the initialisation that BERT and GPT-2 share
_NOT_IN_FILE: Final = frozenset({"labels"})


def write_bert_checkpoint(folder: Path, config: BertConfig, seed: int = 0) -> Path:
    """Write `config.json` and `model.safetensors` of a BERT of random weights, and return the path of the weights.

    Matrices are normal, with BERT's standard deviation of 0.02. Biases and the scales of norms, which initialisations
    leave at 0 and 1, are moved off that as well: a candidate that drops one of them must give other results.

    Raises:
        ExportError: the folder cannot be written.
    """
    parameters = {
        checkpoint_name(path, ENCODER_NAMES): parameter.shape
        for path, parameter in BertModel(config).named_parameters()
    }
    weights = _random(parameters, "LayerNorm.weight", seed)
    settings = {name: value for name, value in asdict(config).items() if name not in _NOT_IN_FILE}
    described = {"architectures": ["BertModel"], "model_type": config.model_type, "position_embedding_type": "absolute"}
    return _write(folder, {**described, **settings}, weights)


def write_gpt2_checkpoint(folder: Path, config: GPT2Config, seed: int = 0) -> Path:
    """Write a GPT-2 of random weights and a tokenizer of one word a token; return the path of the weights.

    Words are `t0`, `t1`, …, so that peers that take nothing but words can be given any tokens.

    Raises:
        ExportError: the folder cannot be written.
    """
    hidden = config.hidden_size
    inner = config.intermediate_size or 4 * hidden
    shapes: dict[str, tuple[int, ...]] = {
        "wte.weight": (config.vocab_size, hidden),
        "wpe.weight": (config.max_position_embeddings, hidden),
    }
    matrices = {
        "attn.c_attn": (hidden, 3 * hidden),
        "attn.c_proj": (hidden, hidden),
        "mlp.c_fc": (hidden, inner),
        "mlp.c_proj": (inner, hidden),
    }  # [in, out]
    norms = ["ln_f"]
    for layer in range(config.num_hidden_layers):
        norms += [f"h.{layer}.ln_1", f"h.{layer}.ln_2"]
        for name, shape in matrices.items():
            shapes |= {f"h.{layer}.{name}.weight": shape, f"h.{layer}.{name}.bias": shape[1:]}
    for name in norms:
        shapes |= {f"{name}.weight": (hidden,), f"{name}.bias": (hidden,)}
    weights = {f"transformer.{name}": values for name, values in _random(shapes, "ln_", seed).items()}
    described = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": config.model_type,
        "n_embd": hidden,
        "n_layer": config.num_hidden_layers,
        "n_head": config.num_attention_heads,
        "n_positions": config.max_position_embeddings,
        "n_inner": inner,
        "vocab_size": config.vocab_size,
        "activation_function": config.hidden_act,
        "layer_norm_epsilon": config.norm_eps,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    _write_words(folder, config.vocab_size)
    return _write(folder, described, weights)


def write_checkpoint(folder: Path, pretrained: Pretrained) -> Path:
    """Write a loaded checkpoint of any layout as `config.json`, `model.safetensors` in float32, and its tokenizer.

    Weights that are shared, such as that of a tied head, are written once. Returns the path of the weights.

    Raises:
        CheckpointError: a weight has no values.
        ExportError: the folder cannot be written, or weights of this family are laid out another way there.
    """
    if pretrained.family.adapt is not None:
        raise ExportError(
            f"cannot write a {pretrained.family.model_type} in Hugging Face's form, whose weights are laid out another "
            "way there: expected a family such as llama, whose weights are the same; or give the checkpoint as a folder"
        )
    names = pretrained.family.architecture_for(pretrained.task).names
    weights: dict[str, Array] = {}
    for path, parameter in pretrained.module.named_parameters():
        values = parameter.data.numpy()
        weights[checkpoint_name(path, names)] = np.ascontiguousarray(values, dtype=np.float32)
    if pretrained.tokenizer is not None:
        pretrained.tokenizer.copy_to(folder)
    return _write(folder, {**pretrained.settings, "dtype": "float32", "torch_dtype": "float32"}, weights)


def _random(shapes: Mapping[str, Any], norm: str, seed: int) -> dict[str, Array]:
    """Normal numbers for each name; around 1 for the scales of norms, whose names have `norm` in them."""
    generator = np.random.default_rng(seed)
    weights: dict[str, Array] = {}
    for name, shape in shapes.items():
        values = generator.standard_normal(shape, np.float32)
        values *= np.float32(_SPREAD)
        if norm in name and name.endswith("weight"):
            values += 1
        weights[name] = values
    return weights


def _write_words(folder: Path, vocab_size: int) -> None:
    """A `tokenizer.json` whose tokens are the words `t0`, `t1`, … between spaces."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {f"t{index}": index for index in range(vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="t0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "t0", "bos_token": "t0", "eos_token": "t0"}
    try:
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(json.dumps(described, indent=2), encoding="utf-8")
    except OSError as error:
        raise ExportError(f"cannot write a tokenizer into {folder}: {error}") from None


def _write(folder: Path, described: Mapping[str, Any], weights: dict[str, Array]) -> Path:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    target = folder / WEIGHTS_FILE
    try:
        (folder / CONFIG_FILE).write_text(json.dumps(described, indent=2), encoding="utf-8")
        save_file(weights, target, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise ExportError(f"cannot write a checkpoint into {folder}: {error}") from None
    return target
