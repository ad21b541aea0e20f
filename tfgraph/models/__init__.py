"""Model families: a configuration, the models for each task, and the names of their parameters in checkpoints.

    tg.models.configs["gpt3-175b"]      # a published size
    tg.models.build("gpt2")             # a model of it, which can be traced and compiled
    tg.models.llama.LlamaConfig         # a family's own module

One file a family (`bert.py`), built of what families share: `encoder.py`, `decoder.py`, `seq2seq.py`, and what goes on
these. `registry.py` knows which there are, `published.py` gathers their published sizes. Nothing here reads a file:
that is `tfgraph.checkpoints` and `tfgraph.pretrained`. Submodules are imported when they are first used.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfgraph.models.declared import build as build
    from tfgraph.models.published import configs as configs

_HOMES = {"build": "tfgraph.models.declared", "configs": "tfgraph.models.published"}

__all__ = ["build", "configs"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name not in _submodules():
        raise AttributeError(f"module 'tfgraph.models' has no attribute '{name}'")
    return importlib.import_module(f"tfgraph.models.{name}")


def _submodules() -> list[str]:
    return [found.name for found in pkgutil.iter_modules(__path__)]


def __dir__() -> list[str]:
    return sorted([*__all__, *_submodules()])
