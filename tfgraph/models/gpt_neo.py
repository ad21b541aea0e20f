"""GPT-Neo: its configuration, its models for each task, names of parameters in checkpoints, and its published sizes.

Source: Black et al., "GPT-Neo: Large Scale Autoregressive Language Modeling with Mesh-Tensorflow", 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from tfgraph.dsl.layers.choices import require_positive
from tfgraph.errors import ConfigError
from tfgraph.models.causal_lm import decoder_architectures
from tfgraph.models.decoder import decoder_blocks
from tfgraph.models.decoder_config import DecoderConfig
from tfgraph.models.family import Family
from tfgraph.models.gpt2 import NAMES as GPT2_NAMES
from tfgraph.models.gpt2 import GPT2Model

GLOBAL, LOCAL = "global", "local"


@dataclass(frozen=True)
class GPTNeoConfig(DecoderConfig):
    """GPT-Neo's sizes and choices; see `DecoderConfig`.

    Attributes:
        window_size: how many positions a layer with local attention sees, the query's own included.
        attention_layers: "global" or "local" for each layer; the two in turn if not given.
    """

    model_type: ClassVar[str] = "gpt_neo"
    aliases: ClassVar[Mapping[str, str]] = {
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "activation_function": "hidden_act",
        "layer_norm_epsilon": "norm_eps",
    }

    window_size: int = 256
    attention_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(window_size=self.window_size)
        kinds = self.attention_layers
        if kinds and (len(kinds) != self.num_hidden_layers or not {GLOBAL, LOCAL}.issuperset(kinds)):
            raise ConfigError(
                f"attention_layers is {list(kinds)}: expected '{GLOBAL}' or '{LOCAL}' for each of the "
                f"{self.num_hidden_layers} layers"
            )

    def window(self, layer: int) -> int | None:
        """How many positions the layer sees; None for all."""
        kind = self.attention_layers[layer] if self.attention_layers else (GLOBAL, LOCAL)[layer % 2]
        return self.window_size if kind == LOCAL else None

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], source: str = "config.json") -> Self:
        """As for any decoder; `attention_types` is a list of kinds of layers, each with how often they repeat.

        Raises:
            ConfigError: also for `attention_types` that is no such list, or not one for the number of layers.
        """
        config = super().from_dict(given, source)
        types = given.get("attention_types")
        if types is None:
            return config
        try:
            return replace(config, attention_layers=_repeated(types))
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None


def _repeated(types: object) -> tuple[str, ...]:
    """`[[["global", "local"], 2]]` -> `("global", "local", "global", "local")`."""
    layers: list[str] = []
    for item in types if isinstance(types, list) and types else [types]:
        match item:
            case [list(kinds), int(times)] if all(isinstance(kind, str) for kind in kinds):
                layers += kinds * times
            case _:
                raise ConfigError(
                    f"'attention_types' is {types!r}: expected a list such as [[['{GLOBAL}', '{LOCAL}'], 12]]"
                )
    return tuple(layers)


class GPTNeoModel(GPT2Model):
    """GPT-2's decoder with local attention in some layers, unscaled scores, and no biases on query, key and value."""

    def __init__(self, config: GPTNeoConfig) -> None:
        by_layer = [{"window": config.window(layer)} for layer in range(config.num_hidden_layers)]
        layers = decoder_blocks(config, by_layer, bias=False, out_bias=True, mlp_bias=True, scale=1.0)
        super().__init__(config, layers)


NAMES = {
    **GPT2_NAMES,
    "layers.{}.attention.query": "h.{}.attn.attention.q_proj",
    "layers.{}.attention.key": "h.{}.attn.attention.k_proj",
    "layers.{}.attention.value": "h.{}.attn.attention.v_proj",
    "layers.{}.attention.output": "h.{}.attn.attention.out_proj",
}
"""Module path to checkpoint name, for `GPTNeoModel`."""

FAMILY = Family(
    model_type="gpt_neo",
    config=GPTNeoConfig,
    architectures=decoder_architectures(
        "GPTNeo", GPTNeoModel, NAMES, prefix="transformer", token_classifier="classifier"
    ),
    inputs=("input_ids", "attention_mask"),
    ignored=(
        "*attn.attention.bias", "*attn.attention.masked_bias", "lm_head.weight", "score.*", "classifier.*",
        "qa_outputs.*",
    ),
)  # fmt: skip

CONFIGS = {
    "gpt-neo-125m": GPTNeoConfig(50257, 768, 12, 12, 2048),
    "gpt-neo-1.3b": GPTNeoConfig(50257, 2048, 24, 16, 2048),
    "gpt-neo-2.7b": GPTNeoConfig(50257, 2560, 32, 20, 2048),
}
"""Name to configuration."""
