"""Gemma 2: its configuration, its models for each task, names of parameters in checkpoints, and its published sizes.

Source: Gemma Team, "Gemma 2: Improving Open Language Models at a Practical Size", 2024, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tfgraph.errors import ConfigError
from tfgraph.models.causal_lm import CausalLM
from tfgraph.models.config_fields import read_nullable
from tfgraph.models.decoder import TextDecoder
from tfgraph.models.gemma import AnyGemmaConfig, GemmaDecoder
from tfgraph.models.rotary_decoder import FULL, NAMES, SLIDING, rotary_family


@dataclass(frozen=True)
class SandwichGemmaConfig(AnyGemmaConfig):
    """What the configurations of Gemma 2 and 3 share; see `RotaryDecoderConfig`.

    Attributes:
        query_pre_attn_scalar: scores are divided by the root of this.
        final_logit_softcapping: if given, scores s of tokens become `c tanh(s / c)`, c being this.
    """

    aliases: ClassVar[Mapping[str, str]] = {**AnyGemmaConfig.aliases, "hidden_activation": "hidden_act"}
    usual_window: ClassVar[int | None] = 4096
    usual_final_cap: ClassVar[float | None] = None
    """The `final_logit_softcapping` of a configuration that does not have the setting."""

    query_pre_attn_scalar: float = 256.0
    final_logit_softcapping: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("query_pre_attn_scalar", "final_logit_softcapping", "attn_logit_softcapping"):
            value = getattr(self, name, None)  # Gemma 3 caps no scores of attention
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value}: expected a number above 0")

    @classmethod
    def _read_more(cls, given: Mapping[str, Any], source: str) -> dict[str, Any]:
        name = "final_logit_softcapping"
        return {
            **super()._read_more(given, source),
            name: read_nullable(given, source, name, float, cls.usual_final_cap),
        }


class SandwichGemmaDecoder(GemmaDecoder):
    """Gemma's decoder, in which what attention and MLP make is normalised too."""

    def __init__(self, config: SandwichGemmaConfig, **particular: Any) -> None:
        super().__init__(config, norm="sandwich", scale=config.query_pre_attn_scalar**-0.5, **particular)


SANDWICH_NAMES = {
    **NAMES,
    "layers.{}.post_norm1": "layers.{}.post_attention_layernorm",
    "layers.{}.norm2": "layers.{}.pre_feedforward_layernorm",
    "layers.{}.post_norm2": "layers.{}.post_feedforward_layernorm",
}
"""Module path to checkpoint name, for a `SandwichGemmaDecoder`."""


def capped_lm(config: SandwichGemmaConfig, base: TextDecoder) -> CausalLM:
    """The model that predicts tokens, by scores that may be capped."""
    return CausalLM(config, base, softcap=config.final_logit_softcapping)


@dataclass(frozen=True)
class Gemma2Config(SandwichGemmaConfig):
    """Gemma 2's sizes and choices; see `SandwichGemmaConfig`. Every other layer has the window, from the first on.

    Attributes:
        attn_logit_softcapping: if given, scores of attention are capped as those of tokens are.
    """

    model_type: ClassVar[str] = "gemma2"
    usual_final_cap: ClassVar[float | None] = 30.0

    sliding_window: int | None = 4096
    final_logit_softcapping: float | None = 30.0
    attn_logit_softcapping: float | None = 50.0

    def _usual_kinds(self) -> tuple[str, ...]:
        return tuple(FULL if index % 2 else SLIDING for index in range(self.num_hidden_layers))

    @classmethod
    def _read_more(cls, given: Mapping[str, Any], source: str) -> dict[str, Any]:
        name = "attn_logit_softcapping"
        return {**super()._read_more(given, source), name: read_nullable(given, source, name, float, 50.0)}


class Gemma2Model(SandwichGemmaDecoder):
    """The decoder."""

    def __init__(self, config: Gemma2Config) -> None:
        super().__init__(config, softcap=config.attn_logit_softcapping or 0.0)


FAMILY = rotary_family("Gemma2", Gemma2Config, Gemma2Model, SANDWICH_NAMES, capped_lm)

CONFIGS = {
    # Gemma Team, 2024, table 1
    "gemma-2-2b": Gemma2Config(256000, 2304, 26, 8, 8192, 9216, 4),
    "gemma-2-9b": Gemma2Config(256000, 3584, 42, 16, 8192, 14336, 8),
    "gemma-2-27b": Gemma2Config(256000, 4608, 46, 32, 8192, 36864, 16, head_dim=128, query_pre_attn_scalar=144.0),
}
"""Name to configuration."""
