"""What LLaMA and the families after it have in common: rotary positions, root-mean-square norms, a gated MLP.

Each family's file says what its own settings are and in what its blocks differ; the rest of the decoder is in
`decoder.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tfgraph.dsl.layers.choices import require_positive
from tfgraph.dsl.layers.long_rotary import LongRotaryPositions
from tfgraph.dsl.layers.norms import make_norm
from tfgraph.dsl.layers.rotary import RotaryPositions
from tfgraph.dsl.layers.rotary_scaling import RotaryScaling
from tfgraph.errors import ConfigError
from tfgraph.models.causal_lm import CausalLM, decoder_architectures
from tfgraph.models.config_fields import read_nullable
from tfgraph.models.decoder import DecoderParts, TextDecoder, decoder_blocks
from tfgraph.models.decoder_config import DecoderConfig
from tfgraph.models.family import Family
from tfgraph.models.rotary_scalings import SCALINGS, read_scaling
from tfgraph.models.rotary_settings import RotarySettings, read_rotary_settings

FULL, SLIDING = "full_attention", "sliding_attention"
"""What a layer's queries attend to: all before them, or the last `sliding_window`."""


@dataclass(frozen=True)
class RotaryDecoderConfig(DecoderConfig):
    """The sizes and choices of LLaMA and its like; see `DecoderConfig`.

    Attributes:
        rope_theta: from which the wavelengths of rotary positions are computed.
        rope_scaling: a rule that stretches them beyond the lengths first trained with.
        attention_bias: whether the projections of attention have a bias.
        sliding_window: how many positions, itself included, a position of a sliding layer attends to.
        layer_types: `FULL` or `SLIDING` for each layer. If not given, all are sliding where there is a window, unless
            the family says otherwise.

    Raises:
        ConfigError: as `DecoderConfig`; `layer_types` of another length, or with another name; sliding layers and no
            window; a `rope_theta` that is not above 0.
    """

    aliases: ClassVar[Mapping[str, str]] = {"rms_norm_eps": "norm_eps"}
    usual_window: ClassVar[int | None] = None
    """The `sliding_window` of a configuration that does not have the setting."""

    hidden_act: str = "silu"
    norm_eps: float = 1e-6
    tie_word_embeddings: bool = False
    rope_theta: float = 10000.0
    rope_scaling: RotaryScaling | None = None
    attention_bias: bool = False
    sliding_window: int | None = None
    layer_types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(sliding_window=self.sliding_window)
        if not self.rope_theta > 0:
            raise ConfigError(f"rope_theta is {self.rope_theta}: expected a number above 0")
        if len(self.layer_kinds) != self.num_hidden_layers:
            raise ConfigError(
                f"layer_types has {len(self.layer_types)} names: expected {self.num_hidden_layers}, one for each layer"
            )
        unknown = [kind for kind in self.layer_kinds if kind not in (FULL, SLIDING)]
        if unknown:
            raise ConfigError(f"layer_types has {unknown[0]!r}: expected {FULL!r} or {SLIDING!r}")
        if SLIDING in self.layer_kinds and self.sliding_window is None:
            raise ConfigError(f"layer_types has {SLIDING!r} and sliding_window is None: expected a number of positions")

    @property
    def layer_kinds(self) -> tuple[str, ...]:
        """`FULL` or `SLIDING` for each layer."""
        return self.layer_types or self._usual_kinds()

    def _usual_kinds(self) -> tuple[str, ...]:
        """What the layers are where `layer_types` is not given."""
        return (FULL if self.sliding_window is None else SLIDING,) * self.num_hidden_layers

    def rotary_positions(self) -> Mapping[str, RotaryPositions | LongRotaryPositions]:
        """The rotations of each kind of layer."""
        return dict.fromkeys((FULL, SLIDING), self.make_rotary(self.rope_theta, self.rope_scaling))

    def make_rotary(self, base: float, scaling: RotaryScaling | None) -> RotaryPositions:
        """Rotations of whole heads, for all positions."""
        return RotaryPositions(self.head_size, base, self.max_position_embeddings, scaling=scaling)

    @classmethod
    def _read_more(cls, given: Mapping[str, Any], source: str) -> dict[str, Any]:
        rotary = read_rotary_settings(given, source, base=cls.rope_theta, kinds=SCALINGS)
        require_whole_heads(rotary, source)
        return {
            "rope_theta": rotary.base,
            "rope_scaling": read_scaling(rotary, given, source),
            "sliding_window": read_nullable(given, source, "sliding_window", int, cls.usual_window),
            "layer_types": _read_layer_types(given, source),
        }


def require_whole_heads(rotary: RotarySettings, source: str) -> None:
    """Refuse rotations of a part of each head.

    Raises:
        ConfigError: naming the setting.
    """
    if rotary.fraction != 1:
        raise ConfigError(
            f"{source}: 'partial_rotary_factor' is {rotary.fraction:g}: for this family, only rotary positions "
            "that turn whole heads are built here"
        )


def _read_layer_types(given: Mapping[str, Any], source: str) -> tuple[str, ...]:
    names = given.get("layer_types")
    if names is None:
        return ()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"{source}: 'layer_types' is {names!r}: expected a list with {FULL!r} or {SLIDING!r} for each layer"
        )
    return tuple(names)


class RotaryDecoder(TextDecoder):
    """The decoder: normalised before attention and MLP, and at the end.

    Args:
        norm_type: one of `norms.NORMS`.
        embedding_scale: what embeddings are multiplied by.
        particular: what else the family's blocks are like, by the names of `BlockOptions`.

    Source: Touvron et al., "LLaMA: Open and Efficient Foundation Language Models", 2023, section 2.2.
    """

    def __init__(
        self,
        config: RotaryDecoderConfig,
        norm_type: str = "rms",
        embedding_scale: float | None = None,
        **particular: Any,
    ) -> None:
        rotary = config.rotary_positions()
        options: dict[str, Any] = {"gated": True, "bias": config.attention_bias, "mlp_bias": False, **particular}
        by_layer = [
            {"rotary": rotary[kind], "window": config.sliding_window if kind == SLIDING else None}
            for kind in config.layer_kinds
        ]
        super().__init__(
            config,
            decoder_blocks(config, by_layer, norm_type=norm_type, **options),
            DecoderParts(
                embedding_scale=embedding_scale, norm=make_norm(norm_type, config.hidden_size, config.norm_eps)
            ),
        )


NAMES = {
    "word": "embed_tokens",
    "layers.{}.norm1": "layers.{}.input_layernorm",
    "layers.{}.attention.query": "layers.{}.self_attn.q_proj",
    "layers.{}.attention.key": "layers.{}.self_attn.k_proj",
    "layers.{}.attention.value": "layers.{}.self_attn.v_proj",
    "layers.{}.attention.output": "layers.{}.self_attn.o_proj",
    "layers.{}.norm2": "layers.{}.post_attention_layernorm",
    "layers.{}.mlp.gate": "layers.{}.mlp.gate_proj",
    "layers.{}.mlp.up": "layers.{}.mlp.up_proj",
    "layers.{}.mlp.down": "layers.{}.mlp.down_proj",
    "norm": "norm",
}
"""Module path to checkpoint name, for a `RotaryDecoder`."""

QUERY_KEY_NORM_NAMES = {
    "layers.{}.attention.query_norm": "layers.{}.self_attn.q_norm",
    "layers.{}.attention.key_norm": "layers.{}.self_attn.k_norm",
}
"""The same for normalised queries and keys."""

IGNORED = ("*rotary_emb.inv_freq", "lm_head.weight", "score.*")
"""Tensors that checkpoints may hold beside what a model uses: frequencies, another task's head, a tied one."""


def rotary_family(
    stem: str,
    config: type[RotaryDecoderConfig],
    build: Callable[[Any], RotaryDecoder],
    names: Mapping[str, str] = NAMES,
    build_lm: Callable[[Any, TextDecoder], CausalLM] = CausalLM,
) -> Family:
    """The family of a decoder whose Hugging Face classes begin with `stem`; see `decoder_architectures`."""
    return Family(
        model_type=config.model_type,
        config=config,
        architectures=decoder_architectures(stem, build, names, build_lm=build_lm),
        inputs=("input_ids", "attention_mask"),
        ignored=IGNORED,
    )
