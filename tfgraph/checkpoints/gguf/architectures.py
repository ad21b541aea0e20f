"""The architectures that GGUF files are read for: what their tensors and settings are called on either side.

A table for each name that `general.architecture` may have. GGUF's names are those of ggml's documentation
(docs/gguf.md) and of the `gguf` package; the others are those of Hugging Face checkpoints and their `config.json`. The
tables are applied in `tfgraph.checkpoints.gguf.weights` and `tfgraph.checkpoints.gguf.config`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tfgraph.checkpoints.gguf.layouts import (
    Layout,
    fused_by_head,
    key_rows,
    minus_one,
    query_rows,
    transposed_matrix,
)


@dataclass(frozen=True)
class Architecture:
    """How files of one architecture are read.

    Names are without their endings, `.weight` and `.bias`, which are the same on both sides.

    Attributes:
        model_type: Hugging Face's name of the family.
        class_name: the class under `architectures` in `config.json`.
        outer: tensors outside the layers: GGUF's name to Hugging Face's.
        layers: what Hugging Face puts before the number of a layer.
        block: tensors of a layer: GGUF's name, after `blk.N.`, to Hugging Face's, after the number of the layer.
        settings: metadata keys, without the architecture's name, to the keys of `config.json`.
        optional: those of `settings` that a file may leave out.
        constants: settings that all models of the architecture share, and GGUF does not hold.
        layouts: tensors, by GGUF's name, whose elements are not as in the checkpoint. A name after `*` is an ending.
    """

    model_type: str
    class_name: str
    outer: Mapping[str, str]
    layers: str
    block: Mapping[str, str]
    settings: Mapping[str, str]
    optional: frozenset[str] = frozenset()
    constants: Mapping[str, Any] = field(default_factory=dict)
    layouts: Mapping[str, Layout] = field(default_factory=dict)


_DECODER_SETTINGS = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "rope.freq_base": "rope_theta",
}
_RMS = {**_DECODER_SETTINGS, "attention.layer_norm_rms_epsilon": "rms_norm_eps"}
_OPTIONAL = frozenset({"attention.head_count_kv", "rope.freq_base", "attention.key_length"})

_DECODER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_ATTENTION = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
}
_GATED = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
_LLAMA = {**_ATTENTION, "ffn_norm": "post_attention_layernorm", **_GATED}
_HEAD_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_GEMMA2 = {
    **_ATTENTION,
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    **_GATED,
}
_GEMMA_SETTINGS = {**_RMS, "attention.key_length": "head_dim"}
_GEMMA_CONSTANTS = {
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "attention_bias": False,
}
_FUSED = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_up": "mlp.dense_h_to_4h",
    "ffn_down": "mlp.dense_4h_to_h",
}

_LLAMA_ARCHITECTURE = Architecture(
    model_type="llama",
    class_name="LlamaForCausalLM",
    outer=_DECODER,
    layers="model.layers",
    block=_LLAMA,
    settings={**_RMS, "attention.key_length": "head_dim"},
    optional=_OPTIONAL,
    constants={"hidden_act": "silu"},
    layouts={"attn_q": query_rows, "attn_k": key_rows},
)

MIXTRAL = Architecture(
    model_type="mixtral",
    class_name="MixtralForCausalLM",
    outer=_DECODER,
    layers="model.layers",
    block={
        **_ATTENTION,
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate_inp": "block_sparse_moe.gate",
        # of all experts in one tensor, and, in files of before April 2024, of one expert each
        **{
            f"{name}_exps": f"block_sparse_moe.experts.{{expert}}.{other}"
            for name, other in (("ffn_gate", "w1"), ("ffn_down", "w2"), ("ffn_up", "w3"))
        },
        **{
            f"{name}.{{expert}}": f"block_sparse_moe.experts.{{expert}}.{other}"
            for name, other in (("ffn_gate", "w1"), ("ffn_down", "w2"), ("ffn_up", "w3"))
        },
    },
    settings={
        **_LLAMA_ARCHITECTURE.settings,
        "expert_count": "num_local_experts",
        "expert_used_count": "num_experts_per_tok",
    },
    optional=_OPTIONAL,
    constants={"hidden_act": "silu"},
    layouts=_LLAMA_ARCHITECTURE.layouts,
)
"""A file of the architecture `llama` whose metadata counts experts."""

FLOATS = frozenset(
    {
        "attention.layer_norm_epsilon",
        "attention.layer_norm_rms_epsilon",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "rope.freq_base",
    }
)
"""Settings that are positive numbers."""

FLAGS = frozenset({"use_parallel_residual"})
"""Settings that are true or false. All others are positive integers."""

ARCHITECTURES: dict[str, Architecture] = {
    "llama": _LLAMA_ARCHITECTURE,
    "qwen2": Architecture(
        model_type="qwen2",
        class_name="Qwen2ForCausalLM",
        outer=_DECODER,
        layers="model.layers",
        block=_LLAMA,
        settings=_RMS,
        optional=_OPTIONAL,
        constants={"hidden_act": "silu", "use_sliding_window": False},
    ),
    "qwen3": Architecture(
        model_type="qwen3",
        class_name="Qwen3ForCausalLM",
        outer=_DECODER,
        layers="model.layers",
        block={**_LLAMA, **_HEAD_NORMS},
        settings={**_RMS, "attention.key_length": "head_dim"},
        optional=_OPTIONAL - {"attention.key_length"},
        constants={"hidden_act": "silu", "use_sliding_window": False},
    ),
    "gemma": Architecture(
        model_type="gemma",
        class_name="GemmaForCausalLM",
        outer=_DECODER,
        layers="model.layers",
        block=_LLAMA,
        settings=_GEMMA_SETTINGS,
        optional=_OPTIONAL,
        constants=_GEMMA_CONSTANTS,
        layouts={"*norm": minus_one},
    ),
    "gemma2": Architecture(
        model_type="gemma2",
        class_name="Gemma2ForCausalLM",
        outer=_DECODER,
        layers="model.layers",
        block=_GEMMA2,
        settings={
            **_GEMMA_SETTINGS,
            "attention.sliding_window": "sliding_window",
            "attn_logit_softcapping": "attn_logit_softcapping",
            "final_logit_softcapping": "final_logit_softcapping",
        },
        optional=_OPTIONAL,
        constants=_GEMMA_CONSTANTS,
        layouts={"*norm": minus_one},
    ),
    "gemma3": Architecture(
        model_type="gemma3_text",
        class_name="Gemma3ForCausalLM",
        outer=_DECODER,
        layers="model.layers",
        block={**_GEMMA2, **_HEAD_NORMS},
        settings={**_GEMMA_SETTINGS, "attention.sliding_window": "sliding_window"},
        optional=_OPTIONAL,
        constants={**_GEMMA_CONSTANTS, "rope_local_base_freq": 10000.0, "sliding_window_pattern": 6},
        layouts={"*norm": minus_one},
    ),
    "phi2": Architecture(
        model_type="phi",
        class_name="PhiForCausalLM",
        outer={**_DECODER, "output_norm": "model.final_layernorm"},
        layers="model.layers",
        block={
            **_ATTENTION,
            "attn_output": "self_attn.dense",
            "ffn_up": "mlp.fc1",
            "ffn_down": "mlp.fc2",
        },
        settings={**_DECODER_SETTINGS, "attention.layer_norm_epsilon": "layer_norm_eps"},
        optional=_OPTIONAL,
        constants={"hidden_act": "gelu_new"},
    ),
    "phi3": Architecture(
        model_type="phi3",
        class_name="Phi3ForCausalLM",
        outer=_DECODER,
        layers="model.layers",
        block={
            "attn_norm": "input_layernorm",
            "attn_qkv": "self_attn.qkv_proj",
            "attn_output": "self_attn.o_proj",
            "ffn_norm": "post_attention_layernorm",
            "ffn_up": "mlp.gate_up_proj",
            "ffn_down": "mlp.down_proj",
        },
        settings={
            **_RMS,
            "attention.sliding_window": "sliding_window",
            "rope.scaling.original_context_length": "original_max_position_embeddings",
        },
        optional=_OPTIONAL | {"attention.sliding_window", "rope.scaling.original_context_length"},
        constants={"hidden_act": "silu"},
    ),
    "gpt2": Architecture(
        model_type="gpt2",
        class_name="GPT2LMHeadModel",
        outer={
            "token_embd": "transformer.wte",
            "position_embd": "transformer.wpe",
            "output_norm": "transformer.ln_f",
            "output": "lm_head",
        },
        layers="transformer.h",
        block={
            "attn_norm": "ln_1",
            "attn_qkv": "attn.c_attn",
            "attn_output": "attn.c_proj",
            "ffn_norm": "ln_2",
            "ffn_up": "mlp.c_fc",
            "ffn_down": "mlp.c_proj",
        },
        settings={
            "context_length": "n_positions",
            "embedding_length": "n_embd",
            "block_count": "n_layer",
            "feed_forward_length": "n_inner",
            "attention.head_count": "n_head",
            "attention.layer_norm_epsilon": "layer_norm_epsilon",
        },
        constants={"activation_function": "gelu_new"},
        layouts=dict.fromkeys(("attn_qkv", "attn_output", "ffn_up", "ffn_down"), transposed_matrix),
    ),
    "gptneox": Architecture(
        model_type="gpt_neox",
        class_name="GPTNeoXForCausalLM",
        outer={
            "token_embd": "gpt_neox.embed_in",
            "output_norm": "gpt_neox.final_layer_norm",
            "output": "embed_out",
        },
        layers="gpt_neox.layers",
        block={**_FUSED, "attn_qkv": "attention.query_key_value", "attn_output": "attention.dense"},
        settings={
            **{key: name for key, name in _DECODER_SETTINGS.items() if name != "num_key_value_heads"},
            "attention.layer_norm_epsilon": "layer_norm_eps",
            "use_parallel_residual": "use_parallel_residual",
        },
        optional=_OPTIONAL | {"use_parallel_residual"},
        constants={"hidden_act": "gelu"},
        layouts={"attn_qkv": fused_by_head},
    ),
    "bloom": Architecture(
        model_type="bloom",
        class_name="BloomForCausalLM",
        outer={
            "token_embd": "transformer.word_embeddings",
            "token_embd_norm": "transformer.word_embeddings_layernorm",
            "output_norm": "transformer.ln_f",
            "output": "lm_head",
        },
        layers="transformer.h",
        block={**_FUSED, "attn_qkv": "self_attention.query_key_value", "attn_output": "self_attention.dense"},
        settings={
            "context_length": "seq_length",
            "embedding_length": "hidden_size",
            "block_count": "n_layer",
            "attention.head_count": "n_head",
            "attention.layer_norm_epsilon": "layer_norm_epsilon",
        },
        layouts={"attn_qkv": fused_by_head},
    ),
}
"""`general.architecture` -> how its files are read."""
