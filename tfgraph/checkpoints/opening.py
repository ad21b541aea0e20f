"""Any checkpoint, however it is laid out, as its configuration and its weights: `open_checkpoint`.

Each layout is read by a module of its own: Hugging Face's folders by `folder`, Megatron-LM's by `megatron`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tfgraph.checkpoints.folder import CONFIG_FILE, read_config, read_weights
from tfgraph.checkpoints.megatron import is_megatron, open_megatron_checkpoint
from tfgraph.checkpoints.sentence_transformers import find_encoder_folder
from tfgraph.ir.constant import Constant

_TORCH_FILES = (".pt", ".pth")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, in Hugging Face's terms.

    Attributes:
        folder: where the files are that go with it, such as those of a tokenizer.
        config: the object in its `config.json`, or what that would say.
        source: what errors call the configuration.
        weights: gives the tensors, by name, as handles that nobody has read yet.
    """

    folder: Path
    config: dict[str, Any]
    source: str
    weights: Callable[[], Mapping[str, Constant]] = field(repr=False)


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint at `path`. No weight is read.

    Args:
        path: a folder of Hugging Face or of sentence-transformers; a folder that Megatron-LM saved into, or a file of
            such a folder.

    Raises:
        ConfigError: the configuration is missing or damaged.
        CheckpointError: Megatron-LM's files are missing, damaged or refused.
    """
    if is_megatron(path) or (path.suffix in _TORCH_FILES and path.is_file()):
        opened = open_megatron_checkpoint(path)
        folder = path if path.is_dir() else path.parent
        return Checkpoint(folder, opened.config, str(opened.path), lambda: opened.weights)
    folder = path if (path / CONFIG_FILE).is_file() else find_encoder_folder(path)
    return Checkpoint(folder, read_config(folder), str(folder / CONFIG_FILE), partial(read_weights, folder))
