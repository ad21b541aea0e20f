"""What encoder-decoders are used for: scoring a given answer, and writing one, token by token.

Writing takes two graphs. `ContextEncoder` runs once for a text: it gives the keys and values that each layer of the
decoder attends to. `CachedDecoder` runs once for each token of the answer: it takes them and the cache of what has been
written. `seq2seq_architectures` makes the list of a family's models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tfgraph.dsl.layers.linear import Linear
from tfgraph.dsl.module import Module, ModuleList, Parameter
from tfgraph.dsl.tensor import Tensor
from tfgraph.dsl.trace import spec
from tfgraph.models.decoder import Cache
from tfgraph.models.family import ENCODER, SEQ2SEQ_LM, TEXT_GENERATION, Architecture, Part
from tfgraph.models.names import below
from tfgraph.models.seq2seq import DecoderStack, EncoderStack, Seq2SeqModel
from tfgraph.models.seq2seq_config import Seq2SeqConfig


class TokenScores(Module):
    """A score for each token of the vocabulary: `linear(scale h)`, [..., H] -> [..., vocab].

    Args:
        config: sizes.
        word_table: the table of word embeddings, if it is to be the matrix of the scores as well.
        bias: whether the scores have a bias (BART).
        scale: what hidden states are multiplied by (T5, before the table of word embeddings).
    """

    def __init__(self, config: Seq2SeqConfig, word_table: Parameter | None, bias: bool, scale: float | None) -> None:
        self.linear = Linear(config.hidden_size, config.vocab_size, bias)
        if word_table is not None:
            self.linear.weight = word_table
        self.scale = scale

    def forward(self, hidden_state: Tensor) -> Tensor:
        """[..., H] -> [..., vocab]."""
        scores: Tensor = self.linear(hidden_state if self.scale is None else hidden_state * self.scale)
        return scores


class Seq2SeqLM(Module):
    """A score for each token of the vocabulary to be the next one of the answer.

    `tied` makes the table of word embeddings the matrix of the scores; `bias` and `scale` are those of `TokenScores`.
    """

    def __init__(
        self, config: Seq2SeqConfig, base: Seq2SeqModel, tied: bool, bias: bool = False, scale: float | None = None
    ) -> None:
        self.base = base
        self.head = TokenScores(config, base.encoder.word.weight if tied else None, bias, scale)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        decoder_input_ids: Tensor,
        decoder_attention_mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Ids [B, S] of the text and [B, T] of the answer, with their masks -> `logits` [B, T, vocab]."""
        outputs = self.base(input_ids, attention_mask, decoder_input_ids, decoder_attention_mask)
        return {"logits": self.head(outputs["last_hidden_state"])}


class ContextEncoder(Module):
    """A text to the keys and values that the decoder attends to, made once for all tokens of an answer."""

    def __init__(self, encoder: EncoderStack, decoder: DecoderStack) -> None:
        self.encoder = encoder
        self.cross = ModuleList(layer.cross_attention for layer in decoder.layers if layer.cross_attention is not None)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> dict[str, Any]:
        """Ids [B, S] -> for each layer of the decoder, `cross.{i}.key` and `cross.{i}.value`, [B, heads, S, D]."""
        context = self.encoder(input_ids, attention_mask)
        projected = [attention.project_context(context) for attention in self.cross]
        return {"cross": [{"key": key, "value": value} for key, value in projected]}


class CachedDecoder(Module):
    """The next tokens of an answer, and the cache of all so far, to the scores of the token after them."""

    def __init__(self, decoder: DecoderStack, head: TokenScores) -> None:
        self.decoder = decoder
        self.head = head

    def forward(
        self, input_ids: Tensor, encoder_attention_mask: Tensor, past_key_values: Cache, cross: Cache
    ) -> dict[str, Any]:
        """Ids [B, T] -> `logits` [B, vocab], those after the last token alone, and `present`, the cache for next time.

        `encoder_attention_mask` [B, S] says which positions of the text are tokens, `cross` is what `ContextEncoder`
        made of it; `past_key_values` are of length 0 in the beginning.
        """
        context = [(layer["key"], layer["value"]) for layer in cross]
        hidden_state, present = self.decoder(
            input_ids, context, encoder_attention_mask, past_key_values=past_key_values
        )
        return {"logits": self.head(hidden_state[:, -1]), "present": present}


class EncoderOnly(Module):
    """An encoder alone."""

    def __init__(self, encoder: EncoderStack) -> None:
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> dict[str, Tensor]:
        """Ids [B, S] -> `last_hidden_state` [B, S, H]."""
        return {"last_hidden_state": self.encoder(input_ids, attention_mask)}


def text_specs(*names: str, length: str = "seq") -> dict[str, Any]:
    """Inputs of int64 [batch, length]."""
    return {name: spec("int64", ["batch", length]) for name in names}


def paired_inputs(config: Seq2SeqConfig, dtype: object = "float32") -> dict[str, Any]:
    """The inputs of a model that is given both the text and the answer."""
    target = text_specs("decoder_input_ids", "decoder_attention_mask", length="decoder_seq")
    return {**text_specs("input_ids", "attention_mask"), **target}


def generation_parts(model: Seq2SeqLM, config: Seq2SeqConfig, dtype: object = "float32") -> dict[str, Part]:
    """The two graphs that write an answer, made of the weights of `model`; `dtype` is that of the cache."""
    sizes = (config.decoder_heads, config.decoder_head_size)
    past = spec(dtype, ["batch", sizes[0], "past", sizes[1]])
    cross = spec(dtype, ["batch", sizes[0], "encoder_seq", sizes[1]])
    layers = range(config.decoder_layers)
    decoder_inputs = {
        **text_specs("input_ids"),
        **text_specs("encoder_attention_mask", length="encoder_seq"),
        "past_key_values": [{"key": past, "value": past} for _ in layers],
        "cross": [{"key": cross, "value": cross} for _ in layers],
    }
    encoder, decoder = model.base.encoder, model.base.decoder
    return {
        "encoder": Part(ContextEncoder(encoder, decoder), text_specs("input_ids", "attention_mask")),
        "decoder": Part(CachedDecoder(decoder, model.head), decoder_inputs),
    }


def seq2seq_architectures(
    stem: str,
    build: Callable[[Any], Seq2SeqModel],
    build_lm: Callable[[Any], Seq2SeqLM],
    names: Mapping[str, str],
    *,
    prefix: str = "",
    lm_head: str = "lm_head",
    encoder: str = "Encoder",
    optional: str | None = None,
    build_lm_without: Callable[[Any], Seq2SeqLM] | None = None,
    build_lm_with: Callable[[Any], Seq2SeqLM] | None = None,
) -> tuple[Architecture, ...]:
    """The models that encoder-decoders are released as: the body, its encoder alone, and the one that predicts tokens.

    Args:
        stem: what their Hugging Face classes begin with, such as `T5`.
        build: from a configuration to the body.
        build_lm: from a configuration to the model that predicts tokens.
        names: the body's table of checkpoint names, without `prefix`.
        prefix: what the names of its tensors begin with in the model that predicts tokens.
        lm_head: what the checkpoint calls the matrix that predicts tokens.
        encoder: what the class of the encoder alone ends with.
        optional, build_lm_without, build_lm_with: a part that not every checkpoint has, and the models without it and
            with it; see `Architecture`.
    """

    def build_encoder(config: Any) -> Module:
        return EncoderOnly(build(config).encoder)

    of_encoder = {ours: theirs for ours, theirs in names.items() if ours.startswith("encoder.")}
    predicting = {**below(names, "base", prefix), "head.linear": lm_head}
    generation = f"{stem}ForConditionalGeneration"
    lm = (build_lm, predicting, optional, build_lm_without, build_lm_with)
    return (
        Architecture(f"{stem}Model", "base", build, names, inputs=paired_inputs),
        Architecture(generation, TEXT_GENERATION, *lm, parts=generation_parts),
        Architecture("", SEQ2SEQ_LM, *lm, inputs=paired_inputs),
        Architecture(f"{stem}{encoder}", ENCODER, build_encoder, of_encoder),
    )
