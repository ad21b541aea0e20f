"""Model families: a configuration, the models for each task, and the names of their parameters in checkpoints.

One file a family (`bert.py`), built of what families share: `encoder.py`, `embeddings.py`, `heads.py`, `tasks.py`,
`pooling.py`. `registry.py` knows which there are, `configs.py` the published sizes. Nothing here reads a file: that is
`tfgraph.checkpoints` and `tfgraph.pretrained`. Submodules are imported when they are first used.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = [
    "albert",
    "bert",
    "configs",
    "distilbert",
    "electra",
    "family",
    "megatron_bert",
    "pooling",
    "registry",
    "roberta",
]


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module 'tfgraph.models' has no attribute '{name}'")
    return importlib.import_module(f"tfgraph.models.{name}")


def __dir__() -> list[str]:
    return list(__all__)
