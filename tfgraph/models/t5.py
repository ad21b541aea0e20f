"""T5, its second version, Flan-T5 and mT5: configuration, models for each task, names in checkpoints, published sizes.

Source: Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020; the
second version, with gated MLPs and a matrix of its own for predicting tokens: Shazeer, "GLU Variants Improve
Transformer", 2020, and the authors' release "T5.1.1"; Flan-T5: Chung et al., "Scaling Instruction-Finetuned Language
Models", 2022; mT5: Xue et al., "mT5: A Massively Multilingual Pre-trained Text-to-Text Transformer", 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tfgraph.dsl.layers.blocks import BlockOptions
from tfgraph.dsl.layers.embedding import Embedding
from tfgraph.dsl.layers.norms import RMSNorm
from tfgraph.dsl.layers.position_bias import RelativeBias
from tfgraph.errors import ConfigError
from tfgraph.ir.constant import Constant
from tfgraph.models.config_fields import require_settings
from tfgraph.models.family import Family
from tfgraph.models.names import attention_names
from tfgraph.models.seq2seq import (
    DecoderStack,
    EncoderStack,
    Seq2SeqModel,
    StackParts,
    decoder_blocks,
    encoder_blocks,
)
from tfgraph.models.seq2seq_config import Seq2SeqConfig
from tfgraph.models.seq2seq_lm import Seq2SeqLM, seq2seq_architectures


@dataclass(frozen=True)
class T5Config(Seq2SeqConfig):
    """T5's sizes and choices; see `Seq2SeqConfig`.

    Its positions are distances, so that `max_position_embeddings` is only the length that it was trained with.

    Attributes:
        gated: the MLPs are gated; a `feed_forward_proj` of `gated-gelu` in a `config.json`.
        scale_decoder_outputs: hidden states are multiplied by `hidden_size^-0.5` before tokens are predicted; so they
            are where the matrix is the table of word embeddings, unless it is said otherwise.
        relative_attention_num_buckets, relative_attention_max_distance: of the bias by distances; see `RelativeBias`.
    """

    model_type: ClassVar[str] = "t5"
    aliases: ClassVar[Mapping[str, str]] = {
        "d_model": "hidden_size",
        "d_ff": "intermediate_size",
        "d_kv": "head_dim",
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "n_positions": "max_position_embeddings",
        "layer_norm_epsilon": "norm_eps",
    }

    default_projection: ClassVar[str] = "relu"

    max_position_embeddings: int = 512
    head_dim: int | None = 64
    norm_eps: float = 1e-6
    decoder_start_token_id: int | None = 0
    gated: bool = False
    scale_decoder_outputs: bool | None = None
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128

    @property
    def max_length(self) -> None:
        """There is no longest text."""
        return None

    @property
    def output_scale(self) -> float | None:
        """What hidden states are multiplied by before tokens are predicted."""
        scaled = self.tie_word_embeddings if self.scale_decoder_outputs is None else self.scale_decoder_outputs
        return float(self.hidden_size**-0.5) if scaled else None

    @classmethod
    def _spelled_out(cls, given: Mapping[str, Any], source: str) -> Mapping[str, Any]:
        """`feed_forward_proj` says the activation, and whether the MLP is gated: `relu`, `gated-gelu`."""
        require_settings(given, source, {"is_decoder": False})
        projection = given.get("feed_forward_proj") or cls.default_projection
        gate, _, activation = projection.rpartition("-") if isinstance(projection, str) else ("", "", "")
        if gate not in ("", "gated") or not activation:
            raise ConfigError(
                f"{source}: 'feed_forward_proj' is {projection!r}: expected an activation such as 'relu', with "
                "'gated-' before it for a gated MLP"
            )
        tanh_form = projection == "gated-gelu"
        return {**given, "hidden_act": "gelu_new" if tanh_form else activation, "gated": gate == "gated"}


@dataclass(frozen=True)
class MT5Config(T5Config):
    """mT5's sizes and choices: those of T5's second version; see `T5Config`."""

    model_type: ClassVar[str] = "mt5"
    default_projection: ClassVar[str] = "gated-gelu"

    hidden_act: str = "gelu_new"
    gated: bool = True
    tie_word_embeddings: bool = False
    scale_decoder_outputs: bool | None = False


class T5Model(Seq2SeqModel):
    """Both stacks: blocks that normalise before each part, no biases, scores that are not scaled, a table of distances.

    The table is one for all layers of a stack.
    """

    def __init__(self, config: T5Config) -> None:
        hidden_size = config.hidden_size
        options = BlockOptions(
            norm_type="rms",
            eps=config.norm_eps,
            activation=config.hidden_act,
            gated=config.gated,
            bias=False,
            head_dim=config.head_dim,
            scale=1.0,
        )
        word = Embedding(config.vocab_size, hidden_size)

        def parts(num_heads: int, bidirectional: bool) -> StackParts:
            buckets, farthest = config.relative_attention_num_buckets, config.relative_attention_max_distance
            return StackParts(
                relative_bias=RelativeBias(num_heads, buckets, farthest, bidirectional),
                norm=RMSNorm(hidden_size, config.norm_eps),
            )

        reads, writes = parts(config.num_attention_heads, True), parts(config.decoder_heads, False)
        super().__init__(
            EncoderStack(word, encoder_blocks(config, options), reads),
            DecoderStack(word, decoder_blocks(config, options), writes),
        )


def build_lm(config: T5Config) -> Seq2SeqLM:
    """The model that predicts tokens; its matrix is the table of word embeddings if hidden states are scaled for it."""
    tied = config.tie_word_embeddings and config.output_scale is not None
    return Seq2SeqLM(config, T5Model(config), tied, scale=config.output_scale)


def build_tied_lm(config: T5Config) -> Seq2SeqLM:
    """The same for a checkpoint that has no such matrix of its own."""
    return Seq2SeqLM(config, T5Model(config), tied=True, scale=config.output_scale)


def _stack(stack: str, mlp_index: int) -> dict[str, str]:
    """Names of a stack; in the checkpoint the attentions and the MLP of a block are its layers 0, 1, …"""
    ours, theirs = f"{stack}.layers.{{}}", f"{stack}.block.{{}}.layer"
    mlp = f"{theirs}.{mlp_index}"
    return {
        f"{stack}.relative_bias": f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias",
        f"{ours}.norm1": f"{theirs}.0.layer_norm",
        **attention_names(f"{ours}.attention", f"{theirs}.0.SelfAttention", *"qkvo"),
        f"{ours}.norm2": f"{mlp}.layer_norm",
        f"{ours}.mlp.gate": f"{mlp}.DenseReluDense.wi_0",
        f"{ours}.mlp.up": f"{mlp}.DenseReluDense.wi",
        f"{ours}.mlp.down": f"{mlp}.DenseReluDense.wo",
        f"{stack}.norm": f"{stack}.final_layer_norm",
    }


NAMES = {
    "encoder.word": "shared",
    **_stack("encoder", 1),
    **_stack("decoder", 2),
    "decoder.layers.{}.cross_norm": "decoder.block.{}.layer.1.layer_norm",
    **attention_names("decoder.layers.{}.cross_attention", "decoder.block.{}.layer.1.EncDecAttention", *"qkvo"),
}
"""Module path to checkpoint name, for `T5Model`."""


def adapt(weights: Mapping[str, Constant], config: T5Config) -> Mapping[str, Constant]:
    """What is multiplied by the gate is called `wi_1`, and without a gate `wi`: `wi` here."""
    return {name.replace(".DenseReluDense.wi_1.", ".DenseReluDense.wi."): weights[name] for name in weights}


def _family(stem: str, config: type[T5Config]) -> Family:
    return Family(
        model_type=config.model_type,
        config=config,
        architectures=seq2seq_architectures(
            stem, T5Model, build_lm, NAMES,
            encoder="EncoderModel", optional="lm_head", build_lm_without=build_tied_lm,
        ),
        inputs=("input_ids", "attention_mask"),
        ignored=("lm_head.weight", "*.embed_tokens.weight", "decoder.*"),
        aliases={f"{stack}.embed_tokens.weight": "shared.weight" for stack in ("encoder", "decoder")},
        adapt=adapt,
    )  # fmt: skip


FAMILY = _family("T5", T5Config)
MT5 = _family("MT5", MT5Config)


def _published(
    hidden_size: int, intermediate_size: int, num_layers: int, num_heads: int, head_dim: int = 64
) -> T5Config:
    return T5Config(32128, hidden_size, num_layers, num_heads, intermediate_size, head_dim=head_dim)


_SIZES_OF_SECOND = {  # hidden size, layers of each stack, heads, features inside the MLP
    "small": (512, 8, 6, 1024),
    "base": (768, 12, 12, 2048),
    "large": (1024, 24, 16, 2816),
    "xl": (2048, 24, 32, 5120),
    "xxl": (4096, 24, 64, 10240),
}

_SECOND = {
    size: T5Config(32128, *numbers, hidden_act="gelu_new", gated=True, tie_word_embeddings=False)
    for size, numbers in _SIZES_OF_SECOND.items()
}

CONFIGS = {
    # Raffel et al., sections 2.1 and 3.7
    "t5-small": _published(512, 2048, 6, 8),
    "t5-base": _published(768, 3072, 12, 12),
    "t5-large": _published(1024, 4096, 24, 16),
    "t5-3b": _published(1024, 16384, 24, 32, head_dim=128),
    "t5-11b": _published(1024, 65536, 24, 128, head_dim=128),
    **{f"t5-v1.1-{size}": config for size, config in _SECOND.items()},
    **{f"flan-t5-{size}": config for size, config in _SECOND.items()},
    **{f"mt5-{size}": MT5Config(250112, *numbers) for size, numbers in _SIZES_OF_SECOND.items()},
}
"""Name to configuration."""
