"""Mixtral: its configuration, its models for each task, names of parameters in checkpoints, and its published sizes.

Source: Jiang et al., "Mixtral of Experts", 2024, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from tfgraph.dsl.layers.moe import ExpertOptions
from tfgraph.ir.constant import Constant
from tfgraph.models.fused_weights import split_experts
from tfgraph.models.rotary_decoder import NAMES, RotaryDecoder, RotaryDecoderConfig, rotary_family


@dataclass(frozen=True)
class MixtralConfig(RotaryDecoderConfig):
    """Mixtral's sizes and choices; see `RotaryDecoderConfig`.

    Attributes:
        num_local_experts: MLPs of a layer.
        num_experts_per_tok: how many of them each token is given to.
    """

    model_type: ClassVar[str] = "mixtral"

    norm_eps: float = 1e-5
    rope_theta: float = 1000000.0
    num_local_experts: int = 8
    num_experts_per_tok: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        ExpertOptions(self.num_local_experts, self.num_experts_per_tok)  # refuses numbers that cannot be

    @property
    def experts(self) -> ExpertOptions:
        """How the experts of a layer are chosen."""
        return ExpertOptions(self.num_local_experts, self.num_experts_per_tok)


class MixtralModel(RotaryDecoder):
    """The decoder: Mistral's, with a mixture of experts for an MLP."""

    def __init__(self, config: MixtralConfig) -> None:
        super().__init__(config, experts=config.experts)


_EXPERTS = "block_sparse_moe.experts"

MIXTRAL_NAMES = {
    **{ours: theirs for ours, theirs in NAMES.items() if ".mlp." not in ours},
    "layers.{}.mlp.router": "layers.{}.block_sparse_moe.gate",
    "layers.{}.mlp.experts.{}.gate": f"layers.{{}}.{_EXPERTS}.{{}}.w1",
    "layers.{}.mlp.experts.{}.up": f"layers.{{}}.{_EXPERTS}.{{}}.w3",
    "layers.{}.mlp.experts.{}.down": f"layers.{{}}.{_EXPERTS}.{{}}.w2",
}
"""Module path to checkpoint name, for `MixtralModel`."""


def adapt(weights: Mapping[str, Constant], config: MixtralConfig) -> Mapping[str, Constant]:
    """transformers 5 has all experts of a layer in two tensors, and other names for them."""
    named = {name.replace(".mlp.gate.", ".block_sparse_moe.gate."): each for name, each in weights.items()}
    gate_up = {f"{_EXPERTS}.{{}}.w1": config.mlp_size, f"{_EXPERTS}.{{}}.w3": config.mlp_size}
    apart = split_experts(named, "mlp.experts.gate_up_proj", config.num_local_experts, gate_up)
    down = {f"{_EXPERTS}.{{}}.w2": config.hidden_size}
    return split_experts(apart, "mlp.experts.down_proj", config.num_local_experts, down)


FAMILY = replace(rotary_family("Mixtral", MixtralConfig, MixtralModel, MIXTRAL_NAMES), adapt=adapt)

CONFIGS = {
    # Jiang et al., 2024, table 1, and the release of April 2024
    "mixtral-8x7b": MixtralConfig(32000, 4096, 32, 32, 32768, 14336, 8),
    "mixtral-8x22b": MixtralConfig(32000, 6144, 56, 48, 65536, 16384, 8),
}
"""Name to configuration."""
