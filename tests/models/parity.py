"""Parity of decoder families with transformers: random models, and the error of ours in each kind of batch.

transformers runs in float64. A cell's error is the largest difference of a logit, over real tokens, relative to the
largest logit. The families' tests and the table in the documentation are both made with this.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import tfgraph
from tfgraph.compiler import CompiledModel

BATCH, LENGTH = 3, 9
MASKS: dict[str, list[list[int]]] = {  # for each kind of batch, where the padding of each text is
    "no padding": [[], [], []],
    "left padding": [[0, 1, 2], [], [0, 1, 2, 3, 4, 5, 6, 7]],
    "right padding": [[6, 7, 8], [], [1, 2, 3, 4, 5, 6, 7, 8]],
    "holes": [[2, 3], [0, 4, 8], [1, 3, 5, 7]],
}
CACHED = {"cache": "no padding", "cache, left padding": "left padding"}
TOLERANCE = 1e-5
IN_FLOAT32 = {"bloom", "gemma2", "mixtral"}
"""Model types that transformers cannot run in float64: masks overflow in a softmax of float32, products of experts."""


def random_model(name: str, seed: int = 7, **settings: Any) -> Any:
    """A transformers model of the class `name` in float32, every parameter random: matrices, biases, norms."""
    import torch
    import transformers

    model_class = getattr(transformers, name)
    torch.manual_seed(seed)
    model = model_class(model_class.config_class(**deepcopy(settings))).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.2
            is_scale = parameter.dim() == 1 and path.endswith("weight")
            parameter.copy_(noise + 1 if is_scale else noise)
    return model


def save(model: Any, folder: Path) -> Path:
    """Save a transformers model, and return where."""
    model.save_pretrained(folder)
    return folder


def batch(vocab_size: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask [3, 9] of a kind of batch, one of `MASKS`."""
    ids = np.random.default_rng(5).integers(3, vocab_size, (BATCH, LENGTH))
    mask = np.ones_like(ids)
    for row, padded in enumerate(MASKS[kind]):
        mask[row, padded] = 0
    return ids, mask


def expected_logits(model: Any, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The logits of a transformers model, its positions counted over tokens where it takes them."""
    import torch

    inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
    if "position_ids" in inspect.signature(model.forward).parameters:
        inputs["position_ids"] = torch.from_numpy(np.maximum(mask.cumsum(1) - 1, 0))
    model = model.float() if model.config.model_type in IN_FLOAT32 else model.double()
    with torch.no_grad():
        logits: np.ndarray = model(**inputs).logits.numpy()
    assert np.isfinite(logits[mask == 1]).all()
    return logits


def causal_lm_errors(
    name: str, folder: Path, compile: Callable[..., CompiledModel] = tfgraph.compile, **settings: Any
) -> dict[str, float]:
    """The error of our model in each cell: the kinds of `MASKS` without a cache, then those with a cache."""
    model = random_model(name, **settings)
    save(model, folder)
    vocab_size = model.config.get_text_config().vocab_size
    return decoder_errors(folder, vocab_size, partial(expected_logits, model), compile)


def decoder_errors(
    folder: Path,
    vocab_size: int,
    expect: Callable[[np.ndarray, np.ndarray], np.ndarray],
    compile: Callable[..., CompiledModel] = tfgraph.compile,
) -> dict[str, float]:
    """The same for the checkpoint at `folder`, where `expect` gives the right logits for ids and mask."""
    whole = compile(tfgraph.load(folder, task="causal-lm"), target="cpu")
    errors = {}
    expected = {}
    for kind in MASKS:
        ids, mask = batch(vocab_size, kind)
        expected[kind] = expect(ids, mask)
        ours = whole.run({"input_ids": ids, "attention_mask": mask})["logits"]
        errors[kind] = relative_error(ours, expected[kind], mask == 1)
    cached = compile(tfgraph.load(folder, task="text-generation"), target="cpu")
    for cell, kind in CACHED.items():
        errors[cell] = cached_error(cached, *batch(vocab_size, kind), expected[kind])
    fixed = compile(tfgraph.load(folder, task="text-generation", cache_length=12), target="cpu")
    ids, _ = batch(vocab_size, "no padding")
    errors["fixed cache"] = fixed_cache_error(fixed, ids, expected["no padding"])
    return errors


def relative_error(ours: np.ndarray, expected: np.ndarray, tokens: np.ndarray) -> float:
    """The largest difference over `tokens`, relative to the largest magnitude."""
    assert ours.shape == expected.shape
    return float(np.abs(ours - expected)[tokens].max() / np.abs(expected[tokens]).max())


def max_error(*errors: float) -> float:
    """The largest error; NaN, which `max` may lose, if one is."""
    return float(np.max(errors))


def cached_error(model: CompiledModel, ids: np.ndarray, mask: np.ndarray, expected: np.ndarray) -> float:
    """The largest error after a prefill of 4 tokens, a chunk of 2, and then of one token at a time."""
    cache = empty_cache(model, len(ids))
    start, worst = 0, 0.0
    for stop in (4, 6, 7, 8, 9):
        outputs = model.run({"input_ids": ids[:, start:stop], "attention_mask": mask[:, :stop], **cache})
        tokens = mask[:, stop - 1] == 1
        if tokens.any():
            worst = np.maximum(worst, relative_error(outputs["logits"], expected[:, stop - 1], tokens))
        cache = {name.replace("present", "past_key_values"): outputs[name] for name in outputs if name != "logits"}
        start = stop
    return worst


def empty_cache(model: CompiledModel, batch_size: int) -> dict[str, np.ndarray]:
    """The cache before the first token."""
    sizes: Mapping[str, int] = {"batch": batch_size, "past": 0}
    return {
        name: np.zeros([dim if isinstance(dim, int) else sizes[str(dim)] for dim in value.shape], np.float32)
        for name, value in model.graph.inputs.items()
        if name.startswith("past_key_values")
    }


def assert_exact(errors: Mapping[str, float]) -> None:
    """Each cell within the tolerance."""
    wrong = {cell: f"{error:.1e}" for cell, error in errors.items() if not error <= TOLERANCE}
    assert not wrong


def fixed_cache_error(model: CompiledModel, ids: np.ndarray, expected: np.ndarray) -> float:
    """The largest error with a cache of fixed length that three texts of 9, 5 and 1 tokens fill at their own pace.

    The prefill is padded on the right; then each text gets one token at a time.
    """
    lengths = np.asarray([5, 3, 1])
    cache = {
        name: np.full([dim if isinstance(dim, int) else BATCH for dim in value.shape], 7.0, np.float32)
        for name, value in model.graph.inputs.items()
        if name.startswith("past_key_values")
    }
    given, filled, worst = ids[:, :5], np.zeros(BATCH, np.int64), 0.0
    mask = (np.arange(5) < lengths[:, None]).astype(np.int64)
    for _ in range(4):
        inputs = {"input_ids": given, "attention_mask": mask, "cache_lengths": filled}
        outputs = model.run({**inputs, **cache})
        filled = filled + mask.sum(1)
        at = expected[np.arange(BATCH), filled - 1]
        worst = max_error(worst, relative_error(outputs["logits"], at, np.ones(BATCH, bool)))
        cache = {name.replace("present", "past_key_values"): outputs[name] for name in outputs if name != "logits"}
        given, mask = ids[np.arange(BATCH), filled][:, None], np.ones((BATCH, 1), np.int64)
    return worst
