"""BART: its configuration, its models for each task, what their parameters are called in checkpoints, published sizes.

Source: Lewis et al., "BART: Denoising Sequence-to-Sequence Pre-training for Natural Language Generation, Translation,
and Comprehension", 2019.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tfgraph.dsl import functional as F
from tfgraph.dsl.layers.blocks import BlockOptions
from tfgraph.dsl.layers.embedding import Embedding
from tfgraph.dsl.layers.linear import Linear
from tfgraph.dsl.layers.norms import LayerNorm
from tfgraph.dsl.layers.positions import LearnedPositions
from tfgraph.dsl.module import Module
from tfgraph.dsl.tensor import Tensor
from tfgraph.errors import ConfigError
from tfgraph.ir.constant import Constant
from tfgraph.ir.transforms import reshaped
from tfgraph.models.causal_lm import at_last_token
from tfgraph.models.config_fields import require_settings
from tfgraph.models.family import Architecture, Family
from tfgraph.models.names import attention_names, below
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

POSITION_OFFSET = 2
"""The row of the tables of positions that position 0 is."""

_EPS = 1e-5
_NUM_LABELS = 3  # of a classifier whose configuration says nothing: entailment


@dataclass(frozen=True)
class BartConfig(Seq2SeqConfig):
    """BART's sizes and choices; see `Seq2SeqConfig`.

    Attributes:
        scale_embedding: embeddings are multiplied by `sqrt(hidden_size)`.
        eos_token_id: the token that a text ends with, where a classifier reads it.
    """

    model_type: ClassVar[str] = "bart"
    aliases: ClassVar[Mapping[str, str]] = {
        "d_model": "hidden_size",
        "encoder_layers": "num_hidden_layers",
        "encoder_attention_heads": "num_attention_heads",
        "encoder_ffn_dim": "intermediate_size",
        "decoder_layers": "num_decoder_layers",
        "decoder_attention_heads": "num_decoder_heads",
        "decoder_ffn_dim": "decoder_intermediate_size",
        "activation_function": "hidden_act",
    }

    hidden_act: str = "gelu"
    decoder_start_token_id: int | None = 2
    scale_embedding: bool = False
    eos_token_id: int = 2

    @property
    def embedding_scale(self) -> float | None:
        """What embeddings are multiplied by."""
        return math.sqrt(self.hidden_size) if self.scale_embedding else None

    @classmethod
    def _spelled_out(cls, given: Mapping[str, Any], source: str) -> Mapping[str, Any]:
        built = {
            "is_decoder": False,
            "normalize_before": False,
            "normalize_embedding": True,
            "add_final_layer_norm": False,
            "static_position_embeddings": False,
            "extra_pos_embeddings": POSITION_OFFSET,
        }
        require_settings(given, source, built)
        return given if "id2label" in given else {"num_labels": _NUM_LABELS, **given}


class BartModel(Seq2SeqModel):
    """Both stacks: learned positions, normalised embeddings, blocks that normalise after their residual sums."""

    def __init__(self, config: BartConfig) -> None:
        hidden_size = config.hidden_size
        options = BlockOptions(norm="post", eps=_EPS, activation=config.hidden_act)
        word = Embedding(config.vocab_size, hidden_size)

        def parts() -> StackParts:
            return StackParts(
                embedding_scale=config.embedding_scale,
                position=LearnedPositions(config.max_position_embeddings, hidden_size, POSITION_OFFSET),
                embedding_norm=LayerNorm(hidden_size, _EPS),
            )

        super().__init__(
            EncoderStack(word, encoder_blocks(config, options), parts()),
            DecoderStack(word, decoder_blocks(config, options), parts()),
        )


class BartClassifier(Module):
    """Scores for each label, from the decoder's hidden state at a text's end: `output(tanh(dense(h_eos)))`.

    The decoder is given the text itself, moved on by one place behind its start token.
    """

    def __init__(self, config: BartConfig) -> None:
        if config.decoder_start_token_id is None:
            raise ConfigError("decoder_start_token_id is None: the classifier's decoder begins with it, such as 2")
        self.base = BartModel(config)
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.output = Linear(config.hidden_size, config.num_labels)
        self.start_token, self.end_token = config.decoder_start_token_id, config.eos_token_id

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> dict[str, Tensor]:
        """Ids [B, S] -> `logits` [B, labels]; a text without an end is read at its first token."""
        places = F.arange(0, input_ids.shape[1])
        before = F.gather(input_ids, F.maximum(places - 1, 0), axis=1)  # [B, S]
        moved = F.where(F.equal(places, 0), self.start_token, before)
        hidden_state = self.base(input_ids, attention_mask, moved)["last_hidden_state"]
        at_end = at_last_token(hidden_state, F.cast(F.equal(input_ids, self.end_token), "int64"))  # [B, H]
        return {"logits": self.output(F.tanh(self.dense(at_end)))}


def build_lm(config: BartConfig) -> Seq2SeqLM:
    """The model that predicts tokens."""
    return Seq2SeqLM(config, BartModel(config), config.tie_word_embeddings)


def build_biased_lm(config: BartConfig) -> Seq2SeqLM:
    """The same with a bias of their scores; checkpoints have one, mostly of zeros, which nobody counts or trains."""
    return Seq2SeqLM(config, BartModel(config), config.tie_word_embeddings, bias=True)


_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")


def _stack(stack: str) -> dict[str, str]:
    layer = f"{stack}.layers.{{}}"
    return {
        f"{stack}.position": f"{stack}.embed_positions",
        f"{stack}.embedding_norm": f"{stack}.layernorm_embedding",
        **attention_names(f"{layer}.attention", f"{layer}.self_attn", *_PROJECTIONS),
        f"{layer}.norm1": f"{layer}.self_attn_layer_norm",
        f"{layer}.mlp.up": f"{layer}.fc1",
        f"{layer}.mlp.down": f"{layer}.fc2",
        f"{layer}.norm2": f"{layer}.final_layer_norm",
    }


NAMES = {
    "encoder.word": "shared",
    **_stack("encoder"),
    **_stack("decoder"),
    "decoder.layers.{}.cross_norm": "decoder.layers.{}.encoder_attn_layer_norm",
    **attention_names("decoder.layers.{}.cross_attention", "decoder.layers.{}.encoder_attn", *_PROJECTIONS),
}
"""Module path to checkpoint name, for `BartModel`."""


def adapt(weights: Mapping[str, Constant], config: BartConfig) -> Mapping[str, Constant]:
    """The bias of the scores is a row, `final_logits_bias`."""
    result = dict(weights)
    bias = result.pop("final_logits_bias", None)
    if bias is not None:
        result["lm_head.bias"] = reshaped(bias, (bias.size,))
    return result


def _aliases() -> dict[str, str]:
    """The table of word embeddings, by the other names that it was saved under."""
    tables = [f"{stack}.embed_tokens.weight" for stack in ("encoder", "decoder")]
    stacks = {f"{prefix}{table}": f"{prefix}shared.weight" for prefix in ("", "model.") for table in tables}
    return {**stacks, "lm_head.weight": "model.shared.weight"}


FAMILY = Family(
    model_type="bart",
    config=BartConfig,
    architectures=(
        *seq2seq_architectures(
            "Bart", BartModel, build_lm, NAMES,
            prefix="model", optional="lm_head.bias", build_lm_with=build_biased_lm,
        ),
        Architecture(
            "BartForSequenceClassification",
            "sequence-classification",
            BartClassifier,
            {
                **below(NAMES, "base", "model"),
                "dense": "classification_head.dense",
                "output": "classification_head.out_proj",
            },
        ),
    ),
    inputs=("input_ids", "attention_mask"),
    ignored=("lm_head.*", "*.embed_tokens.weight", "classification_head.*", "encoder.version", "decoder.*"),
    aliases=_aliases(),
    adapt=adapt,
)  # fmt: skip


def _published(hidden_size: int, num_layers: int, num_heads: int, vocab_size: int = 50265) -> BartConfig:
    return BartConfig(vocab_size, hidden_size, num_layers, num_heads, 4 * hidden_size, 1024)


CONFIGS = {
    "bart-base": _published(768, 6, 12),
    "bart-large": _published(1024, 12, 16),
    "bart-large-mnli": _published(1024, 12, 16),
    "bart-large-cnn": _published(1024, 12, 16, vocab_size=50264),
}
"""Name to configuration."""
