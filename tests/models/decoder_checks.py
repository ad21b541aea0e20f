"""What the tests of decoder families check beside `parity.py`: heads, fusions, published sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import tfgraph
from tests.models.parity import batch, random_model, save
from tfgraph.models.registry import find_family

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
        theirs = model.double()(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
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
