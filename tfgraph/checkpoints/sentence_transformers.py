"""How a sentence-transformers folder says that a text becomes one vector: `modules.json` and what it points to.

The settings are read and checked here. What the pooling modes compute is in `tfgraph.models.pooling`; the encoder in
the folder is an ordinary Hugging Face checkpoint, see `folder.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from tfgraph.checkpoints.json_file import read_json_array, read_json_object
from tfgraph.errors import ConfigError

MODULES_FILE = "modules.json"
POOLING_FOLDER = "1_Pooling"
ENCODER_SETTINGS_FILE = "sentence_bert_config.json"
_SETTINGS_FILE = "config.json"

_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class SentenceSettings:
    """What such a folder says.

    `pooling_modes` are names such as "mean" (several are concatenated), `max_seq_length` is the length that texts are
    truncated to, special tokens included, and `do_lower_case` says that texts are lower-cased before the tokenizer sees
    them.
    """

    pooling_modes: tuple[str, ...] = ("mean",)
    normalize: bool = False
    max_seq_length: int | None = None
    do_lower_case: bool = False


def is_sentence_folder(folder: str | Path) -> bool:
    """Whether the folder is laid out by sentence-transformers."""
    folder = Path(folder)
    return (folder / MODULES_FILE).is_file() or (folder / POOLING_FOLDER / _SETTINGS_FILE).is_file()


def read_sentence_settings(folder: str | Path) -> SentenceSettings:
    """The settings of the folder; those of mean pooling, as in sentence-transformers, where it has none.

    Raises:
        ConfigError: a file that is damaged or leads out of the folder, modules other than a Transformer, then a
            Pooling, then perhaps a Normalize, or settings of a wrong type.
    """
    folder = Path(folder)
    pooling_folder, normalize = folder / POOLING_FOLDER, False
    if (folder / MODULES_FILE).is_file():
        pooling_folder, normalize = _check_modules(folder / MODULES_FILE, _read_modules(folder))
    modes = _read_modes(pooling_folder / _SETTINGS_FILE) if is_sentence_folder(folder) else ("mean",)
    max_seq_length, do_lower_case = _read_encoder_settings(find_encoder_folder(folder) / ENCODER_SETTINGS_FILE)
    return SentenceSettings(modes, normalize, max_seq_length, do_lower_case)


def _check_modules(path: Path, modules: list[tuple[str, Path]]) -> tuple[Path, bool]:
    """The folder of the pooling, and whether a normalisation follows."""
    kinds = [kind for kind, _ in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ConfigError(
            f"{path} lists the modules {', '.join(kinds) or 'none'}: expected Transformer, Pooling, and perhaps "
            'Normalize. For the hidden states alone, load the folder with task="base"'
        )
    return modules[1][1], len(kinds) == 3


def find_encoder_folder(folder: str | Path) -> Path:
    """Where the encoder's checkpoint is: the folder itself, or what `modules.json` says, such as `0_Transformer`.

    Raises:
        ConfigError: `modules.json` is damaged, or leads out of the folder.
    """
    folder = Path(folder)
    if not (folder / MODULES_FILE).is_file():
        return folder
    return next((place for kind, place in _read_modules(folder) if kind == "Transformer"), folder)


def _read_modules(folder: Path) -> list[tuple[str, Path]]:
    """The kinds and folders of the modules."""
    path = folder / MODULES_FILE
    modules = []
    for module in read_json_array(path, ConfigError):
        kind, place = (module.get("type"), module.get("path")) if isinstance(module, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(place, str):
            raise ConfigError(f"{path} lists {module!r}: expected an object with the texts 'type' and 'path'")
        if _leads_out(place):
            raise ConfigError(f"{path} puts a module in {place!r}: expected a folder inside {folder}")
        modules.append((kind.rpartition(".")[2], folder / place))
    return modules


def _leads_out(place: str) -> bool:
    """Whether a path leads out of its folder, read as a POSIX and as a Windows path; only the text is judged."""
    return any(
        path.is_absolute() or bool(path.anchor) or ".." in path.parts or "\0" in place
        for path in (PurePosixPath(place), PureWindowsPath(place))
    )


def _read_modes(path: Path) -> tuple[str, ...]:
    """The pooling modes: flags such as `pooling_mode_mean_tokens`, or names in `pooling_mode`."""
    settings = read_json_object(path, ConfigError)
    named = settings.get("pooling_mode")
    if named is not None:
        names = [named] if isinstance(named, str) else named
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ConfigError(f"{path}: 'pooling_mode' is {named!r}: expected a text, or a list of texts")
        return tuple(names)
    modes = tuple(mode for flag, mode in _MODES.items() if _flag(settings, flag, path))
    if not modes:
        raise ConfigError(f"{path} switches no pooling mode on: expected one of {', '.join(_MODES)} to be true")
    return modes


def _read_encoder_settings(path: Path) -> tuple[int | None, bool]:
    if not path.is_file():
        return None, False
    settings = read_json_object(path, ConfigError)
    length = settings.get("max_seq_length")
    if length is not None and (type(length) is not int or length < 1):
        raise ConfigError(f"{path}: 'max_seq_length' is {length!r}: expected a positive integer")
    return length, _flag(settings, "do_lower_case", path)


def _flag(settings: Mapping[str, Any], name: str, path: Path) -> bool:
    value = settings.get(name)
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"{path}: {name!r} is {value!r}: expected true or false")
    return bool(value)
