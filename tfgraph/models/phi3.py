"""Phi-3 and Phi-4: configuration, models for each task, names of parameters in checkpoints, and published sizes.

Source: Abdin et al., "Phi-3 Technical Report: A Highly Capable Language Model Locally on Your Phone", 2024, section 2;
Abdin et al., "Phi-4 Technical Report", 2024, section 3. Phi-1 to Phi-2 are in `phi.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tfgraph.dsl.layers.choices import require_positive
from tfgraph.dsl.layers.long_rotary import LongRotaryPositions, extension_scale
from tfgraph.dsl.layers.rotary import RotaryPositions
from tfgraph.errors import ConfigError
from tfgraph.ir.constant import Constant
from tfgraph.models.causal_lm import decoder_architectures
from tfgraph.models.config_fields import require_settings
from tfgraph.models.family import Family
from tfgraph.models.fused_weights import query_key_value, split_rows
from tfgraph.models.rotary_decoder import FULL, IGNORED, NAMES, SLIDING, RotaryDecoder, RotaryDecoderConfig
from tfgraph.models.rotary_settings import DEFAULT, read_rotary_settings, require_positive_number

LONG = ("longrope", "su", "yarn")
"""What Phi-3's releases have called their way of reaching longer texts, in the course of time."""


@dataclass(frozen=True)
class Phi3Config(RotaryDecoderConfig):
    """The sizes and choices of Phi-3; see `RotaryDecoderConfig`.

    Attributes:
        partial_rotary_factor: how much of a head rotary positions turn.
        short_factors, long_factors: for models that were extended, what wavelengths are multiplied by, for texts up to
            `original_max_position_embeddings` and for longer ones; see `LongRotaryPositions`.
        original_max_position_embeddings: the length before a model was extended.
        extension: how much longer its texts became; the ratio of the two lengths if not given.
        attention_factor: what its sines and cosines are multiplied by; what `extension_scale` says if not given.
    """

    model_type: ClassVar[str] = "phi3"

    norm_eps: float = 1e-5
    partial_rotary_factor: float = 1.0
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()
    original_max_position_embeddings: int = 4096
    extension: float | None = None
    attention_factor: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(original_max_position_embeddings=self.original_max_position_embeddings)
        if self.short_factors and self.rope_scaling is not None:
            raise ConfigError("short_factors and rope_scaling are both given: expected one way to reach longer texts")
        for name in ("short_factors", "long_factors"):
            count = len(getattr(self, name))
            if (self.short_factors or self.long_factors) and count != self.rotary_dim // 2:
                raise ConfigError(
                    f"{name} has {count} numbers: expected {self.rotary_dim // 2}, one for each pair of features that "
                    "rotary positions turn"
                )

    @property
    def rotary_dim(self) -> int:
        """Features of a head that rotary positions turn."""
        return int(self.head_size * self.partial_rotary_factor)

    @property
    def rotary_scale(self) -> float:
        """What sines and cosines are multiplied by in a model that was extended."""
        if self.attention_factor is not None:
            return self.attention_factor
        original = self.original_max_position_embeddings
        return extension_scale(self.extension or self.max_position_embeddings / original, original)

    def rotary_positions(self) -> Mapping[str, RotaryPositions | LongRotaryPositions]:
        """The rotations of all layers."""
        rotary: RotaryPositions | LongRotaryPositions
        if self.short_factors:
            rotary = LongRotaryPositions(
                self.head_size,
                self.short_factors,
                self.long_factors,
                self.original_max_position_embeddings,
                self.rope_theta,
                self.rotary_scale,
            )
        else:
            rotary = RotaryPositions(
                self.head_size,
                self.rope_theta,
                self.max_position_embeddings,
                rotary_dim=self.rotary_dim,
                scaling=self.rope_scaling,
            )
        return dict.fromkeys((FULL, SLIDING), rotary)

    @classmethod
    def _read_more(cls, given: Mapping[str, Any], source: str) -> dict[str, Any]:
        rotary = read_rotary_settings(given, source, kinds=(DEFAULT, *LONG))
        values: dict[str, Any] = {"rope_theta": rotary.base, "partial_rotary_factor": rotary.fraction}
        return values if rotary.kind == DEFAULT else {**values, **_long_settings(rotary.scaling, given, source)}

    @classmethod
    def _refuse_unsupported(cls, given: Mapping[str, Any], source: str) -> None:
        require_settings(given, source, {"attention_bias": False})


def _long_settings(scaling: Mapping[str, Any], given: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The fields that a model extended to longer texts has."""
    values: dict[str, Any] = {}
    for ours, theirs in {"short_factors": "short_factor", "long_factors": "long_factor"}.items():
        factors = scaling.get(theirs)
        if not isinstance(factors, list) or not factors:
            raise ConfigError(
                f"{source}: '{theirs}' of the rotary positions is {factors!r}: expected a list of numbers"
            )
        values[ours] = tuple(require_positive_number(source, theirs, each) for each in factors)
    for ours, theirs in {"extension": "factor", "attention_factor": "attention_factor"}.items():
        if scaling.get(theirs) is not None:
            values[ours] = require_positive_number(source, theirs, scaling[theirs])
    original = "original_max_position_embeddings"
    inside, outside = scaling.get(original), given.get(original) or Phi3Config.original_max_position_embeddings
    if inside not in (None, outside):
        raise ConfigError(
            f"{source}: '{original}' is {inside!r} in the settings of rotary positions, and {outside!r} "
            "outside them: expected the same number in both places"
        )
    return values


class Phi3Model(RotaryDecoder):
    """The decoder: LLaMA's, without biases; its positions may turn a part of each head, and change with the length."""

    def __init__(self, config: Phi3Config) -> None:
        super().__init__(config)


PHI3_NAMES = {
    **NAMES,
    "layers.{}.attention.query": "layers.{}.self_attn.qkv_proj.query",
    "layers.{}.attention.key": "layers.{}.self_attn.qkv_proj.key",
    "layers.{}.attention.value": "layers.{}.self_attn.qkv_proj.value",
    "layers.{}.mlp.gate": "layers.{}.mlp.gate_up_proj.gate",
    "layers.{}.mlp.up": "layers.{}.mlp.gate_up_proj.up",
}
"""Module path to checkpoint name, for `Phi3Model`."""


def adapt(weights: Mapping[str, Constant], config: Phi3Config) -> Mapping[str, Constant]:
    """Phi-3 keeps query, key and value in one matrix, and the two that an MLP begins with in another."""
    heads = [config.num_attention_heads, config.kv_heads, config.kv_heads]
    apart = split_rows(weights, "qkv_proj", query_key_value([count * config.head_size for count in heads]))
    return split_rows(apart, "gate_up_proj", {"gate": config.mlp_size, "up": config.mlp_size})


FAMILY = Family(
    model_type="phi3",
    config=Phi3Config,
    architectures=decoder_architectures("Phi3", Phi3Model, PHI3_NAMES),
    inputs=("input_ids", "attention_mask"),
    ignored=IGNORED,
    adapt=adapt,
)

_MINI = Phi3Config(32064, 3072, 32, 32, 4096, 8192, sliding_window=2047)
_MEDIUM = Phi3Config(32064, 5120, 40, 40, 4096, 17920, num_key_value_heads=10, sliding_window=2047)

CONFIGS = {  # those extended to longer texts have the same sizes, and factors that come with the checkpoint
    "phi-3-mini-4k": _MINI,
    "phi-3-medium-4k": _MEDIUM,
    "phi-4": replace(
        _MEDIUM, vocab_size=100352, max_position_embeddings=16384, rope_theta=250000.0, sliding_window=None
    ),
}
"""Name to configuration."""
