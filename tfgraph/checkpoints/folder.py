"""A checkpoint as Hugging Face lays it out in a folder: `config.json` and the files of its weights.

Here the files are found and their tensors gathered under their own names. What a tensor is for is decided in
`tfgraph.checkpoints.assign`; how one file is read, in `tfgraph.checkpoints.safetensors` and
`tfgraph.checkpoints.torch`. Nothing is ever downloaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from tfgraph.checkpoints.json_file import read_json_object
from tfgraph.checkpoints.safetensors import read_safetensors
from tfgraph.checkpoints.torch import read_torch
from tfgraph.errors import CheckpointError, ConfigError, TFGraphError
from tfgraph.ir.constant import Constant

CONFIG_FILE = "config.json"
GENERATION_FILE = "generation_config.json"


class _Format(NamedTuple):
    """A kind of file that weights are in: the names it may have, and the function that reads one."""

    name: str
    weights_file: str
    index_file: str
    suffixes: tuple[str, ...]
    read: Callable[[Path], Mapping[str, Constant]]


# The first that a folder has files of is taken: safetensors is what everybody means where both are there.
_FORMATS = [
    _Format("safetensors", "model.safetensors", "model.safetensors.index.json", (".safetensors",), read_safetensors),
    _Format("torch", "pytorch_model.bin", "pytorch_model.bin.index.json", (".bin", ".pt", ".pth"), read_torch),
]
# What trainers leave beside the weights, in torch's format too.
_OF_TRAINERS = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state|random_states)(_\d+)?\.(bin|pt|pth|pkl)"
)
_SHARD = re.compile(r"(?P<stem>.*)-\d{5}-of-(?P<total>\d{5})(?P<suffix>\.\w+)")
_MOST_LISTED = 20


def read_config(folder: str | Path) -> dict[str, Any]:
    """The object in the folder's `config.json`.

    Raises:
        ConfigError: no such folder, no such file in it (the message lists what is there), not JSON, or not an object.
    """
    folder = Path(folder)
    _check_is_folder(folder, ConfigError)
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ConfigError(f"{folder} has no {CONFIG_FILE}, which says what the model is; it holds {_listing(folder)}")
    return read_json_object(path, ConfigError)


def read_weights(checkpoint: str | Path) -> dict[str, Constant]:
    """The tensors of a checkpoint, by the names they have there. No element is read.

    Args:
        checkpoint: one file, `*.safetensors` or torch's `*.bin`, `*.pt`, `*.pth`; or a folder. In that are looked for,
            in this order: `model.safetensors`; the shards that `model.safetensors.index.json` names; every
            `*.safetensors` file, together; then the same of torch: `pytorch_model.bin`, the shards of
            `pytorch_model.bin.index.json`, and every `*.bin`, `*.pt` and `*.pth` that is not a trainer's state.

    Raises:
        CheckpointError: no such file or folder, no weights in it, a file that is damaged or refused (see
            `read_safetensors` and `read_torch`), a shard that is missing or lacks a tensor that the index puts there,
            an index that is damaged or leads out of the folder, or a tensor that two files hold.
    """
    folder = Path(checkpoint)
    if folder.is_file():
        for form in _FORMATS:
            if folder.suffix in form.suffixes:
                return dict(form.read(folder))
    _check_is_folder(folder, CheckpointError)
    for form in _FORMATS:
        if (folder / form.weights_file).is_file():
            return dict(form.read(folder / form.weights_file))
        if (folder / form.index_file).is_file():
            return _read_indexed(folder, form)
        paths = sorted(path for path in folder.iterdir() if _holds_weights(path, form))
        if paths:
            _check_complete(folder, [path.name for path in paths])
            return _read_together(paths, form)
    raise CheckpointError(
        f"{folder} holds no safetensors file, and no torch file ({', '.join(_FORMATS[1].suffixes)}) of weights; it "
        f"holds {_listing(folder)}. If the weights are in another format, convert them: load the model with "
        "transformers and call `model.save_pretrained(folder, safe_serialization=True)`"
    )


def _holds_weights(path: Path, form: _Format) -> bool:
    return path.suffix in form.suffixes and path.is_file() and not _OF_TRAINERS.fullmatch(path.name)


def _read_indexed(folder: Path, form: _Format) -> dict[str, Constant]:
    """The tensors that the index lists, from the shards that it names."""
    index_path = folder / form.index_file
    weight_map = read_json_object(index_path, CheckpointError).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index_path} has no 'weight_map' that maps tensor names to files")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not _is_inside(shard):
            raise CheckpointError(
                f"{index_path} puts tensor {name!r} in {shard!r}; expected the name of a file inside {folder}"
            )
    shards: dict[str, Mapping[str, Constant]] = {}
    missing = sorted(shard for shard in set(weight_map.values()) if not os.path.isfile(folder / shard))
    if missing:
        raise CheckpointError(
            f"{folder} lacks {_shortened(missing)}, which {form.index_file} names: download the missing "
            f"{'file' if len(missing) == 1 else 'files'}"
        )
    weights: dict[str, Constant] = {}
    for name, shard in weight_map.items():
        if shard not in shards:
            shards[shard] = form.read(folder / shard)
        if name not in shards[shard]:
            raise CheckpointError(
                f"{folder / shard} does not hold tensor {name!r}, which {form.index_file} puts there: the index and "
                "the shards are of different checkpoints. Download them again"
            )
        weights[name] = shards[shard][name]
    return weights


def _read_together(paths: list[Path], form: _Format) -> dict[str, Constant]:
    weights: dict[str, Constant] = {}
    found_in: dict[str, Path] = {}
    for path in paths:
        for name, constant in form.read(path).items():
            if name in weights:
                raise CheckpointError(
                    f"tensor {name!r} is in both {found_in[name]} and {path.name}: leave the files of one checkpoint "
                    f"in the folder, or name the right one {form.weights_file}"
                )
            weights[name] = constant
            found_in[name] = path
    return weights


def _check_complete(folder: Path, names: list[str]) -> None:
    """Shards are numbered `-00001-of-00003`: without an index, that is how a missing one is noticed."""
    series = {(match["stem"], match["total"], match["suffix"]) for match in map(_SHARD.fullmatch, names) if match}
    for stem, total, suffix in sorted(series):
        every = [f"{stem}-{number:05d}-of-{total}{suffix}" for number in range(1, int(total) + 1)]
        missing = sorted(set(every).difference(names))
        if missing:
            raise CheckpointError(
                f"{folder} lacks {_shortened(missing)}, {len(missing)} of {int(total)} shards: download the rest"
            )


def _is_inside(shard: str) -> bool:
    """Whether a path of the index stays below the folder, read as POSIX and as Windows path.

    Only the text is judged: in a cache the files themselves may be links that lead elsewhere.
    """
    return bool(shard) and all(
        not path.is_absolute() and not path.anchor and ".." not in path.parts and path.name != "" and "\0" not in shard
        for path in (PurePosixPath(shard), PureWindowsPath(shard))
    )


def _check_is_folder(folder: Path, error: type[TFGraphError]) -> None:
    if folder.is_dir():
        return
    found = "is a file" if folder.exists() else "does not exist"
    raise error(
        f"{folder} {found}; expected a folder with {CONFIG_FILE} and *.safetensors or a torch file. Models are read "
        "from disk, never downloaded"
    )


def _listing(folder: Path) -> str:
    try:
        names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    except OSError as error:
        return f"what cannot be listed ({error.strerror or error})"
    return _shortened(names) if names else "nothing"


def _shortened(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_LISTED])
    return shown if len(names) <= _MOST_LISTED else f"{shown} and {len(names) - _MOST_LISTED} more"
