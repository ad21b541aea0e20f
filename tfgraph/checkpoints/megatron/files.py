"""The files of a Megatron-LM checkpoint, and what each of them holds.

    latest_checkpointed_iteration.txt       "release", or the number of the newest iteration
    release/ or iter_0001000/               one checkpoint
        mp_rank_TT/ or mp_rank_TT_PPP/      the shard of tensor rank TT, and of pipeline rank PPP
            model_optim_rng.pt              or model_rng.pt, where the optimiser is saved apart

Source: `megatron.checkpointing.get_checkpoint_name`, which has kept this since 2019. The directories of `torch_dist`
checkpoints, which Megatron Core writes, are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfgraph.checkpoints.torch import flatten_tensors, read_torch_object
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import Constant

TRACKER_FILE = "latest_checkpointed_iteration.txt"
SHARD_FILES = ("model_optim_rng.pt", "model_rng.pt")

_RANK = re.compile(r"mp_rank_(?P<tensor>\d{2})(_(?P<stage>\d{3}))?")
_OTHER_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")  # of a folder that was converted in place


@dataclass(frozen=True)
class Shard:
    """What one file holds.

    Attributes:
        path: the file.
        tensors: the tensors of its model, by their dotted names there.
        arguments: those that Megatron was started with; None if the file does not tell.
        version: of the layout of its tensors.
    """

    path: Path
    tensors: Mapping[str, Constant] = field(repr=False)
    arguments: Mapping[str, Any] | None
    version: float


def is_megatron(path: Path) -> bool:
    """Whether `path` is a folder of Megatron-LM, or one file that is called as its files are. Nothing is read.

    A folder that also holds weights as Hugging Face names them is theirs.
    """
    if not path.is_dir():
        return path.name in SHARD_FILES
    found = (path / TRACKER_FILE).is_file() or bool(_rank_folders(path)) or _shard_in(path) is not None
    return found and not any(next(path.glob(pattern), None) for pattern in _OTHER_WEIGHTS)


def find_shards(path: Path) -> list[list[Path]]:
    """The files of a checkpoint: for each pipeline stage, those of its tensor ranks in order.

    Args:
        path: the folder of a training, of one checkpoint, or of one rank; or a file.

    Raises:
        CheckpointError: nothing is there, or a rank is missing.
    """
    if path.is_file():
        return [[path]]
    folder = _newest(path) if (path / TRACKER_FILE).is_file() else path
    single = _shard_in(folder)
    if single is not None:
        return [[single]]
    ranks = _rank_folders(folder)
    if not ranks:
        raise CheckpointError(
            f"{folder} holds no folder mp_rank_00 with {' or '.join(SHARD_FILES)}: expected a checkpoint that "
            "Megatron-LM saved with --ckpt-format torch (those of Megatron Core, with *.distcp files, are not read)"
        )
    stages, width = (1 + max(rank[axis] for rank in ranks) for axis in (0, 1))
    shards: list[list[Path]] = []
    for stage in range(stages):
        shards.append([])
        for tensor in range(width):
            rank = ranks.get((stage, tensor))
            file = None if rank is None else _shard_in(rank)
            if file is None:
                missing = f"of tensor rank {tensor} and pipeline rank {stage}, {width} by {stages} in all"
                raise CheckpointError(f"{folder} lacks the shard {missing}: copy all folders mp_rank_*")
            shards[-1].append(file)
    return shards


def read_shard(path: Path) -> Shard:
    """What a file holds. No element is read.

    Raises:
        CheckpointError: the file is damaged or refused (see `read_torch_object`), or not one of Megatron-LM's.
    """
    found = read_torch_object(path)
    content = found if isinstance(found, dict) else {}
    if "model0" in content:
        raise CheckpointError(
            f"{path} is of a training with interleaved pipeline stages, which is not read: save it again without "
            "--num-layers-per-virtual-pipeline-stage"
        )
    model = content.get("model")
    if not isinstance(model, dict):
        holds = ", ".join(map(repr, list(content)[:10])) or f"a {type(found).__name__}"
        raise CheckpointError(
            f"{path} is no checkpoint of Megatron-LM: it holds {holds}, and no dict called 'model'. If it is a model "
            "of Hugging Face, give its folder, which config.json is in too"
        )
    if "language_model" not in model:
        holds = ", ".join(map(repr, list(model)[:3])) or "nothing"
        raise CheckpointError(
            f"{path} holds no 'language_model', but {holds}: if it is of Megatron Core, convert it with Megatron-LM's "
            "tools/checkpoint/convert.py --saver megatron (the older names), or to the format of Hugging Face"
        )
    version = content.get("checkpoint_version", 0)
    if not isinstance(version, (int, float)):
        raise CheckpointError(f"{path} says that its checkpoint_version is {version!r}: expected a number")
    arguments = content.get("args")
    return Shard(
        path,
        flatten_tensors(model, str(path)),
        arguments if isinstance(arguments, dict) else None,
        float(version),
    )


def _newest(folder: Path) -> Path:
    """The checkpoint that the tracker file names."""
    tracker = folder / TRACKER_FILE
    try:
        text = tracker.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"cannot read {tracker}: {error}") from error
    if text != "release" and not (text.isascii() and text.isdigit()):
        raise CheckpointError(f"{tracker} says {text[:50]!r}: expected 'release' or the number of an iteration")
    named = folder / (text if text == "release" else f"iter_{int(text):07d}")
    if not named.is_dir():
        raise CheckpointError(f"{tracker} names {named.name}, and there is no such folder in {folder}")
    return named


def _rank_folders(folder: Path) -> dict[tuple[int, int], Path]:
    """The folders of ranks in `folder`, by pipeline and tensor rank."""
    found = {}
    for path in folder.iterdir():
        match = _RANK.fullmatch(path.name)
        if match and path.is_dir():
            found[int(match["stage"] or 0), int(match["tensor"])] = path
    return found


def _shard_in(folder: Path) -> Path | None:
    return next((folder / name for name in SHARD_FILES if (folder / name).is_file()), None)
