"""The configuration that a GGUF file's metadata amounts to, as the object of a Hugging Face `config.json`.

Most settings are renamed one by one, by the tables in `tfgraph.checkpoints.gguf.architectures`. What is here besides is
what the converter to GGUF drops or computes, and how it is recovered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfgraph.checkpoints.gguf.architectures import ARCHITECTURES, FLAGS, FLOATS, MIXTRAL, Architecture
from tfgraph.checkpoints.gguf.header import TensorInfo
from tfgraph.checkpoints.gguf.rope_scaling import rope_scaling
from tfgraph.checkpoints.gguf.settings import ARCHITECTURE_KEY, Settings
from tfgraph.errors import ConfigError


def architecture_of(metadata: Mapping[str, Any], path: Path) -> tuple[str, Architecture]:
    """The name of the file's architecture, and how its files are read.

    Raises:
        ConfigError: the file is of an architecture that is not known; the message lists those that are.
        CheckpointError: the name of the architecture is not text.
    """
    settings = Settings(metadata, path)
    name = settings.text(ARCHITECTURE_KEY)
    if name is None:
        raise ConfigError(f"{path} does not say what it is a model of: it has no metadata key {ARCHITECTURE_KEY!r}")
    if name not in ARCHITECTURES:
        raise ConfigError(
            f"{path} is a model of the architecture {name!r}; those read from GGUF are {', '.join(ARCHITECTURES)}. "
            "Models of other architectures are read from their Hugging Face folders"
        )
    if name == "llama" and settings.number("llama.expert_count"):
        return name, MIXTRAL
    return name, ARCHITECTURES[name]


def gguf_config(metadata: Mapping[str, Any], tensors: Mapping[str, TensorInfo], path: Path) -> dict[str, Any]:
    """The object that the model's `config.json` would hold.

    `tensors` are the file's, by their names in it: whether there is a head of its own, biases, or frequencies of a
    rotary embedding, only they tell.

    Raises:
        ConfigError: an unknown architecture, or a setting that is missing.
        CheckpointError: a setting of a wrong kind, or rotary frequencies that no known rule gives.
    """
    name, architecture = architecture_of(metadata, path)
    settings = Settings(metadata, path)
    config: dict[str, Any] = {
        "architectures": [architecture.class_name],
        "model_type": architecture.model_type,
        **architecture.constants,
    }
    for key, wanted in architecture.settings.items():
        value = _setting(settings, f"{name}.{key}", key)
        if value is not None:
            config[wanted] = value
        elif key not in architecture.optional:
            raise ConfigError(f"{path} has no metadata key {name + '.' + key!r}, which says what {wanted} is")
    if "attention.head_count_kv" in architecture.settings:
        config.setdefault("num_key_value_heads", config["num_attention_heads"])
    if "rope.freq_base" in architecture.settings:
        config.setdefault("rope_theta", 10000.0)
    config["vocab_size"] = _vocab_size(settings, name, tensors)
    config["tie_word_embeddings"] = "output.weight" not in tensors
    config.update(_token_ids(settings))
    if "rope.freq_base" in architecture.settings and architecture.model_type != "gpt_neox":
        config.update(rope_scaling(settings, name, tensors, config))
    config.update(_SPECIFIC.get(name, _nothing)(settings, config, tensors))
    return config


def _setting(settings: Settings, full_key: str, key: str) -> bool | int | float | None:
    """The value of a key, of the kind that all settings of that name have."""
    if key in FLAGS:
        return settings.flag(full_key)
    value = settings.number(full_key)
    if value is None:
        return None
    if value <= 0:
        raise settings.wrong(full_key, "positive")
    if key in FLOATS:
        return float(value)
    if type(value) is not int:
        raise settings.wrong(full_key, "an integer")
    return value


def _vocab_size(settings: Settings, name: str, tensors: Mapping[str, TensorInfo]) -> int:
    """Rows of the embedding; the metadata may count fewer, because rows were added to pad it."""
    if "token_embd.weight" in tensors and tensors["token_embd.weight"].shape:
        return tensors["token_embd.weight"].shape[0]
    given = settings.integer(f"{name}.vocab_size")
    if given is None:
        raise ConfigError(f"{settings.path} has neither a tensor 'token_embd.weight' nor a key '{name}.vocab_size'")
    return given


def _token_ids(settings: Settings) -> dict[str, Any]:
    """The ids of tokens with a role. Where another token than the end of text ends a turn, both end it."""
    ids: dict[str, Any] = {}
    for role, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        number = settings.integer(f"tokenizer.ggml.{key}_token_id")
        if number is not None:
            ids[f"{role}_token_id"] = number
    end_of_turn = settings.integer("tokenizer.ggml.eot_token_id")
    if end_of_turn is not None and end_of_turn != ids.get("eos_token_id", end_of_turn):
        ids["eos_token_id"] = [ids["eos_token_id"], end_of_turn]
    return ids


_Specific = Callable[[Settings, Mapping[str, Any], Mapping[str, TensorInfo]], dict[str, Any]]


def _nothing(settings: Settings, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> dict[str, Any]:
    return {}


def _llama(settings: Settings, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> dict[str, Any]:
    return {
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "mlp_bias": "blk.0.ffn_down.bias" in tensors,
    }


def _qwen3(settings: Settings, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> dict[str, Any]:
    return {"attention_bias": "blk.0.attn_q.bias" in tensors}


def _gemma2(settings: Settings, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> dict[str, Any]:
    """The scale of the scores, which GGUF leaves out: 1 / sqrt(hidden / heads) in the 27B models, else of head_dim."""
    largest = config["num_hidden_layers"] in (46, 62)  # Gemma 2 27B, Gemma 3 27B
    per_head = config["hidden_size"] // config["num_attention_heads"]
    return {"query_pre_attn_scalar": per_head if largest else config.get("head_dim", per_head)}


def _rotary_fraction(key: str) -> _Specific:
    """The fraction of a head's features that are rotated, under the name `key`."""

    def found(settings: Settings, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> dict[str, Any]:
        architecture = settings.text(ARCHITECTURE_KEY)
        rotated = settings.integer(f"{architecture}.rope.dimension_count")
        per_head = config["hidden_size"] // config["num_attention_heads"]
        return {} if rotated is None else {key: rotated / per_head}

    return found


_SPECIFIC: dict[str, _Specific] = {
    "llama": _llama,
    "qwen3": _qwen3,
    "gemma2": _gemma2,
    "gemma3": _gemma2,
    "phi2": _rotary_fraction("partial_rotary_factor"),
    "phi3": _rotary_fraction("partial_rotary_factor"),
    "gptneox": _rotary_fraction("rotary_pct"),
}
