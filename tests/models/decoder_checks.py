"""What the tests of decoder families check beside `parity.py`: heads, fusions, published sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import tfgraph
from tests.models.parity import IN_FLOAT32, batch, expected_logits, random_model, save
from tfgraph.ir.dtypes import DType
from tfgraph.ir.interpret import interpret
from tfgraph.models.registry import find_family
from tfgraph.tolerance import TOLERANCE, relative_error

IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def head_error(name: str, folder: Path, **settings: Any) -> float:
    """The error of the model of the class `name`, which predicts no tokens, on right-padded texts.

    It is the largest difference of its first output, relative to that output's largest magnitude.
    """
    import torch

    model = random_model(name, **{**IDS, **settings}, num_labels=3)
    ids, mask = batch(model.config.vocab_size, "right padding")
    ids = np.where(mask == 1, ids, IDS["pad_token_id"])
    ours = tfgraph.compile(tfgraph.load(save(model, folder))).run({"input_ids": ids, "attention_mask": mask})
    with torch.no_grad():
        precise = model.float() if model.config.model_type in IN_FLOAT32 else model.double()
        theirs = precise(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
    (output,) = ours
    expected = theirs[output].numpy()
    assert ours[output].shape == expected.shape
    tokens = mask == 1 if expected.ndim == 3 else slice(None)
    return float(np.abs(ours[output] - expected)[tokens].max() / np.abs(expected[tokens]).max())


def fused_operators(name: str, folder: Path, **settings: Any) -> dict[str, int]:
    """How often each operator was fused in a model of the class `name`, with a cache and without one alike."""
    save(random_model(name, **{**IDS, **settings}), folder)
    counts = []
    for task in ("causal-lm", "text-generation"):
        report = tfgraph.compile(tfgraph.load(folder, task=task), target="cpu").report.as_dict()
        counts.append(report["fused"])
    assert counts[0] == counts[1]
    fused: dict[str, int] = counts[0]
    return fused


def half_errors(name: str, folder: Path, **settings: Any) -> dict[str, float]:
    """The error of a model of the class `name` loaded as float16, compiled, and as bfloat16, run by numpy.

    Texts have holes; each error is relative to what is allowed in the dtype.
    """
    model = random_model(name, **{**IDS, **settings})
    ids, mask = batch(model.config.vocab_size, "holes")
    inputs = {"input_ids": ids, "attention_mask": mask}
    expected = expected_logits(model, ids, mask)[mask == 1]
    save(model, folder)
    half = tfgraph.load(folder, task="causal-lm", dtype="float16")
    outputs = {
        "float16": tfgraph.compile(half, target="cpu").run(inputs),
        "bfloat16": interpret(tfgraph.load(folder, task="causal-lm", dtype="bfloat16").trace(), inputs),
    }
    errors = {}
    for dtype, made in outputs.items():
        assert str(made["logits"].dtype) == dtype
        ours = made["logits"][mask == 1].astype(np.float64)
        errors[dtype] = relative_error(ours, expected) / TOLERANCE[DType(dtype)]
    return errors


def drop_prefix(folder: Path, prefix: str) -> None:
    """Rename the tensors of a checkpoint whose names begin with `prefix`, as releases of the base model have them."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    assert any(name.startswith(prefix) for name in weights)
    save_file({name.removeprefix(prefix): array for name, array in weights.items()}, folder / "model.safetensors")


def add_tensors(folder: Path, **tensors: Any) -> None:
    """Put tensors that no model has into a checkpoint, under names with `__` for a dot."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    added = {name.replace("__", "."): array for name, array in tensors.items()}
    save_file({**weights, **added}, folder / "model.safetensors")


def our_size(config: Any) -> int:
    """The number of parameters of the model that predicts tokens."""
    return find_family(config.model_type).architecture_for("causal-lm").build(config).num_parameters()


def their_size(name: str, **settings: Any) -> int:
    """The same for the transformers model of the class `name`, of which no weight is made."""
    import torch
    import transformers

    model_class = getattr(transformers, name)
    with torch.device("meta"):
        model = model_class(model_class.config_class(**settings))
    size: int = model.num_parameters()
    return size
