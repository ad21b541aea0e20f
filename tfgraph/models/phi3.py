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
from tfgraph.dsl.layers.norms import RMSNorm
from tfgraph.dsl.layers.rotary import RotaryPositions
from tfgraph.errors import ConfigError
from tfgraph.ir.constant import Constant
from tfgraph.models.causal_lm import decoder_architectures
from tfgraph.models.decoder import DecoderParts, TextDecoder, decoder_blocks
from tfgraph.models.decoder_config import DecoderConfig
from tfgraph.models.family import Family
from tfgraph.models.fused_weights import query_key_value, split_rows
from tfgraph.models.rotary_settings import DEFAULT, read_rotary_settings, require_positive_number

LONG = ("longrope", "su", "yarn")
"""What Phi-3's releases have called their way of scaling, in the course of time."""


@dataclass(frozen=True)
class Phi3Config(DecoderConfig):
    """The sizes and choices of Phi-3; see `DecoderConfig`.

    Attributes:
        rope_theta: from which the wavelengths of rotary positions are computed.
        partial_rotary_factor: how much of a head they turn.
        short_factors, long_factors: for models that were extended, what wavelengths are multiplied by, for texts up to
            `original_max_position_embeddings` and for longer ones; see `LongRotaryPositions`.
        original_max_position_embeddings: the length before a model was extended.
        extension: how much longer its texts became; the ratio of the two lengths if not given.
        attention_factor: what its sines and cosines are multiplied by; what `extension_scale` says if not given.
        sliding_window: a position attends to the last so many positions, itself included; to all if not given.
    """

    model_type: ClassVar[str] = "phi3"
    aliases: ClassVar[Mapping[str, str]] = {"rms_norm_eps": "norm_eps"}

    hidden_act: str = "silu"
    tie_word_embeddings: bool = False
    rope_theta: float = 10000.0
    partial_rotary_factor: float = 1.0
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()
    original_max_position_embeddings: int = 4096
    extension: float | None = None
    attention_factor: float | None = None
    sliding_window: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(
            sliding_window=self.sliding_window,
            original_max_position_embeddings=self.original_max_position_embeddings,
        )
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
        """What sines and cosines are multiplied by."""
        if self.attention_factor is not None:
            return self.attention_factor
        original = self.original_max_position_embeddings
        return extension_scale(self.extension or self.max_position_embeddings / original, original)

    @classmethod
    def _read_more(cls, given: Mapping[str, Any], source: str) -> dict[str, Any]:
        rotary = read_rotary_settings(given, source, kinds=(DEFAULT, *LONG))
        values: dict[str, Any] = {"rope_theta": rotary.base, "partial_rotary_factor": rotary.fraction}
        return values if rotary.kind == DEFAULT else {**values, **_long_settings(rotary.scaling, given, source)}


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
    outside = given.get(original, Phi3Config.original_max_position_embeddings)
    if scaling.get(original, outside) != outside:
        raise ConfigError(
            f"{source}: '{original}' is {scaling[original]!r} in the settings of rotary positions, and {outside!r} "
            "outside them: expected the same number in both places"
        )
    return values


class Phi3Model(TextDecoder):
    """The decoder: root-mean-square norms, a gated MLP without biases, heads of key and value that may be shared."""

    def __init__(self, config: Phi3Config) -> None:
        super().__init__(
            config,
            decoder_blocks(
                config,
                norm_type="rms",
                gated=True,
                bias=False,
                window=config.sliding_window,
                rotary=_rotary(config),
            ),
            DecoderParts(norm=RMSNorm(config.hidden_size, config.norm_eps)),
        )


def _rotary(config: Phi3Config) -> RotaryPositions | LongRotaryPositions:
    if not config.short_factors:
        return RotaryPositions(
            config.head_size, config.rope_theta, config.max_position_embeddings, rotary_dim=config.rotary_dim
        )
    return LongRotaryPositions(
        config.head_size,
        config.short_factors,
        config.long_factors,
        config.original_max_position_embeddings,
        config.rope_theta,
        config.rotary_scale,
    )


NAMES = {
    "word": "embed_tokens",
    "layers.{}.norm1": "layers.{}.input_layernorm",
    "layers.{}.attention.query": "layers.{}.self_attn.qkv_proj.query",
    "layers.{}.attention.key": "layers.{}.self_attn.qkv_proj.key",
    "layers.{}.attention.value": "layers.{}.self_attn.qkv_proj.value",
    "layers.{}.attention.output": "layers.{}.self_attn.o_proj",
    "layers.{}.norm2": "layers.{}.post_attention_layernorm",
    "layers.{}.mlp.gate": "layers.{}.mlp.gate_up_proj.gate",
    "layers.{}.mlp.up": "layers.{}.mlp.gate_up_proj.up",
    "layers.{}.mlp.down": "layers.{}.mlp.down_proj",
    "norm": "norm",
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
    architectures=decoder_architectures("Phi3", Phi3Model, NAMES),
    inputs=("input_ids", "attention_mask"),
    ignored=("*rotary_emb.inv_freq", "lm_head.weight", "score.*"),
    adapt=adapt,
)

_MINI = Phi3Config(32064, 3072, 32, 32, 4096, 8192, sliding_window=2047)
_MEDIUM = Phi3Config(32064, 5120, 40, 40, 4096, 17920, num_key_value_heads=10, sliding_window=2047)

CONFIGS = {  # those extended to longer texts have the same weights' shapes, and factors that come with a checkpoint
    "phi-3-mini-4k": _MINI,
    "phi-3-medium-4k": _MEDIUM,
    "phi-4": replace(
        _MEDIUM, vocab_size=100352, max_position_embeddings=16384, rope_theta=250000.0, sliding_window=None
    ),
}
"""Name to configuration."""
