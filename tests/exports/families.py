"""The families of transformers that the export tests go over: a small configuration of each, and what it holds.

Nothing here exports or runs anything: `export_family.py` does. Sizes are small (hidden 64, two layers, four heads), and
all parameters are random. Norms and GELUs are counted when the model runs; attention and rotary come from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_BERT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "vocab_size": 99,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
}
_LLAMA = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 99,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_MHA = {**_LLAMA, "num_key_value_heads": 4}
_VIT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 32,
    "patch_size": 8,
}
_BART = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "vocab_size": 99,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
    "decoder_start_token_id": 2,
}
_T5 = {
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 96,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "vocab_size": 99,
    "decoder_start_token_id": 0,
}
_SPEECH = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "conv_dim": (32, 32),
    "conv_stride": (4, 2),
    "conv_kernel": (8, 3),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


@dataclass(frozen=True)
class Family:
    """One architecture.

    Attributes:
        config: the configuration's class in transformers.
        settings: its arguments.
        model: the model's class in transformers.
        kind: what it takes: `text`, `encoder-decoder`, `image`, `waveform`, `features`.
        attention: number of softmax attentions.
        rotary: number of rotary embeddings (of queries and keys each).
    """

    config: str
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "text"
    attention: int = 2
    rotary: int = 0


def _text(
    prefix: str, settings: Mapping[str, Any], suffix: str = "Model", *, attention: int = 2, **extra: Any
) -> Family:
    return Family(f"{prefix}Config", f"{prefix}{suffix}", {**settings, **extra}, attention=attention)


def _rotary(prefix: str, settings: Mapping[str, Any] = _LLAMA, suffix: str = "ForCausalLM", **extra: Any) -> Family:
    return Family(f"{prefix}Config", f"{prefix}{suffix}", {**settings, **extra}, rotary=4)


def _image(prefix: str, *, model: str = "", **extra: Any) -> Family:
    return Family(f"{prefix}Config", model or f"{prefix}Model", {**_VIT, **extra}, "image")


def _seq2seq(prefix: str, settings: Mapping[str, Any], **extra: Any) -> Family:
    model = f"{prefix}MTModel" if prefix == "Marian_" else f"{prefix}Model"
    return Family(f"{prefix}Config", model, {**settings, **extra}, "encoder-decoder", 6)


_GPT2 = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 99, "n_positions": 64}
_EIGHT = {**_MHA, "head_dim": 16}

FAMILIES: Mapping[str, Family] = {
    # encoders
    "bert": _text("Bert", _BERT),
    "roberta": _text("Roberta", _BERT, pad_token_id=1),
    "distilbert": Family(
        "DistilBertConfig",
        "DistilBertModel",
        {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 96, "vocab_size": 99, "max_position_embeddings": 64},
    ),
    "albert": _text("Albert", _BERT, embedding_size=32),
    "electra": _text("Electra", _BERT, embedding_size=32),
    "mpnet": _text("MPNet", {**_BERT, "pad_token_id": 1}),
    "xlm_roberta": _text("XLMRoberta", _BERT, pad_token_id=1),
    "camembert": _text("Camembert", _BERT, pad_token_id=1),
    "squeezebert": _text("SqueezeBert", _BERT, embedding_size=64),
    "roformer": Family("RoFormerConfig", "RoFormerModel", {**_BERT, "embedding_size": 64}, rotary=4),
    "modernbert": Family(
        "ModernBertConfig",
        "ModernBertModel",
        {**_MHA, "cls_token_id": 1, "sep_token_id": 2, "reference_compile": False, "local_attention": 8},
        rotary=4,
    ),
    "megatron_bert": _text("MegatronBert", _BERT),
    "layoutlm": _text("LayoutLM", _BERT),
    "ernie": _text("Ernie", _BERT),
    "convbert": _text("ConvBert", _BERT, embedding_size=64),
    "deberta_v2": _text("DebertaV2", _BERT, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "splinter": _text("Splinter", _BERT),
    "xlm": Family("XLMConfig", "XLMModel", {"emb_dim": 64, "n_layers": 2, "n_heads": 4, "vocab_size": 99}),
    "esm": Family(
        "EsmConfig",
        "EsmModel",
        {**_BERT, "position_embedding_type": "rotary", "pad_token_id": 1, "mask_token_id": 3},
        rotary=4,
    ),
    # decoders
    "gpt2": _text("GPT2", _GPT2, "LMHeadModel"),
    "gpt_neo": _text(
        "GPTNeo",
        {
            "hidden_size": 64,
            "num_layers": 2,
            "num_heads": 4,
            "vocab_size": 99,
            "max_position_embeddings": 64,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 8,
        },
        "ForCausalLM",
    ),
    "gpt_neox": _rotary("GPTNeoX", _MHA, rotary_pct=0.5),
    "gptj": Family("GPTJConfig", "GPTJForCausalLM", {**_GPT2, "rotary_dim": 8}, rotary=4),
    "codegen": Family("CodeGenConfig", "CodeGenForCausalLM", {**_GPT2, "rotary_dim": 8}, rotary=4),
    "openai_gpt": _text("OpenAIGPT", _GPT2, "LMHeadModel"),
    "gpt_bigcode": _text("GPTBigCode", _GPT2, "ForCausalLM"),
    "opt": _text(
        "OPT",
        {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 96,
            "vocab_size": 99,
            "max_position_embeddings": 64,
            "word_embed_proj_dim": 64,
        },
        "ForCausalLM",
    ),
    "bloom": _text("Bloom", {"hidden_size": 64, "n_layer": 2, "n_head": 4, "vocab_size": 99}, "ForCausalLM"),
    "falcon": Family("FalconConfig", "FalconForCausalLM", {**_MHA, "alibi": False}, rotary=4),
    "mpt": _text(
        "Mpt", {"d_model": 64, "n_heads": 4, "n_layers": 2, "vocab_size": 99, "max_seq_len": 64}, "ForCausalLM"
    ),
    "llama": _rotary("Llama"),
    "mistral": _rotary("Mistral", sliding_window=None),
    "mixtral": _rotary("Mixtral", num_local_experts=2, sliding_window=None),
    "qwen2": _rotary("Qwen2"),
    "qwen3": _rotary("Qwen3", {**_LLAMA, "head_dim": 16}),
    "gemma": _rotary("Gemma", {**_LLAMA, "head_dim": 16}),
    "gemma2": _rotary("Gemma2", {**_LLAMA, "head_dim": 16}, sliding_window=8),
    "gemma3": Family(
        "Gemma3TextConfig", "Gemma3ForCausalLM", {**_LLAMA, "head_dim": 16, "sliding_window": 8}, rotary=4
    ),
    "phi": _rotary("Phi", _MHA, partial_rotary_factor=0.5),
    "phi3": _rotary("Phi3"),
    "stablelm": _rotary("StableLm", partial_rotary_factor=0.5),
    "starcoder2": _rotary("Starcoder2"),
    "olmo": _rotary("Olmo"),
    "olmo2": _rotary("Olmo2"),
    "cohere": _rotary("Cohere"),
    "granite": _rotary("Granite", attention_multiplier=0.2),
    "glm": _rotary("Glm", {**_LLAMA, "head_dim": 16}),
    "nemotron": _rotary("Nemotron"),
    "smollm3": _rotary("SmolLM3"),
    "xglm": Family(
        "XGLMConfig",
        "XGLMForCausalLM",
        {"d_model": 64, "num_layers": 2, "attention_heads": 4, "ffn_dim": 96, "vocab_size": 99},
    ),
    "persimmon": _rotary("Persimmon", _MHA),
    "gpt_oss": _rotary("GptOss", {**_LLAMA, "head_dim": 16}, num_local_experts=2, num_experts_per_tok=1),
    # encoder-decoders
    "t5": Family("T5Config", "T5Model", _T5, "encoder-decoder", 6),
    "mt5": Family("MT5Config", "MT5Model", _T5, "encoder-decoder", 6),
    "bart": _seq2seq("Bart", _BART),
    "mbart": _seq2seq("MBart", _BART),
    "pegasus": _seq2seq("Pegasus", _BART),
    "marian": _seq2seq("Marian", {**_BART, "pad_token_id": 1}),
    "blenderbot": _seq2seq("Blenderbot", _BART),
    "m2m_100": _seq2seq("M2M100", _BART),
    # vision
    "vit": _image("ViT"),
    "deit": _image("DeiT"),
    "beit": _image("Beit", use_relative_position_bias=True),
    "dinov2": _image("Dinov2", mlp_ratio=2),
    "clip_vision": _image("CLIPVision"),
    "siglip_vision": _image("SiglipVision"),
    "swin": Family(
        "SwinConfig",
        "SwinModel",
        {"embed_dim": 32, "depths": [2, 1], "num_heads": [2, 4], "image_size": 32, "patch_size": 4, "window_size": 4},
        "image",
        attention=3,
    ),
    "clip_text": _text("CLIPText", {**_BERT, "eos_token_id": 2}),
    # speech
    "wav2vec2": Family("Wav2Vec2Config", "Wav2Vec2Model", _SPEECH, "waveform"),
    "hubert": Family("HubertConfig", "HubertModel", _SPEECH, "waveform"),
    "wavlm": Family("WavLMConfig", "WavLMModel", _SPEECH, "waveform"),
    "whisper": Family(
        "WhisperConfig",
        "WhisperModel",
        {**_BART, "num_mel_bins": 16, "max_source_positions": 16, "max_target_positions": 64},
        "features",
        6,
    ),
    "ast": Family("ASTConfig", "ASTModel", {**_VIT, "num_mel_bins": 32, "max_length": 32}, "spectrogram"),
}
