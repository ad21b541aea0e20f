"""Small settings of LLaMA and the families after it, for their tests."""

from __future__ import annotations

from typing import Any

SMALL: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}
SLIDING, FULL = "sliding_attention", "full_attention"

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {  # model type -> Hugging Face stem, what its models need besides
    "llama": ("Llama", {}),
    "mistral": ("Mistral", {"sliding_window": 3}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {"head_dim": 10}),
    "gemma": ("Gemma", {"head_dim": 10}),
    "gemma2": ("Gemma2", {"head_dim": 10, "sliding_window": 3, "query_pre_attn_scalar": 12}),
    "gemma3_text": (
        "Gemma3",
        {"head_dim": 10, "sliding_window": 3, "query_pre_attn_scalar": 12, "layer_types": [SLIDING, FULL]},
    ),
    "mixtral": ("Mixtral", {"num_local_experts": 4}),
}

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", {"num_key_value_heads": 4, "tie_word_embeddings": True, "rms_norm_eps": 1e-5}),
    ("llama", {"num_key_value_heads": 1, "attention_bias": True, "mlp_bias": True, "rope_parameters": LLAMA3}),
    ("llama", {"head_dim": 10, "max_position_embeddings": 131072, "rope_parameters": LLAMA3}),
    ("llama", {"head_dim": 6, "rope_parameters": YARN}),
    ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}}),
    ("mistral", {}),
    ("mistral", {"sliding_window": None, "head_dim": 12}),
    ("qwen2", {}),
    ("qwen2", {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1, "tie_word_embeddings": True}),
    ("qwen3", {}),
    (
        "qwen3",
        {"attention_bias": True, "use_sliding_window": True, "layer_types": [FULL, SLIDING], "sliding_window": 2},
    ),
    ("gemma", {}),
    ("gemma", {"num_key_value_heads": 1, "tie_word_embeddings": False}),
    ("gemma2", {}),
    ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None, "attention_bias": True}),
    ("gemma3_text", {}),
    ("gemma3_text", {"final_logit_softcapping": 5.0, "max_position_embeddings": 131072}),
    ("mixtral", {}),
    ("mixtral", {"sliding_window": 3, "num_local_experts": 3, "num_experts_per_tok": 1}),
]
"""Every choice that the families have, with the cells of `parity.py` run for each."""


def settings(model_type: str, **changes: Any) -> dict[str, Any]:
    """The settings of a small model."""
    return {**SMALL, **FAMILIES[model_type][1], **changes}
