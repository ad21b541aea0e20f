"""A checkpoint as Hugging Face lays it out in a folder: `config.json` and one or more safetensors files.

Here the files are found and their tensors gathered under their own names. What a tensor is for is decided in
`tfgraph.checkpoints.assign`; how one file is read, in `tfgraph.checkpoints.safetensors`. Nothing is ever downloaded.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from tfgraph.checkpoints.json_file import read_json_object
from tfgraph.checkpoints.safetensors import read_safetensors
from tfgraph.errors import CheckpointError, ConfigError, TFGraphError
from tfgraph.ir.constant import Constant

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

_SHARD = re.compile(r"(?P<stem>.*)-\d{5}-of-(?P<total>\d{5})\.safetensors")
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


def read_weights(folder: str | Path) -> dict[str, Constant]:
    """The tensors of the folder's checkpoint, by the names they have there. No element is read.

    Looked for, in this order: `model.safetensors`; the shards that `model.safetensors.index.json` names; every
    `*.safetensors` file of the folder, together.

    Raises:
        CheckpointError: no such folder, no safetensors file in it, a file that is damaged (see `read_safetensors`), a
            shard that is missing or lacks a tensor that the index puts there, an index that is damaged or leads out of
            the folder, or a tensor that two files hold.
    """
    folder = Path(folder)
    _check_is_folder(folder, CheckpointError)
    if (folder / WEIGHTS_FILE).is_file():
        return dict(read_safetensors(folder / WEIGHTS_FILE))
    if (folder / INDEX_FILE).is_file():
        return _read_indexed(folder)
    paths = sorted(path for path in folder.glob("*.safetensors") if path.is_file())
    if not paths:
        raise CheckpointError(
            f"{folder} holds no safetensors file; it holds {_listing(folder)}. If the weights are in another format, "
            "convert them: load the model with transformers and call "
            "`model.save_pretrained(folder, safe_serialization=True)`"
        )
    _check_complete(folder, [path.name for path in paths])
    return _read_together(paths)


def _read_indexed(folder: Path) -> dict[str, Constant]:
    """The tensors that the index lists, from the shards that it names."""
    index_path = folder / INDEX_FILE
    weight_map = read_json_object(index_path, CheckpointError).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index_path} has no 'weight_map' that maps tensor names to files")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not _is_inside(shard):
            raise CheckpointError(
                f"{index_path} puts tensor {name!r} in {shard!r}; expected the name of a file inside {folder}"
            )
    shards: dict[str, dict[str, Constant]] = {}
    missing = sorted(shard for shard in set(weight_map.values()) if not os.path.isfile(folder / shard))
    if missing:
        raise CheckpointError(
            f"{folder} lacks {_shortened(missing)}, which {INDEX_FILE} names: download the missing "
            f"{'file' if len(missing) == 1 else 'files'}"
        )
    weights: dict[str, Constant] = {}
    for name, shard in weight_map.items():
        if shard not in shards:
            shards[shard] = dict(read_safetensors(folder / shard))
        if name not in shards[shard]:
            raise CheckpointError(
                f"{folder / shard} does not hold tensor {name!r}, which {INDEX_FILE} puts there: the index and the "
                "shards are of different checkpoints. Download them again"
            )
        weights[name] = shards[shard][name]
    return weights


def _read_together(paths: list[Path]) -> dict[str, Constant]:
    weights: dict[str, Constant] = {}
    found_in: dict[str, Path] = {}
    for path in paths:
        for name, constant in read_safetensors(path).items():
            if name in weights:
                raise CheckpointError(
                    f"tensor {name!r} is in both {found_in[name]} and {path.name}: leave the files of one checkpoint "
                    f"in the folder, or name the right one {WEIGHTS_FILE}"
                )
            weights[name] = constant
            found_in[name] = path
    return weights


def _check_complete(folder: Path, names: list[str]) -> None:
    """Shards are numbered `-00001-of-00003`: without an index, that is how a missing one is noticed."""
    series = {(match["stem"], match["total"]) for match in map(_SHARD.fullmatch, names) if match}
    for stem, total in sorted(series):
        every = [f"{stem}-{number:05d}-of-{total}.safetensors" for number in range(1, int(total) + 1)]
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
        f"{folder} {found}; expected a folder with {CONFIG_FILE} and *.safetensors. Models are read from disk, "
        "never downloaded"
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
