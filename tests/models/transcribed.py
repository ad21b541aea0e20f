"""The errors of families that transformers lacks, against the transcriptions of their papers in their tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tfgraph
from tests.models import test_gpt3, test_megatron_gpt2, test_pangu_alpha, test_transformer
from tests.models.numpy_gpt import for_each_text, random_weights
from tests.models.parity import MASKS, decoder_errors, relative_error
from tests.models.seq2seq_parity import cached_error, inputs_of


def gpt3_errors(folder: Path) -> dict[str, float]:
    """GPT-3, its layers dense and banded in turn."""
    weights = random_weights(test_gpt3.shapes(8))
    checkpoint = test_gpt3.write(folder, test_gpt3.as_gpt2(weights), head_dim=8)
    return decoder_errors(checkpoint, 61, test_gpt3.gpt3_logits(weights))


def megatron_errors(folder: Path) -> dict[str, float]:
    """Megatron's GPT-2, from a checkpoint of its own layout."""
    weights = test_megatron_gpt2.random_gpt()
    expect = test_megatron_gpt2.paper_logits(weights)
    return decoder_errors(test_megatron_gpt2.save(folder, weights), test_megatron_gpt2.VOCAB, expect)


def pangu_errors(folder: Path) -> dict[str, float]:
    """PanGu-alpha, with its query layer."""
    weights = random_weights(test_pangu_alpha.shapes())
    expect = for_each_text(lambda ids, mask: test_pangu_alpha.paper_logits(weights, ids, mask))
    return decoder_errors(test_pangu_alpha.write(folder, weights), 61, expect)


def transformer_errors(folder: Path) -> dict[str, float]:
    """The Transformer of 2017, against torch's own layers."""
    weights = test_transformer.write_checkpoint(folder)
    whole = tfgraph.compile(tfgraph.load(folder, task="seq2seq-lm"))
    parts = tfgraph.load(folder).parts
    encoder, decoder = (tfgraph.compile(parts[name]) for name in ("encoder", "decoder"))
    errors = {}
    for kind in MASKS:
        inputs = inputs_of(kind, 61)
        expected = test_transformer.torch_logits(weights, inputs)
        tokens = inputs["decoder_attention_mask"] == 1
        errors[kind] = relative_error(whole.run(inputs)["logits"], expected, tokens)
        errors[f"cache, {kind}"] = cached_error(encoder, decoder, inputs, expected)
    return errors


TRANSCRIBED: dict[str, Callable[[Path], dict[str, float]]] = {
    "transformer": transformer_errors,
    "gpt3": gpt3_errors,
    "megatron-gpt2": megatron_errors,
    "gpt_pangu": pangu_errors,
}
"""Model type to the errors of its language model in each kind of batch."""
