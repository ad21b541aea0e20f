"""Parity of encoder families with transformers: random models, and the error of ours in each kind of batch.

transformers runs in float64. A cell's error is the largest difference of an output's elements, relative to its largest
magnitude, over all positions, padded ones included. The families' tests and the table in the documentation are both
made with this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tfgraph
from tests.models.parity import BATCH, LENGTH, MASKS, max_error, random_model, save
from tfgraph.ir.interpret import interpret
from tfgraph.pretrained import Pretrained

KINDS = (*MASKS, "one token")
CHOICES = 4
Arrays = dict[str, np.ndarray]

SMALL = {
    "vocab_size": 61,
    "hidden_size": 36,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,  # of 9 features
    "intermediate_size": 50,
    "max_position_embeddings": 24,
    "type_vocab_size": 2,
}


def encoder_inputs(pretrained: Pretrained, kind: str, vocab_size: int, pad: int) -> Arrays:
    """The inputs of a kind of batch: 3 texts of 9 tokens, or 3 questions with 4 texts each.

    The ids of padding are `pad`, as tokenizers have it; those of holes are random.
    """
    generator = np.random.default_rng(11)
    mask = np.ones((BATCH, 1 if kind == "one token" else LENGTH), np.int64)
    for row, padded in enumerate(MASKS.get(kind, [])):
        mask[row, padded] = 0
    if pretrained.task == "multiple-choice":
        mask = np.stack([np.roll(mask, shift, axis=0) for shift in range(CHOICES)], axis=1)
    ids = generator.integers(3, vocab_size, mask.shape)
    if kind.endswith("padding"):
        ids = np.where(mask == 1, ids, pad)
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": generator.integers(0, 2, mask.shape)}
    return {name: inputs[name] for name in pretrained.input_specs}


def reference_outputs(model: Any, inputs: Arrays) -> Arrays:
    """The outputs of a transformers model in float64, by name."""
    import torch

    with torch.no_grad():
        outputs = model.double()(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    return {name: tensor.numpy() for name, tensor in outputs.items() if tensor is not None}


def encoder_errors(name: str, folder: Path, **settings: Any) -> dict[str, float]:
    """The error of our model for the transformers class `name`: for each of `KINDS`, compiled and interpreted."""
    labels = 2 if name.endswith("QuestionAnswering") else 3  # a start and an end
    model = random_model(name, **{**SMALL, "num_labels": labels, **settings})
    pretrained = tfgraph.load(save(model, folder))
    assert pretrained.family.architecture_named(name).task == pretrained.task
    compiled, graph = tfgraph.compile(pretrained, target="cpu"), pretrained.trace()
    errors = {}
    runs: dict[str, Callable[[Arrays], Arrays]] = {
        "compiled": lambda inputs: compiled.run(inputs),
        "interpreted": lambda inputs: interpret(graph, inputs),
    }
    for kind in KINDS:
        inputs = encoder_inputs(pretrained, kind, model.config.vocab_size, model.config.pad_token_id or 0)
        expected = reference_outputs(model, inputs)
        for how, run in runs.items():
            errors[f"{kind}, {how}"] = largest_error(run(inputs), expected)
    return errors


def largest_error(ours: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """The largest error of an output, relative to its largest magnitude; the outputs must be the same."""
    assert sorted(ours) == sorted(expected)
    for name, array in expected.items():
        assert ours[name].shape == array.shape, name
    return max_error(*(np.abs(ours[name] - array).max() / np.abs(array).max() for name, array in expected.items()))


def names_in_transformers(name: str, aliases: Mapping[str, str], **settings: Any) -> dict[str, tuple[int, ...]]:
    """The parameters of a transformers class with their shapes; of those that are tied, the one it names as theirs."""
    import torch
    import transformers

    model_class = getattr(transformers, name)
    with torch.device("meta"):
        model = model_class(model_class.config_class(**{**SMALL, **settings}))
    tied = model.all_tied_weights_keys  # parameter to the one it is tied to
    return {
        aliases.get(path, path): tuple(parameter.shape)
        for path, parameter in model.named_parameters(remove_duplicate=False)
        if path not in tied
    }
