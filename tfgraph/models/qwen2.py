"""Qwen2 and Qwen2.5: configuration, models for each task, and published sizes.

Source: Yang et al., "Qwen2 Technical Report", 2024, section 2.2; Yang et al., "Qwen2.5 Technical Report", 2024.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tfgraph.models.rotary_decoder import FULL, SLIDING, RotaryDecoder, RotaryDecoderConfig, rotary_family


@dataclass(frozen=True)
class WindowedQwenConfig(RotaryDecoderConfig):
    """What the configurations of Qwen2 and Qwen3 share; see `RotaryDecoderConfig`.

    There is a window with `use_sliding_window` alone.

    Attributes:
        max_window_layers: how many layers attend to all positions, the first ones, where there is a window.
    """

    usual_window: ClassVar[int | None] = 4096

    max_window_layers: int = 28

    def _usual_kinds(self) -> tuple[str, ...]:
        if self.sliding_window is None:
            return (FULL,) * self.num_hidden_layers
        return tuple(FULL if index < self.max_window_layers else SLIDING for index in range(self.num_hidden_layers))

    @classmethod
    def _read_more(cls, given: Mapping[str, Any], source: str) -> dict[str, Any]:
        values = super()._read_more(given, source)
        if not given.get("use_sliding_window"):
            values["sliding_window"] = None
        return values


@dataclass(frozen=True)
class Qwen2Config(WindowedQwenConfig):
    """Qwen2's sizes and choices; see `WindowedQwenConfig`."""

    model_type: ClassVar[str] = "qwen2"


class Qwen2Model(RotaryDecoder):
    """The decoder: LLaMA's, with a bias for query, key and value."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__(config, bias=True, out_bias=False)


FAMILY = rotary_family("Qwen2", Qwen2Config, Qwen2Model)


def _qwen2(
    sizes: tuple[int, int, int, int], kv_heads: int, positions: int = 131072, *,
    tied: bool = False, norm_eps: float = 1e-6,
) -> Qwen2Config:  # fmt: skip
    """`sizes` are hidden size, layers, heads and the size inside the MLP. The large ones' vocabulary is padded."""
    hidden_size, layers, heads, intermediate_size = sizes
    return Qwen2Config(
        151936 if tied else 152064, hidden_size, layers, heads, positions, intermediate_size, kv_heads,
        norm_eps=norm_eps, rope_theta=1000000.0, tie_word_embeddings=tied,
    )  # fmt: skip


_HALF, _ONE_AND_A_HALF, _SEVEN = (896, 24, 14, 4864), (1536, 28, 12, 8960), (3584, 28, 28, 18944)
_LARGEST = _qwen2((8192, 80, 64, 29568), 8, norm_eps=1e-5)

CONFIGS = {
    # Yang et al., "Qwen2 Technical Report", 2024, table 1
    "qwen2-0.5b": _qwen2(_HALF, 2, tied=True),
    "qwen2-1.5b": _qwen2(_ONE_AND_A_HALF, 2, tied=True),
    "qwen2-7b": _qwen2(_SEVEN, 4),
    "qwen2-72b": _LARGEST,
    # Yang et al., "Qwen2.5 Technical Report", 2024, table 1
    "qwen2.5-0.5b": _qwen2(_HALF, 2, 32768, tied=True),
    "qwen2.5-1.5b": _qwen2(_ONE_AND_A_HALF, 2, tied=True),
    "qwen2.5-3b": _qwen2((2048, 36, 16, 11008), 2, 32768, tied=True),
    "qwen2.5-7b": _qwen2(_SEVEN, 4),
    "qwen2.5-14b": _qwen2((5120, 48, 40, 13824), 8, norm_eps=1e-5),
    "qwen2.5-32b": _qwen2((5120, 64, 40, 27648), 8, norm_eps=1e-5),
    "qwen2.5-72b": _LARGEST,
}
"""Name to configuration."""
