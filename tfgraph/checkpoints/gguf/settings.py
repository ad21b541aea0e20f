"""One metadata value of a GGUF file at a time, checked: a number, a text, a list.

What the values mean is in `tfgraph.checkpoints.gguf.config` and `tfgraph.checkpoints.gguf.tokenizer`.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfgraph.errors import CheckpointError

ARCHITECTURE_KEY = "general.architecture"


class Settings:
    """The metadata of the file `path`. `None` stands for a key that is absent.

    Raises:
        CheckpointError: (from all methods) the value is of another kind than asked for.
    """

    def __init__(self, metadata: Mapping[str, Any], path: Path) -> None:
        self.metadata = metadata
        self.path = path

    def text(self, key: str) -> str | None:
        """A string."""
        found = self.metadata.get(key)
        if found is not None and not isinstance(found, str):
            raise self.wrong(key, "a text")
        return found

    def flag(self, key: str) -> bool | None:
        """A boolean."""
        found = self.metadata.get(key)
        if found is not None and not isinstance(found, bool):
            raise self.wrong(key, "true or false")
        return found

    def texts(self, key: str) -> list[str] | None:
        """A list of strings."""
        found = self.metadata.get(key)
        if found is None or (isinstance(found, list) and all(isinstance(each, str) for each in found)):
            return found
        if isinstance(found, np.ndarray) and not found.size:  # an empty list may say that it is of anything
            return []
        raise self.wrong(key, "a list of texts")

    def numbers(self, key: str) -> list[float] | list[int] | None:
        """A list of numbers."""
        found = self.metadata.get(key)
        if found is None:
            return None
        if isinstance(found, np.ndarray) and found.dtype.kind in "iuf":
            listed: list[float] | list[int] = found.tolist()
            return listed
        if isinstance(found, list) and not found:
            return []
        raise self.wrong(key, "a list of numbers")

    def integer(self, key: str) -> int | None:
        """An integer."""
        found = self.metadata.get(key)
        if found is not None and type(found) is not int:
            raise self.wrong(key, "an integer")
        return found

    def number(self, key: str) -> int | float | None:
        """An integer or a finite float; a float32 as the shortest decimal that is the same float32.

        One number for each layer counts as one number, if they are all the same.
        """
        found = self.metadata.get(key)
        if isinstance(found, np.ndarray):
            if found.dtype.kind not in "iuf" or not found.size or (found != found[0]).any():
                raise self.wrong(key, "one number for all layers: layers that differ are not read")
            found = found[0].item()
        if found is None or type(found) is int:
            return found
        if type(found) is not float or not math.isfinite(found):
            raise self.wrong(key, "a number")
        with np.errstate(over="ignore"):
            single = np.float32(found)
        return float(str(single)) if single == found else found

    def wrong(self, key: str, expected: str) -> CheckpointError:
        """The error for a value that is not `expected`."""
        found = reprlib.repr(self.metadata.get(key))
        return CheckpointError(f"{self.path}: the metadata key {key!r} must be {expected}, found {found}")
