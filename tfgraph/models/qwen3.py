"""Qwen3: its configuration, its models for each task, names of parameters in checkpoints, and its published sizes.

Source: Yang et al., "Qwen3 Technical Report", 2025, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tfgraph.models.qwen2 import WindowedQwenConfig
from tfgraph.models.rotary_decoder import NAMES, QUERY_KEY_NORM_NAMES, RotaryDecoder, rotary_family


@dataclass(frozen=True)
class Qwen3Config(WindowedQwenConfig):
    """Qwen3's sizes and choices; see `WindowedQwenConfig`."""

    model_type: ClassVar[str] = "qwen3"

    head_dim: int | None = 128


class Qwen3Model(RotaryDecoder):
    """The decoder: LLaMA's, each head of query and key normalised."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__(config, qk_norm="rms")


FAMILY = rotary_family("Qwen3", Qwen3Config, Qwen3Model, {**NAMES, **QUERY_KEY_NORM_NAMES})


def _qwen3(hidden_size: int, layers: int, heads: int, intermediate_size: int, tied: bool = False) -> Qwen3Config:
    return Qwen3Config(
        151936, hidden_size, layers, heads, 40960, intermediate_size, 8, rope_theta=1000000.0, tie_word_embeddings=tied
    )


CONFIGS = {
    # Yang et al., 2025, table 1
    "qwen3-0.6b": _qwen3(1024, 28, 16, 3072, tied=True),
    "qwen3-1.7b": _qwen3(2048, 28, 16, 6144, tied=True),
    "qwen3-4b": _qwen3(2560, 36, 32, 9728, tied=True),
    "qwen3-8b": _qwen3(4096, 36, 32, 12288),
    "qwen3-14b": _qwen3(5120, 40, 40, 17408),
    "qwen3-32b": _qwen3(5120, 64, 64, 25600),
}
"""Name to configuration."""
