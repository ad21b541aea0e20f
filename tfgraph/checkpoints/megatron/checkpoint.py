"""A checkpoint of Megatron-LM as a configuration and weights that the model families know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfgraph.checkpoints.json_file import read_json_object
from tfgraph.checkpoints.megatron.files import find_shards, read_shard
from tfgraph.checkpoints.megatron.merge import merged
from tfgraph.checkpoints.megatron.names import bert_name, is_bert
from tfgraph.checkpoints.megatron.settings import adapted_config, config_from, heads_of
from tfgraph.errors import CheckpointError, ConfigError
from tfgraph.ir.constant import Constant
from tfgraph.ir.transforms import sliced

CONFIG_FILE = "config.json"

_OF_THE_VOCABULARY = ("word_embeddings.weight", "output_layer.weight", "cls.predictions.bias")


@dataclass(frozen=True)
class MegatronCheckpoint:
    """A checkpoint of Megatron-LM, its shards put together.

    Attributes:
        path: the first of its files.
        config: the object that `config.json` would hold; its `model_type` is `megatron-gpt2` or `megatron-bert`.
        weights: the tensors as lazy handles, with query, key and value apart: GPT-2's under Megatron's newer names,
            BERT's under Hugging Face's.
    """

    path: Path
    config: dict[str, Any]
    weights: Mapping[str, Constant] = field(repr=False)


def open_megatron_checkpoint(path: str | Path) -> MegatronCheckpoint:
    """Read a checkpoint of Megatron-LM. No weight is read.

    The configuration comes from the arguments of the training, which newer checkpoints hold; without them from a
    `config.json` beside the checkpoint. Where that gives fewer tokens than the tables have rows, the rest of the rows,
    which pad the vocabulary, is left out.

    Args:
        path: the folder that Megatron-LM saved into, that of one of its checkpoints, or one of its files.

    Raises:
        CheckpointError: files are missing, damaged or refused, or their shards do not fit together.
        ConfigError: no configuration, or one that asks for something that is not built here.
    """
    path = Path(path)
    stages = [[read_shard(file) for file in files] for files in find_shards(path)]
    first = stages[0][0]
    where = str(first.path)
    _check_complete(first.arguments, len(stages[0]), len(stages), where)
    beside = _config_beside(path) if first.arguments is None else None
    heads, head_dim = heads_of(first.arguments, beside, where)
    weights = merged(stages, heads, head_dim)
    if first.arguments is not None:
        config = config_from(first.arguments, weights, where)
    else:
        config = adapted_config(beside or {}, where)
    if is_bert(weights):
        weights = {bert_name(name): constant for name, constant in weights.items()}
    return MegatronCheckpoint(first.path, config, _without_padding(weights, config))


def _check_complete(arguments: Mapping[str, Any] | None, ranks: int, stages: int, where: str) -> None:
    """Refuse part of a checkpoint, such as one file of several."""
    given = arguments or {}
    for names, found in (
        (("tensor_model_parallel_size", "model_parallel_size"), ranks),
        (("pipeline_model_parallel_size",), stages),
    ):
        trained = next((given[name] for name in names if isinstance(given.get(name), int)), found)
        if trained != found:
            raise CheckpointError(
                f"{where} was saved with {names[0]} = {trained}, and {found} of so many shards were given: pass the "
                "folder that all folders mp_rank_* are in"
            )


def _config_beside(path: Path) -> dict[str, Any] | None:
    """What a `config.json` says in the folder of a checkpoint, or in one of the two above a file's."""
    folders = [path] if path.is_dir() else [path.parent, *path.parent.parents[:2]]
    file = next((folder / CONFIG_FILE for folder in folders if (folder / CONFIG_FILE).is_file()), None)
    return None if file is None else read_json_object(file, ConfigError)


def _without_padding(weights: Mapping[str, Constant], config: Mapping[str, Any]) -> dict[str, Constant]:
    """The weights, without the rows that pad the vocabulary beyond `vocab_size`."""
    size = config.get("vocab_size")
    return {
        name: sliced(constant, 0, 0, size)
        if name.endswith(_OF_THE_VOCABULARY) and isinstance(size, int) and 0 < size < constant.shape[0]
        else constant
        for name, constant in weights.items()
    }
