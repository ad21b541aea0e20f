"""LLaMA 1 to 3: configuration, models for each task, names of parameters in checkpoints, and published sizes.

SmolLM2 is a LLaMA too. What the families after it share with it is in `rotary_decoder.py`.

Source: Touvron et al., "LLaMA: Open and Efficient Foundation Language Models", 2023; Touvron et al., "Llama 2: Open
Foundation and Fine-Tuned Chat Models", 2023; Llama Team, "The Llama 3 Herd of Models", 2024.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tfgraph.dsl.layers.rotary_scaling import Llama3Scaling
from tfgraph.models.rotary_decoder import RotaryDecoder, RotaryDecoderConfig, rotary_family


@dataclass(frozen=True)
class LlamaConfig(RotaryDecoderConfig):
    """LLaMA's sizes and choices; see `RotaryDecoderConfig`.

    `pretraining_tp`, in how many parts matrices were multiplied when the model was trained, changes no result, and is
    not read.

    Attributes:
        mlp_bias: whether the projections of the MLP have a bias.
    """

    model_type: ClassVar[str] = "llama"

    mlp_bias: bool = False


class LlamaModel(RotaryDecoder):
    """The decoder."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config, mlp_bias=config.mlp_bias)


FAMILY = rotary_family("Llama", LlamaConfig, LlamaModel)


def _llama(hidden_size: int, layers: int, heads: int, intermediate_size: int, norm_eps: float = 1e-6) -> LlamaConfig:
    return LlamaConfig(32000, hidden_size, layers, heads, 2048, intermediate_size, norm_eps=norm_eps)


def _llama2(hidden_size: int, layers: int, heads: int, intermediate_size: int, kv_heads: int) -> LlamaConfig:
    return LlamaConfig(32000, hidden_size, layers, heads, 4096, intermediate_size, kv_heads, norm_eps=1e-5)


def _llama3(hidden_size: int, layers: int, heads: int, intermediate_size: int) -> LlamaConfig:
    return LlamaConfig(
        128256, hidden_size, layers, heads, 8192, intermediate_size, 8, norm_eps=1e-5, rope_theta=500000.0
    )


def _longer(config: LlamaConfig, factor: float, tied: bool = False) -> LlamaConfig:
    """LLaMA 3.1 and 3.2, with 128 Ki positions; the small ones are tied."""
    scaling = Llama3Scaling(factor, low_freq_factor=1.0, high_freq_factor=4.0, original_max_positions=8192)
    return replace(config, max_position_embeddings=131072, rope_scaling=scaling, tie_word_embeddings=tied)


def _smollm2(
    hidden_size: int, layers: int, heads: int, intermediate_size: int, kv_heads: int, rope_theta: float
) -> LlamaConfig:
    return LlamaConfig(
        49152, hidden_size, layers, heads, 8192, intermediate_size, kv_heads, norm_eps=1e-5, rope_theta=rope_theta,
        tie_word_embeddings=True,
    )  # fmt: skip


CONFIGS = {
    # Touvron et al., "LLaMA", 2023, table 2
    "llama-7b": _llama(4096, 32, 32, 11008),
    "llama-13b": _llama(5120, 40, 40, 13824),
    "llama-33b": _llama(6656, 60, 52, 17920),
    "llama-65b": _llama(8192, 80, 64, 22016, norm_eps=1e-5),
    # Touvron et al., "Llama 2", 2023, table 1
    "llama-2-7b": _llama2(4096, 32, 32, 11008, 32),
    "llama-2-13b": _llama2(5120, 40, 40, 13824, 40),
    "llama-2-70b": _llama2(8192, 80, 64, 28672, 8),
    # Llama Team, "The Llama 3 Herd of Models", 2024, table 3, and the releases of the same year
    "llama-3-8b": _llama3(4096, 32, 32, 14336),
    "llama-3-70b": _llama3(8192, 80, 64, 28672),
    "llama-3.1-8b": _longer(_llama3(4096, 32, 32, 14336), 8.0),
    "llama-3.1-70b": _longer(_llama3(8192, 80, 64, 28672), 8.0),
    "llama-3.1-405b": _longer(_llama3(16384, 126, 128, 53248), 8.0),
    "llama-3.2-1b": _longer(_llama3(2048, 16, 32, 8192), 32.0, tied=True),
    "llama-3.2-3b": _longer(_llama3(3072, 28, 24, 8192), 32.0, tied=True),
    # Ben Allal et al., "SmolLM2: When Smol Goes Big", 2025
    "smollm2-135m": _smollm2(576, 30, 9, 1536, 3, 100000.0),
    "smollm2-360m": _smollm2(960, 32, 15, 2560, 5, 100000.0),
    "smollm2-1.7b": _smollm2(2048, 24, 32, 8192, 32, 130000.0),
}
"""Name to configuration."""
