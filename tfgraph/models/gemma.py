"""Gemma: its configuration, its models for each task, and its published sizes; Gemma 2 and 3 have their own files.

Source: Gemma Team, "Gemma: Open Models Based on Gemini Research and Technology", 2024, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tfgraph.models.config_fields import require_settings
from tfgraph.models.rotary_decoder import RotaryDecoder, RotaryDecoderConfig, rotary_family


@dataclass(frozen=True)
class AnyGemmaConfig(RotaryDecoderConfig):
    """What the configurations of all Gemmas share; see `RotaryDecoderConfig`."""

    hidden_act: str = "gelu_pytorch_tanh"
    head_dim: int | None = 256
    tie_word_embeddings: bool = True

    @classmethod
    def _refuse_unsupported(cls, given: Mapping[str, Any], source: str) -> None:
        require_settings(given, source, {"use_bidirectional_attention": False})


@dataclass(frozen=True)
class GemmaConfig(AnyGemmaConfig):
    """Gemma's sizes and choices; see `RotaryDecoderConfig`."""

    model_type: ClassVar[str] = "gemma"

    @classmethod
    def _read_more(cls, given: Mapping[str, Any], source: str) -> dict[str, Any]:
        values = super()._read_more(given, source)
        if given.get("hidden_act") == "gelu":  # what the first release says, and does not mean
            values["hidden_act"] = "gelu_pytorch_tanh"
        return values


class GemmaDecoder(RotaryDecoder):
    """LLaMA's decoder with the embeddings scaled by the root of their size, and norms that store what is beyond 1."""

    def __init__(self, config: AnyGemmaConfig, **particular: Any) -> None:
        super().__init__(config, "zero-centred-rms", math.sqrt(config.hidden_size), **particular)


class GemmaModel(GemmaDecoder):
    """The decoder."""

    def __init__(self, config: GemmaConfig) -> None:
        super().__init__(config)


FAMILY = rotary_family("Gemma", GemmaConfig, GemmaModel)

CONFIGS = {
    # Gemma Team, 2024, table 1
    "gemma-2b": GemmaConfig(256000, 2048, 18, 8, 8192, 16384, 1),
    "gemma-7b": GemmaConfig(256000, 3072, 28, 16, 8192, 24576, 16),
}
"""Name to configuration."""
