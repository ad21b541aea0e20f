"""What decoders are used for: predicting tokens, with a cache or without, and classifying texts and tokens.

A family says which decoder, in its own file; `decoder_architectures` makes the list of its models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from tfgraph.dsl import functional as F
from tfgraph.dsl.layers.linear import Linear
from tfgraph.dsl.module import Module
from tfgraph.dsl.tensor import Tensor
from tfgraph.dsl.trace import spec
from tfgraph.models.decoder import Cache, TextDecoder
from tfgraph.models.decoder_config import DecoderConfig
from tfgraph.models.family import TEXT_GENERATION, Architecture
from tfgraph.models.names import below

BuildDecoder: TypeAlias = Callable[[Any], TextDecoder]
CAPACITY = "capacity"
"""The name of the number of positions of a cache that is written into, where it is no number."""


class CausalLM(Module):
    """A score for each token of the vocabulary to be the next one.

    With `config.tie_word_embeddings`, the matrix is the table of word embeddings.

    Args:
        bias: whether the scores have a bias (GPT-J, Phi).
        softcap: if given, scores become `softcap * tanh(scores / softcap)` (Gemma 2).
    """

    def __init__(
        self, config: DecoderConfig, base: TextDecoder, bias: bool = False, softcap: float | None = None
    ) -> None:
        self.base = base
        vocab_size, width = base.word.weight.shape
        self.head = Linear(width, vocab_size, bias)
        if config.tie_word_embeddings:
            self.head.weight = base.word.weight
        self.softcap = softcap

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        cache_lengths: Tensor | None = None,
    ) -> dict[str, Any]:
        """Ids [B, S] -> `logits` [B, S, vocab].

        With a past: `logits` [B, vocab], those after the last token alone, and `present`, the cache to pass the next
        time. The arguments are those of `TextDecoder`.
        """
        outputs = self.base(input_ids, attention_mask, past_key_values, cache_lengths)
        hidden_state = outputs.pop("last_hidden_state")
        if cache_lengths is not None:
            hidden_state = at_last_token(hidden_state, attention_mask)  # [B, H]
        elif past_key_values is not None:
            hidden_state = hidden_state[:, -1]  # [B, H]
        logits = self.head(hidden_state)
        if self.softcap is not None:
            logits = F.tanh(logits / self.softcap) * self.softcap
        return {"logits": logits, **outputs}


class LastTokenClassifier(Module):
    """Scores for each label, from the hidden state of a text's last token: `logits` [B, labels]."""

    def __init__(self, config: DecoderConfig, base: TextDecoder) -> None:
        self.base = base
        self.head = Linear(base.word.weight.shape[1], config.num_labels, bias=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> dict[str, Tensor]:
        """Ids [B, S] -> `logits` [B, labels]; the last token is the last one that `attention_mask` keeps."""
        scores = self.head(self.base(input_ids, attention_mask)["last_hidden_state"])  # [B, S, labels]
        return {"logits": at_last_token(scores, attention_mask)}


def at_last_token(x: Tensor, attention_mask: Tensor | None) -> Tensor:
    """What `x` [B, S, N] has at each text's last token, the last one that `attention_mask` [B, S] keeps: [B, N]."""
    if attention_mask is None:
        return x[:, -1]
    index = F.arange(0, x.shape[1])
    last = F.reduce_max(F.where(F.cast(attention_mask, "bool"), index, 0), (1,))  # [B, 1]
    is_last = F.unsqueeze(F.equal(index, last), (2,))  # [B, S, 1]
    return F.reduce_sum(F.where(is_last, x, 0.0), (1,), keepdims=False)


class TokenClassifier(Module):
    """Scores for each label, at each position: `logits` [B, S, labels]."""

    def __init__(self, config: DecoderConfig, base: TextDecoder) -> None:
        self.base = base
        self.head = Linear(base.word.weight.shape[1], config.num_labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> dict[str, Tensor]:
        """Ids [B, S] -> `logits` [B, S, labels]."""
        return {"logits": self.head(self.base(input_ids, attention_mask)["last_hidden_state"])}


def cached_inputs(config: DecoderConfig, dtype: object = "float32") -> dict[str, Any]:
    """The inputs of a decoder with a cache, of any batch, length and past: `past_key_values.0.key`, ….

    `dtype` is that of the cache, which is that of the weights.
    """
    cache = spec(dtype, ["batch", config.kv_heads, "past", config.head_size])
    return {
        "input_ids": spec("int64", ["batch", "seq"]),
        "attention_mask": spec("int64", ["batch", "past + seq"]),
        "past_key_values": [{"key": cache, "value": cache} for _ in range(config.num_hidden_layers)],
    }


def fixed_cache_inputs(config: DecoderConfig, dtype: object, capacity: int | str) -> dict[str, Any]:
    """The inputs of a decoder with a cache of `capacity` positions, a number or a name, into which it writes in place.

    Each text begins at position 0 of its row, `cache_lengths` [B] says how much of it is cached, and `attention_mask`
    [B, S] which of the new ids are tokens, padding being on the right.
    """
    cache = spec(dtype, ["batch", config.kv_heads, capacity, config.head_size])
    return {
        "input_ids": spec("int64", ["batch", "seq"]),
        "attention_mask": spec("int64", ["batch", "seq"]),
        "cache_lengths": spec("int64", ["batch"]),
        "past_key_values": [{"key": cache, "value": cache} for _ in range(config.num_hidden_layers)],
    }


def decoder_architectures(
    stem: str,
    build: BuildDecoder,
    names: Mapping[str, str],
    *,
    prefix: str = "model",
    lm: str = "ForCausalLM",
    build_lm: Callable[[Any, TextDecoder], CausalLM] = CausalLM,
    lm_head: str = "lm_head",
    classifier: str = "score",
    token_classifier: str = "score",
) -> tuple[Architecture, ...]:
    """The models that decoders are released as.

    Args:
        stem: what their Hugging Face classes begin with, such as `GPT2`.
        build: from a configuration to the decoder.
        names: the decoder's table of checkpoint names, without `prefix`.
        prefix: what the names of its tensors begin with in the models that hold it.
        lm: what the class that predicts tokens ends with.
        build_lm: from a configuration and a decoder to the model that predicts tokens.
        lm_head, classifier, token_classifier: what the checkpoint calls the matrices for tokens of the vocabulary, for
            the labels of texts, and for those of tokens.
    """
    on_base = below(names, "base", prefix)
    predicting = {**on_base, "head": lm_head}

    def generator(config: Any) -> Module:
        return build_lm(config, build(config))

    def of_texts(config: Any) -> Module:
        return LastTokenClassifier(config, build(config))

    def of_tokens(config: Any) -> Module:
        return TokenClassifier(config, build(config))

    return (
        Architecture(f"{stem}Model", "base", build, names),
        Architecture(
            f"{stem}{lm}",
            TEXT_GENERATION,
            generator,
            predicting,
            inputs=cached_inputs,
            fixed_inputs=fixed_cache_inputs,
        ),
        Architecture("", "causal-lm", generator, predicting),
        Architecture(
            f"{stem}ForSequenceClassification", "sequence-classification", of_texts, {**on_base, "head": classifier}
        ),
        Architecture(
            f"{stem}ForTokenClassification", "token-classification", of_tokens, {**on_base, "head": token_classifier}
        ),
    )
