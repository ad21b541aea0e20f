"""Mistral: its configuration, its models for each task, and its published sizes.

Source: Jiang et al., "Mistral 7B", 2023.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tfgraph.models.rotary_decoder import RotaryDecoder, RotaryDecoderConfig, rotary_family


@dataclass(frozen=True)
class MistralConfig(RotaryDecoderConfig):
    """Mistral's sizes and choices; see `RotaryDecoderConfig`."""

    model_type: ClassVar[str] = "mistral"
    usual_window: ClassVar[int | None] = 4096


class MistralModel(RotaryDecoder):
    """The decoder: LLaMA's, each position of which attends to the last ones alone."""


FAMILY = rotary_family("Mistral", MistralConfig, MistralModel)

_FIRST = MistralConfig(32000, 4096, 32, 32, 32768, 14336, 8, norm_eps=1e-5, sliding_window=4096)

CONFIGS = {
    # Jiang et al., 2023, table 1; the releases after it have no window and longer wavelengths
    "mistral-7b": _FIRST,
    "mistral-7b-v0.3": replace(_FIRST, vocab_size=32768, sliding_window=None, rope_theta=1000000.0),
}
"""Name to configuration."""
