"""Any checkpoint, whatever form it has on disk, as its configuration, its weights and its tokenizer: `open_checkpoint`.

Each form is read by a module of its own: Hugging Face's folders by `folder`, GGUF files by `gguf`, what Megatron-LM
saves by `megatron`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tfgraph.checkpoints.folder import CONFIG_FILE, read_config, read_weights
from tfgraph.checkpoints.gguf import GgufCheckpoint, open_gguf_checkpoint
from tfgraph.checkpoints.megatron import is_megatron, open_megatron_checkpoint
from tfgraph.checkpoints.sentence_transformers import find_encoder_folder
from tfgraph.checkpoints.tokenizer_files import (
    TOKENIZER_FILE,
    VOCABULARY_FILE,
    TokenizerParts,
    load_tokenizer_parts,
)
from tfgraph.errors import CheckpointError, ConfigError
from tfgraph.ir.constant import Constant

_GGUF = ".gguf"
_MEGATRON_FILES = (".pt", ".pth")
_WEIGHTS_FILES = (".safetensors", ".bin")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, in Hugging Face's terms.

    Attributes:
        path: the folder where its files are, or the one file that holds all of it.
        config: the object in its `config.json`, or what that would say.
        source: what errors call the configuration.
        weights: gives the tensors, by name, as handles that nobody has read yet.
        tokenizer: gives what a tokenizer is made from; None if the checkpoint has none.
    """

    path: Path
    config: dict[str, Any]
    source: str
    weights: Callable[[], Mapping[str, Constant]] = field(repr=False)
    tokenizer: Callable[[], TokenizerParts | None] = field(repr=False)


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint at `path`. No weight is read.

    Args:
        path: a folder of Hugging Face or of sentence-transformers, or a file of weights in the first, `*.safetensors`
            or `*.bin`; a GGUF file, or any of a series; a folder that Megatron-LM saved into, or a file of such a
            folder.

    Raises:
        ConfigError: the configuration is missing or damaged.
        CheckpointError: files of GGUF or of Megatron-LM are missing, damaged or refused.
    """
    if path.suffix.lower() == _GGUF and not path.is_dir():
        model = open_gguf_checkpoint(path)
        return Checkpoint(path, model.config, str(path), lambda: model.weights, partial(_tokenizer_of_gguf, model))
    if is_megatron(path) or (path.suffix in _MEGATRON_FILES and path.is_file()):
        opened = open_megatron_checkpoint(path)
        folder = path if path.is_dir() else path.parent
        return Checkpoint(folder, opened.config, str(opened.path), lambda: opened.weights, partial(_tokenizer, folder))
    if path.suffix in _WEIGHTS_FILES and path.is_file():
        return _of_hugging_face(path.parent, path)
    folder = path if (path / CONFIG_FILE).is_file() else find_encoder_folder(path)
    _check_no_gguf(folder)
    return _of_hugging_face(folder, folder)


def _of_hugging_face(folder: Path, weights: Path) -> Checkpoint:
    config, source = read_config(folder), str(folder / CONFIG_FILE)
    return Checkpoint(folder, config, source, partial(read_weights, weights), partial(_tokenizer, folder))


def _tokenizer(folder: Path) -> TokenizerParts | None:
    """What the folder's tokenizer files say; None if it has none."""
    if not any((folder / name).is_file() for name in (TOKENIZER_FILE, VOCABULARY_FILE)):
        return None
    return load_tokenizer_parts(folder)


def _tokenizer_of_gguf(model: GgufCheckpoint) -> TokenizerParts | None:
    """That of the file; where it is of a kind that is not read, the `tokenizer.json` beside it, which errors ask for.

    Raises:
        CheckpointError: there is none beside it either, or that is damaged.
    """
    folder = model.file.path.parent
    try:
        return model.tokenizer
    except CheckpointError:
        if not (folder / TOKENIZER_FILE).is_file():
            raise
    return load_tokenizer_parts(folder)


def _check_no_gguf(folder: Path) -> None:
    """Refuse a folder of GGUF files, which may be of different models, instead of asking for its `config.json`."""
    found = [] if (folder / CONFIG_FILE).is_file() else sorted(each.name for each in folder.glob(f"*{_GGUF}"))
    if found:
        raise ConfigError(
            f"{folder} has no {CONFIG_FILE}, but {len(found)} GGUF file{'s' if len(found) > 1 else ''}: name the one "
            f"to load, such as {folder / found[0]}"
        )
