"""A BERT checkpoint of random weights, so that all candidates of a benchmark load the same numbers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np

from tfgraph.checkpoints.folder import CONFIG_FILE
from tfgraph.errors import ExportError
from tfgraph.ir.constant import Array
from tfgraph.models.bert import ENCODER_NAMES, BertConfig, BertModel
from tfgraph.models.names import checkpoint_name

WEIGHTS_FILE: Final = "model.safetensors"
_SPREAD: Final = 0.02  # standard deviation of BERT's own initialisation
_NOT_IN_FILE: Final = frozenset({"labels"})


def write_bert_checkpoint(folder: Path, config: BertConfig, seed: int = 0) -> Path:
    """Write `config.json` and `model.safetensors` in Hugging Face's form, and return the path of the weights.

    Matrices are normal, with BERT's standard deviation of 0.02. Biases and the scales of norms, which initialisations
    leave at 0 and 1, are moved off that as well: a candidate that drops one of them must give other results.

    Raises:
        ExportError: the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    generator = np.random.default_rng(seed)
    weights: dict[str, Array] = {}
    for path, parameter in BertModel(config).named_parameters():
        values = generator.standard_normal(parameter.shape, np.float32)
        values *= np.float32(_SPREAD)
        name = checkpoint_name(path, ENCODER_NAMES)
        if name.endswith("LayerNorm.weight"):
            values += 1
        weights[name] = values
    settings = {name: value for name, value in asdict(config).items() if name not in _NOT_IN_FILE}
    described = {"architectures": ["BertModel"], "model_type": config.model_type, **settings}
    target = folder / WEIGHTS_FILE
    try:
        (folder / CONFIG_FILE).write_text(json.dumps(described, indent=2), encoding="utf-8")
        save_file(weights, target, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise ExportError(f"cannot write a checkpoint of random weights into {folder}: {error}") from None
    return target
