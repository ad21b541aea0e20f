"""Texts from a file or from standard input, which several commands read."""

from __future__ import annotations

import sys
from pathlib import Path

from tfgraph.errors import InputError


def read_text(path: Path) -> str:
    """The content of a UTF-8 file; of standard input for `-`.

    Raises:
        InputError: the file cannot be read, or is not UTF-8.
    """
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error}") from None
