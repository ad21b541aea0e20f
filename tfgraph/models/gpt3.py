"""GPT-3: its configuration, its models for each task, and its eight published sizes.

Its weights are not published, so that its checkpoints, where somebody has any, are named as those of GPT-2 are.

Source: Brown et al., "Language Models are Few-Shot Learners", 2020, section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tfgraph.dsl.layers.choices import require_positive
from tfgraph.models.causal_lm import decoder_architectures
from tfgraph.models.decoder import decoder_blocks
from tfgraph.models.family import Family
from tfgraph.models.gpt2 import FAMILY as GPT2
from tfgraph.models.gpt2 import NAMES, GPT2Config, GPT2Model


@dataclass(frozen=True)
class GPT3Config(GPT2Config):
    """GPT-3's sizes and choices; see `DecoderConfig`.

    Attributes:
        window_size: how many positions a layer with locally banded attention sees, the query's own included. The paper
            does not say; 256 is GPT-Neo's.
    """

    model_type: ClassVar[str] = "gpt3"

    window_size: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(window_size=self.window_size)


class GPT3Model(GPT2Model):
    """GPT-2's decoder with dense and locally banded attention in turn, the first layer dense.

    Source of the bands: Child et al., "Generating Long Sequences with Sparse Transformers", 2019; "alternating dense
    and locally banded sparse attention patterns" is all that GPT-3's paper says.
    """

    def __init__(self, config: GPT3Config) -> None:
        windows = [config.window_size if layer % 2 else None for layer in range(config.num_hidden_layers)]
        super().__init__(config, decoder_blocks(config, [{"window": window} for window in windows]))


FAMILY = Family(
    model_type="gpt3",
    config=GPT3Config,
    architectures=decoder_architectures(
        "GPT3", GPT3Model, NAMES, prefix="transformer", lm="LMHeadModel", token_classifier="classifier"
    ),
    inputs=GPT2.inputs,
    ignored=GPT2.ignored,
    adapt=GPT2.adapt,
)


def _published(num_layers: int, hidden_size: int, num_heads: int, head_dim: int) -> GPT3Config:
    return GPT3Config(50257, hidden_size, num_layers, num_heads, 2048, head_dim=head_dim)


CONFIGS = {  # table 2.1, as printed; num_heads * head_dim is not hidden_size in two rows
    "gpt3-125m": _published(12, 768, 12, 64),
    "gpt3-350m": _published(24, 1024, 16, 64),
    "gpt3-760m": _published(24, 1536, 16, 96),
    "gpt3-1.3b": _published(24, 2048, 24, 128),  # 3072, 1.52 billion parameters: 1.32 with 16 heads
    "gpt3-2.7b": _published(32, 2560, 32, 80),
    "gpt3-6.7b": _published(32, 4096, 32, 128),
    "gpt3-13b": _published(40, 5140, 40, 128),  # 5120
    "gpt3-175b": _published(96, 12288, 96, 128),
}
"""Name to configuration."""
