"""Parity of encoder-decoders with transformers: the error of ours in each kind of batch, and greedy answers.

transformers runs in float64. A cell's error is the largest difference of a logit, over real tokens of the answer,
relative to the largest logit. Random models are those of `parity.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tfgraph
from tests.models.parity import BATCH, MASKS, batch, relative_error
from tfgraph.compiler import CompiledModel

Arrays = dict[str, np.ndarray]
LENGTH = 7  # of the answers
ANSWER_PADDING = {"answers padded left": [[0, 1], [], [0, 1, 2, 3]], "answers padded right": [[5, 6], [], [3, 4, 5, 6]]}


def answers(vocab_size: int) -> np.ndarray:
    """Ids [3, 7] of what the decoder has written."""
    return np.random.default_rng(11).integers(3, vocab_size, (BATCH, LENGTH))


def inputs_of(kind: str, vocab_size: int) -> Arrays:
    """Texts and answers of a kind of batch: one of `MASKS`, or of `ANSWER_PADDING`."""
    ids, mask = batch(vocab_size, kind if kind in MASKS else "right padding")
    decoder_ids = answers(vocab_size)
    decoder_mask = np.ones_like(decoder_ids)
    for row, padded in enumerate(ANSWER_PADDING.get(kind, [[]] * BATCH)):
        decoder_mask[row, padded] = 0
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "decoder_input_ids": decoder_ids,
        "decoder_attention_mask": decoder_mask,
    }


def run_transformers(model: Any, inputs: Arrays) -> Any:
    """The outputs of a transformers model in float64."""
    import torch

    with torch.no_grad():
        return model.double()(**{name: torch.from_numpy(array) for name, array in inputs.items()}, use_cache=False)


def seq2seq_errors(
    model: Any, folder: Path, compile: Callable[..., CompiledModel] = tfgraph.compile
) -> dict[str, float]:
    """The error of ours in each cell: every kind of batch at once, and token by token with a cache."""
    vocab_size = model.config.vocab_size
    whole = compile(tfgraph.load(folder, task="seq2seq-lm"), target="cpu")
    parts = tfgraph.load(folder, task="text-generation").parts
    encoder, decoder = (compile(parts[name], target="cpu") for name in ("encoder", "decoder"))
    errors = {}
    for kind in (*MASKS, *ANSWER_PADDING):
        inputs = inputs_of(kind, vocab_size)
        expected = run_transformers(model, inputs)["logits"].numpy()
        tokens = inputs["decoder_attention_mask"] == 1
        assert np.isfinite(expected[tokens]).all()
        errors[kind] = relative_error(whole.run(inputs)["logits"], expected, tokens)
        if kind in MASKS:
            errors[f"cache, {kind}"] = cached_error(encoder, decoder, inputs, expected)
    return errors


def cached_error(encoder: CompiledModel, decoder: CompiledModel, inputs: Arrays, expected: np.ndarray) -> float:
    """The largest error where the answer is given 3 tokens, then 2, then one at a time."""
    state = start(encoder, decoder, inputs["input_ids"], inputs["attention_mask"])
    first, worst = 0, 0.0
    for last in (3, 5, 6, 7):
        logits = step(decoder, state, inputs["decoder_input_ids"][:, first:last])
        worst = np.maximum(worst, relative_error(logits, expected[:, last - 1], np.ones(BATCH, bool)))
        first = last
    return float(worst)


def start(encoder: CompiledModel, decoder: CompiledModel, ids: np.ndarray, mask: np.ndarray) -> Arrays:
    """What the decoder is given beside the tokens: the encoder's mask, keys and values, and an empty cache."""
    state = {"encoder_attention_mask": mask, **encoder.run({"input_ids": ids, "attention_mask": mask})}
    for name, value in decoder.graph.inputs.items():
        if name.startswith("past_key_values"):
            _, heads, _, head_dim = value.shape
            state[name] = np.zeros((len(ids), heads, 0, head_dim), np.float32)
    return state


def step(decoder: CompiledModel, state: Arrays, ids: np.ndarray) -> np.ndarray:
    """The logits after `ids`, [B, vocab]; the cache in `state` grows."""
    outputs = decoder.run({"input_ids": ids, **state})
    for name, array in outputs.items():
        if name.startswith("present"):
            state[name.replace("present", "past_key_values")] = array
    return outputs["logits"]


def greedy(folder: Path, ids: np.ndarray, mask: np.ndarray, start_token: int, end: int, length: int) -> np.ndarray:
    """Answers of up to `length` tokens, the likeliest each time, as transformers writes them: 0 after the end."""
    parts = tfgraph.load(folder, task="text-generation").parts
    encoder, decoder = (tfgraph.compile(parts[name]) for name in ("encoder", "decoder"))
    state = start(encoder, decoder, ids, mask)
    written = np.full((len(ids), 1), start_token, np.int64)
    ended = np.zeros(len(ids), bool)
    while written.shape[1] <= length and not ended.all():
        best = np.where(ended, 0, step(decoder, state, written[:, -1:]).argmax(-1))
        written = np.concatenate([written, best[:, None]], axis=1)
        ended |= best == end
    return written


def assert_greedy_as_transformers(model: Any, folder: Path) -> None:
    """Greedy answers to three unequal texts are those of `generate`, and at least one of them ends early."""
    import torch

    ids, mask = batch(model.config.vocab_size, "left padding")
    start_token = model.config.decoder_start_token_id
    free = greedy(folder, ids, mask, start_token, end=-1, length=10)
    end = int(free[2, 4])  # a token that the last answer has in its middle
    settings = model.generation_config
    settings.eos_token_id, settings.pad_token_id, settings.forced_eos_token_id = end, 0, None
    settings.decoder_start_token_id, settings.max_new_tokens = start_token, 10
    with torch.no_grad():
        expected = model.double().generate(
            torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), do_sample=False, num_beams=1
        )
    ours = greedy(folder, ids, mask, start_token, end, length=10)
    assert ours.tolist() == expected.tolist()
    assert (ours == end).any() and len({tuple(row) for row in ours.tolist()}) == BATCH
