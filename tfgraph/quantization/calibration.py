"""Calibration inputs: from a user's texts or arrays, split into what the search sees and what it is verified on.

Nothing is made up here: without texts or arrays there is no calibration. Running a model on them is in `observe.py`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from tfgraph.errors import ConfigError, InputError
from tfgraph.ir.constant import Array

if TYPE_CHECKING:
    from tfgraph.pretrained import Pretrained

Case: TypeAlias = Mapping[str, Array]
"""The inputs of one run, by name."""

CalibrationInput: TypeAlias = "str | Path | Sequence[str] | Sequence[Mapping[str, Any]]"
"""What a user gives: texts, or a file with one text a line; dicts of arrays, or an .npz file of them."""

BATCH: Final = 8
WINDOW: Final = 128
"""Tokens of a window of running text, for decoders."""

_GROUP: Final = 2  # of so many cases one is held out


@dataclass(frozen=True)
class Calibration:
    """Inputs for measuring: `cases` are searched on, `held_out` are only verified on."""

    cases: tuple[Case, ...]
    held_out: tuple[Case, ...]


def read_arrays(path: Path) -> list[Case]:
    """The inputs in an .npz file: an array for each input, whose first axis counts rows; each row is a run of batch 1.

    Raises:
        InputError: the file cannot be read, is empty, or its arrays have different numbers of rows.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot read the calibration inputs in {path}: {reason}. Write it with "
            "numpy.savez(path, input_ids=…, attention_mask=…)"
        ) from None
    rows = {len(array) if array.ndim else -1 for array in arrays.values()}
    if len(rows) != 1 or rows <= {-1, 0}:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()) or "nothing"
        raise InputError(f"{path} holds {shapes}: expected arrays with the same number of rows, 1 or more")
    return [{name: array[index : index + 1] for name, array in arrays.items()} for index in range(rows.pop())]


def read_texts(given: object) -> list[str] | None:
    """The texts that a user gave, as a list or as the path of a file; None where arrays were given.

    Raises:
        InputError: the file cannot be read, there is no text, or the list mixes texts with something else.
    """
    if isinstance(given, str | Path):
        path = Path(given)
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"cannot read the calibration texts in {path}: {reason}. Give a UTF-8 file with one text a line"
            ) from None
        texts = [line for line in lines if line.strip()]
        if not texts:
            raise InputError(f"{path} holds no calibration text: expected one text a line")
        return texts
    if isinstance(given, bytes) or not isinstance(given, Sequence) or not given:
        found = "nothing" if isinstance(given, Sequence) and not given else type(given).__name__
        raise InputError(f"calibration is {found}: expected a list of texts, a text file, or a list of dicts of arrays")
    kinds = {type(item) is str for item in given}
    if kinds == {True}:
        return [text for text in given if isinstance(text, str)]
    if len(kinds) > 1 or not all(isinstance(item, Mapping) for item in given):
        wrong = next((item for item in given if not isinstance(item, str | Mapping)), given[0])
        raise InputError(f"calibration holds a {type(wrong).__name__} among others: expected only texts, or only dicts")
    return None


def from_texts(model: Pretrained, texts: Sequence[str], *, windows: bool) -> Calibration:
    """The inputs of a checkpoint for texts.

    With `windows` (for models that predict the next token) the texts are one running text, cut into windows of 128
    tokens; otherwise they are batches of 8 of about the same length.

    Raises:
        InputError: the checkpoint has no tokenizer, or the texts are too few to be split.
    """
    if model.tokenizer is None:
        raise InputError(
            f"{model.path} has no tokenizer, so that texts cannot calibrate it: give a list of dicts of its inputs"
        )
    if windows:
        return split(_windows(model, texts))
    chosen, kept = _split(list(texts), "texts")
    return Calibration(_batches(model, chosen), _batches(model, kept))


def from_arrays(cases: Sequence[Mapping[str, Any]]) -> Calibration:
    """The user's own inputs, dicts of arrays.

    Raises:
        InputError: they are too few to be split.
    """
    return split([{name: np.asarray(array) for name, array in case.items()} for case in cases])


def split(cases: Sequence[Case]) -> Calibration:
    """Every second case held out.

    Raises:
        InputError: there are fewer than 2.
    """
    chosen, kept = _split(list(cases), "inputs")
    return Calibration(tuple(chosen), tuple(kept))


def _split(items: list[Any], what: str) -> tuple[list[Any], list[Any]]:
    if len(items) < 2:
        raise InputError(
            f"calibration has {len(items)} {what}: expected at least 2, since the error is verified on some that the "
            "search does not see; 200 or more make its bound worth something"
        )
    group = min(_GROUP, len(items))
    kept = items[group - 1 :: group]
    return [item for index, item in enumerate(items) if index % group != group - 1], kept


def _batches(model: Pretrained, texts: Sequence[str]) -> tuple[Case, ...]:
    ordered = sorted(texts, key=len)
    groups = [ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)]
    return tuple(model.encode(group) for group in groups)


def _windows(model: Pretrained, texts: Sequence[str]) -> list[Case]:
    """Windows [1, 128] of the running text; one shorter window where there is not more."""
    rows = [model.encode([text])["input_ids"][0] for text in texts]
    running = np.concatenate(rows).astype(np.int64)
    longest = WINDOW if model.max_length is None else min(WINDOW, model.max_length)
    size = min(longest, max(2, running.size // 2))
    count = running.size // size
    if count < 2:
        raise InputError(
            f"the calibration texts have {running.size} tokens: expected enough for two windows of 2 or more"
        )
    windows = running[: count * size].reshape(count, 1, size)
    wanted = set(model.input_specs)
    made = [{"input_ids": window, "attention_mask": np.ones_like(window)} for window in windows]
    made = [{**case, "token_type_ids": np.zeros_like(case["input_ids"])} for case in made]
    return [{name: array for name, array in case.items() if name in wanted} for case in made]


def check_cases(cases: Sequence[Case], names: Sequence[str]) -> None:
    """Refuse calibration whose arrays are not the model's inputs.

    Raises:
        ConfigError: naming what is missing and what there is too much of.
    """
    for index, case in enumerate(cases):
        if set(case) != set(names):
            missing = ", ".join(sorted(set(names) - set(case))) or "nothing"
            extra = ", ".join(sorted(set(case) - set(names))) or "nothing"
            raise ConfigError(
                f"calibration input {index} does not fit the model: it lacks {missing}, and has {extra} that the model "
                f"does not take; the model's inputs are {', '.join(names)}"
            )
