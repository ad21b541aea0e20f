"""A GGUF file as the Hugging Face checkpoint it was made from: configuration, weights and tokenizer.

The parts come from the modules beside this one; what a model family makes of them is in `tfgraph.models`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tfgraph.checkpoints.gguf.config import architecture_of, gguf_config
from tfgraph.checkpoints.gguf.file import GgufFile, read_gguf
from tfgraph.checkpoints.gguf.tokenizer import gguf_tokenizer
from tfgraph.checkpoints.gguf.weights import gguf_weights
from tfgraph.checkpoints.tokenizer_files import TokenizerParts
from tfgraph.ir.constant import Constant


@dataclass(frozen=True, eq=False)
class GgufCheckpoint:
    """A model out of a GGUF file, in Hugging Face's terms.

    Attributes:
        file: what the file holds, in its own terms.
        config: the object that `config.json` would hold.
        weights: the tensors under their Hugging Face names and in Hugging Face's layouts, as lazy handles. A head that
            shares the embedding's weights is absent, and `tie_word_embeddings` is true.
    """

    file: GgufFile
    config: dict[str, Any]
    weights: Mapping[str, Constant] = field(repr=False)

    @cached_property
    def tokenizer(self) -> TokenizerParts | None:
        """What `tfgraph.tokenizer.Tokenizer` is made from; None if the file has no tokenizer.

        It is put together when first asked for, so that a model can be loaded whose tokenizer is not known here.

        Raises:
            CheckpointError: the tokenizer is of an unknown kind, or damaged.
        """
        return gguf_tokenizer(self.file.metadata, self.file.path)


def open_gguf_checkpoint(path: str | Path) -> GgufCheckpoint:
    """Read a GGUF file, or any file of a series, as a Hugging Face checkpoint. No weight is read.

    Architectures: the keys of `tfgraph.checkpoints.gguf.architectures.ARCHITECTURES`.

    Raises:
        CheckpointError: the file cannot be read or is damaged (see `read_gguf`), holds tensors that its architecture
            does not have or that do not fit its head counts, or is quantised and the `gguf` package is not installed.
        ConfigError: an unknown architecture, or a setting that is missing.
    """
    file = read_gguf(path)
    _, architecture = architecture_of(file.metadata, file.path)
    config = gguf_config(file.metadata, file.tensors, file.path)
    return GgufCheckpoint(file, config, gguf_weights(file.path, file.tensors, architecture, config))
