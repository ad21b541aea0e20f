"""The text models of Gemma 3: configuration, models for each task, names of parameters, and published sizes.

Source: Gemma Team, "Gemma 3 Technical Report", 2025, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tfgraph.dsl.layers.choices import require_positive
from tfgraph.dsl.layers.rotary import RotaryPositions
from tfgraph.models.config_fields import require_settings
from tfgraph.models.family import TEXT_GENERATION
from tfgraph.models.gemma2 import SANDWICH_NAMES, SandwichGemmaConfig, SandwichGemmaDecoder, capped_lm
from tfgraph.models.rotary_decoder import FULL, QUERY_KEY_NORM_NAMES, SLIDING, require_whole_heads, rotary_family
from tfgraph.models.rotary_settings import read_rotary_settings


@dataclass(frozen=True)
class Gemma3Config(SandwichGemmaConfig):
    """Gemma 3's sizes and choices; see `SandwichGemmaConfig`.

    Attributes:
        rope_local_base_freq: from which the wavelengths of sliding layers are computed; `rope_theta` and
            `rope_scaling` are for the others.
        sliding_window_pattern: where `layer_types` is not given, every layer whose number this divides has no window.
    """

    model_type: ClassVar[str] = "gemma3_text"

    rope_theta: float = 1000000.0
    rope_local_base_freq: float = 10000.0
    sliding_window: int | None = 4096
    sliding_window_pattern: int = 6

    def __post_init__(self) -> None:
        require_positive(sliding_window_pattern=self.sliding_window_pattern)
        super().__post_init__()

    def _usual_kinds(self) -> tuple[str, ...]:
        period = self.sliding_window_pattern
        return tuple(SLIDING if number % period else FULL for number in range(1, self.num_hidden_layers + 1))

    def rotary_positions(self) -> dict[str, RotaryPositions]:
        """The rotations of each kind of layer."""
        return {
            FULL: self.make_rotary(self.rope_theta, self.rope_scaling),
            SLIDING: self.make_rotary(self.rope_local_base_freq, None),
        }

    @classmethod
    def _read_more(cls, given: Mapping[str, Any], source: str) -> dict[str, Any]:
        by_kind = given.get("rope_parameters")
        local = {"rope_local_base_freq": given.get("rope_local_base_freq")}
        if isinstance(by_kind, Mapping) and {FULL, SLIDING} & set(by_kind):
            given = {**given, "rope_parameters": by_kind.get(FULL)}
            local["rope_parameters"] = by_kind.get(SLIDING)
        rotary = read_rotary_settings(local, source, base=cls.rope_local_base_freq, base_name="rope_local_base_freq")
        require_whole_heads(rotary, source)
        return {**super()._read_more(given, source), "rope_local_base_freq": rotary.base}

    @classmethod
    def _refuse_unsupported(cls, given: Mapping[str, Any], source: str) -> None:
        super()._refuse_unsupported(given, source)
        require_settings(given, source, {"attn_logit_softcapping": None})


class Gemma3Model(SandwichGemmaDecoder):
    """The decoder: each head of query and key is normalised, and few layers attend to all positions."""

    def __init__(self, config: Gemma3Config) -> None:
        super().__init__(config, qk_norm="zero-centred-rms")


_TEXT = rotary_family("Gemma3Text", Gemma3Config, Gemma3Model, {**SANDWICH_NAMES, **QUERY_KEY_NORM_NAMES}, capped_lm)

FAMILY = replace(
    _TEXT,
    architectures=tuple(
        replace(each, name="Gemma3ForCausalLM") if each.task == TEXT_GENERATION else each
        for each in _TEXT.architectures
    ),
)

CONFIGS = {
    # Gemma Team, 2025, table 1, the one without an encoder of images
    "gemma-3-1b": Gemma3Config(262144, 1152, 26, 4, 32768, 6912, 1, sliding_window=512),
}
"""Name to configuration."""
