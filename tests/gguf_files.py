"""GGUF files for tests, converted from tiny transformers models the way llama.cpp's converter does it.

The rewriting of tensors is written here anew, from the converter's side, and GGUF's names come from the `gguf` package,
so that neither is taken from what is being tested.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

# GGUF architecture -> transformers class, and what makes its configuration small
_SIZES = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 48,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_MULTI_HEAD = {**_SIZES, "num_key_value_heads": 4}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {**_SIZES, "rms_norm_eps": 1e-5, "rope_theta": 5000.0}),
    "llama-untied-biased": (
        "Llama",
        {**_SIZES, "tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True, "head_dim": 12},
    ),
    "mixtral": ("Mixtral", {**_SIZES, "num_local_experts": 3, "num_experts_per_tok": 2, "rms_norm_eps": 1e-6}),
    "qwen2": ("Qwen2", {**_SIZES, "tie_word_embeddings": True, "rope_theta": 1e6}),
    "qwen3": ("Qwen3", {**_SIZES, "head_dim": 16, "rms_norm_eps": 1e-6}),
    "gemma": ("Gemma", {**_SIZES, "head_dim": 16}),
    "gemma2": ("Gemma2", {**_SIZES, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8}),
    "gemma3": (
        "Gemma3Text",
        # six layers, because one in six attends to everything
        {**_SIZES, "num_hidden_layers": 6, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8},
    ),
    "phi2": ("Phi", {**_MULTI_HEAD, "partial_rotary_factor": 0.5, "hidden_act": "gelu_new"}),
    "phi3": ("Phi3", {**_SIZES, "sliding_window": 16}),
    "gpt2": (
        "GPT2",
        {"vocab_size": 61, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 48, "n_inner": 96},
    ),
    "gptneox": (
        "GPTNeoX",
        {
            **{key: value for key, value in _SIZES.items() if key != "num_key_value_heads"},
            "rotary_pct": 0.5,
            "use_parallel_residual": False,
            "hidden_act": "gelu",
        },
    ),
    "bloom": ("Bloom", {"vocab_size": 61, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
}


def architecture_named(model: str) -> str:
    """The GGUF architecture of one of `MODELS`."""
    return "llama" if model in ("mixtral", "llama-untied-biased") else model


def save_model(model: str, folder: Path) -> Any:
    """A tiny transformers model with random weights, norms included, saved as a Hugging Face folder."""
    import torch
    import transformers

    name, settings = MODELS[model]
    torch.manual_seed(7)
    config = getattr(transformers, f"{name}Config")(**settings)
    causal = {"GPT2": "GPT2LMHeadModel", "Gemma3Text": "Gemma3ForCausalLM"}.get(name, f"{name}ForCausalLM")
    made = getattr(transformers, causal)(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    made.save_pretrained(folder)
    return made


def convert(folder: Path, model: str, path: Path, matrices: Any = None) -> None:
    """Write the model in a Hugging Face folder as a GGUF file; `matrices` is the type that they are quantised to."""
    from gguf import GGUFWriter, get_tensor_name_map
    from gguf.constants import MODEL_ARCH, MODEL_ARCH_NAMES
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    architecture = architecture_named(model)
    writer = GGUFWriter(path, architecture)
    write_settings(writer, architecture, config)
    known = next(known for known, name in MODEL_ARCH_NAMES.items() if name == architecture)
    names = get_tensor_name_map(MODEL_ARCH(known), config.get("num_hidden_layers", config.get("n_layer")))
    for name, array in gathered_experts(tensors).items():
        # of BLOOM the converter takes the prefix off first
        translated = names.get_name(
            name.removeprefix("transformer.") if model == "bloom" else name, (".weight", ".bias")
        )
        assert translated is not None, f"gguf knows no name for {name}"
        if translated == "output.weight" and config.get("tie_word_embeddings", True):
            continue
        kind = matrices if array.ndim > 1 else None
        write_tensor(writer, translated, rewritten(architecture, translated, array, config), kind)
    finish(writer)


def gathered_experts(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mixtral's experts stacked, under the name that the `gguf` package has for the stack."""
    result: dict[str, np.ndarray] = {}
    stacks: dict[str, dict[int, np.ndarray]] = {}
    for name, array in tensors.items():
        before, found, after = name.partition(".experts.")
        if found:
            number, _, which = after.partition(".")
            stacks.setdefault(f"{before.replace('block_sparse_moe', 'mlp')}.experts.{which}", {})[int(number)] = array
        else:
            result[name] = array
    spelt = {"w1.weight": "gate_proj.weight", "w2.weight": "down_proj.weight", "w3.weight": "up_proj.weight"}
    for name, stack in stacks.items():
        before, _, which = name.partition(".experts.")
        result[f"{before}.experts.{spelt[which]}"] = np.stack([stack[number] for number in sorted(stack)])
    return result


def rewritten(architecture: str, name: str, array: np.ndarray, config: Mapping[str, Any]) -> np.ndarray:
    """What the converter does to the elements of a tensor."""
    heads = config.get("num_attention_heads", config.get("n_head"))
    last = name.rpartition(".")[0].rpartition(".")[2]
    if architecture == "llama" and last in ("attn_q", "attn_k"):
        count = heads if last == "attn_q" else config["num_key_value_heads"]
        order = []  # row 2i of a head is its row i, row 2i + 1 its row i + half
        size = array.shape[0] // count
        for head in range(count):
            for pair in range(size // 2):
                order += [head * size + pair, head * size + size // 2 + pair]
        return np.ascontiguousarray(array[order])
    if architecture.startswith("gemma") and name.endswith("norm.weight"):
        return array + 1
    if architecture == "gpt2" and array.ndim == 2 and last in ("attn_qkv", "attn_output", "ffn_up", "ffn_down"):
        return np.ascontiguousarray(array.T)
    if architecture in ("gptneox", "bloom") and last == "attn_qkv":
        size = array.shape[0] // (3 * heads)
        parts = [array[(head * 3 + which) * size :][:size] for which in range(3) for head in range(heads)]
        return np.concatenate(parts)
    return array


def write_settings(writer: Any, architecture: str, config: Mapping[str, Any]) -> None:
    """The metadata that says what the model is, with the `gguf` package's own names of the keys."""

    def first(*keys: str) -> Any:
        return next((config[key] for key in keys if config.get(key) is not None), None)

    hidden, heads = first("hidden_size", "n_embd"), first("num_attention_heads", "n_head")
    writer.add_context_length(first("max_position_embeddings", "n_positions", "seq_length") or 48)
    writer.add_embedding_length(hidden)
    writer.add_block_count(first("num_hidden_layers", "n_layer"))
    writer.add_feed_forward_length(first("intermediate_size", "n_inner") or 4 * hidden)
    writer.add_head_count(heads)
    writer.add_vocab_size(config["vocab_size"])
    if (kv_heads := first("num_key_value_heads")) is not None:
        writer.add_head_count_kv(kv_heads)
    if (eps := first("rms_norm_eps")) is not None:
        writer.add_layer_norm_rms_eps(eps)
    if (eps := first("layer_norm_eps", "layer_norm_epsilon")) is not None:
        writer.add_layer_norm_eps(eps)
    rope = config.get("rope_parameters") or {}
    rope = rope.get("full_attention", rope)
    if (theta := rope.get("rope_theta")) is not None:
        writer.add_rope_freq_base(theta)
    per_head = first("head_dim") or hidden // heads
    if architecture not in ("gpt2", "bloom"):
        rotated = rope.get("partial_rotary_factor") or 1.0
        writer.add_rope_dimension_count(int(per_head * rotated))
    if config.get("head_dim") is not None:
        writer.add_key_length(per_head)
        writer.add_value_length(per_head)
    if config.get("sliding_window"):
        writer.add_sliding_window(config["sliding_window"])
    if config.get("attn_logit_softcapping"):
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if "use_parallel_residual" in config:
        writer.add_parallel_residual(config["use_parallel_residual"])
    if config.get("num_local_experts"):
        writer.add_expert_count(config["num_local_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
    for role in ("bos", "eos", "pad"):
        if config.get(f"{role}_token_id") is not None:
            getattr(writer, f"add_{role}_token_id")(config[f"{role}_token_id"])


def write_tensor(writer: Any, name: str, array: np.ndarray, quantised: Any = None) -> None:
    """Add a tensor, quantised to a `GGMLQuantizationType` if one is given."""
    from gguf.quants import quantize

    if quantised is None:
        writer.add_tensor(name, array)
    else:
        writer.add_tensor(name, quantize(array.astype(np.float32), quantised), raw_dtype=quantised)


def finish(writer: Any) -> None:
    """Write the file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


HEADS, HIDDEN, VOCAB = 4, 32, 61


def write_small(
    path: Path,
    change: Callable[[Any], object] = lambda writer: None,
    *,
    architecture: str = "llama",
    without: Collection[str] = (),
    tensors: bool = True,
) -> Path:
    """A file with the settings of a small LLaMA and two of its tensors; `change` adds to it."""
    from gguf import GGUFWriter

    writer = GGUFWriter(path, architecture)
    settings = {
        "context_length": 48,
        "embedding_length": HIDDEN,
        "block_count": 2,
        "feed_forward_length": 64,
        "head_count": HEADS,
        "layer_norm_rms_eps": 1e-5,
    }
    for name, value in settings.items():
        if name not in without:
            getattr(writer, f"add_{name}")(value)
    change(writer)
    if tensors:
        writer.add_tensor("token_embd.weight", np.zeros((VOCAB, HIDDEN), np.float32))
        writer.add_tensor("output_norm.weight", np.ones(HIDDEN, np.float32))
    finish(writer)
    return path
