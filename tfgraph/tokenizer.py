"""Text to token ids and back, with the tokenizer that came with a checkpoint.

The `tokenizers` package does the work; here its results become ids, and what it is given is checked. How ids are
padded is in `token_rows.py`, how a tokenizer is put together from a folder's files in
`tfgraph.checkpoints.tokenizer_files`.
"""

from __future__ import annotations

import contextlib
import operator
import os
import shutil
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tfgraph.checkpoints.tokenizer_files import TokenizerParts, load_tokenizer_parts
from tfgraph.errors import CheckpointError, ExportError, InputError
from tfgraph.token_rows import TokenRows

if TYPE_CHECKING:
    from tokenizers import Encoding

Pair = tuple[str, str]

_CHUNK = 512  # texts that are tokenised at once: the backend's results are ten times as large as the ids in them


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its place: characters `start` to `end` of the text, or of text number `part` of a pair.

    `part` is None for a special token that the tokenizer added, which stands for no characters.
    """

    text: str
    id: int
    part: int | None
    start: int
    end: int


class Tokenizer:
    """A checkpoint's tokenizer. Made by `Tokenizer.load(folder)`; may be used from several threads."""

    def __init__(self, parts: TokenizerParts) -> None:
        self._parts = parts
        self._lock = threading.Lock()  # truncation is a setting of the backend, not an argument

    @classmethod
    def load(cls, folder: str | Path) -> Tokenizer:
        """The tokenizer of a Hugging Face folder: `tokenizer.json`, or else BERT's `vocab.txt`.

        Raises:
            CheckpointError: the folder has neither, or one of the tokenizer's files is damaged.
        """
        return cls(load_tokenizer_parts(folder))

    @property
    def files(self) -> list[Path]:
        """The files of the folder that describe the tokenizer."""
        return list(self._parts.files)

    @property
    def vocab_size(self) -> int:
        """How many tokens there are, added ones included."""
        return self._parts.backend.get_vocab_size(with_added_tokens=True)

    @property
    def special_tokens(self) -> dict[str, str]:
        """Role to token, such as `"mask_token": "[MASK]"`."""
        return dict(self._parts.special_tokens)

    @property
    def pad_token(self) -> str | None:
        """The padding token; None if the checkpoint has none."""
        return self._parts.special_tokens.get("pad_token")

    @property
    def pad_id(self) -> int:
        """The id at padded places: the padding token's, else the end token's, else 0."""
        return self._parts.pad_id

    @property
    def max_length(self) -> int | None:
        """The longest input that the model takes, special tokens included; None if the checkpoint does not say."""
        return self._parts.max_length

    def token_id(self, token: str) -> int:
        """The id of a token such as `[MASK]`.

        Raises:
            InputError: the vocabulary has no such token.
        """
        number = self._parts.backend.token_to_id(token)
        if number is None:
            raise InputError(f"{token!r} is not one of the {self.vocab_size} tokens of this tokenizer")
        return number

    def encode(
        self,
        texts: Sequence[str] | Sequence[Pair],
        *,
        max_length: int | None = None,
        padding: Literal["right", "left"] = "right",
    ) -> dict[str, NDArray[np.int64]]:
        """Token ids of texts, or of pairs of texts, padded to the longest of them.

        With `max_length`, longer ones are truncated to it, special tokens included and kept; of a pair, the longer text
        is cut first. Without it nothing is truncated, even if it is longer than the model takes (`max_length` of the
        tokenizer).

        Returns:
            input_ids, attention_mask (1: a token, 0: padding) and token_type_ids (1: of the second text), int64 [B, S].

        Raises:
            InputError: no texts, one that is neither a text nor a pair of them, texts mixed with pairs, texts without a
                single token, or a `max_length` with no room besides the special tokens.
            CheckpointError: the tokenizer lacks what a text needs, such as its token for unknown words.
        """
        inputs, are_pairs = _checked_texts(texts)
        if padding not in ("right", "left"):
            raise InputError(f"padding must be 'right' or 'left', found {padding!r}")
        rows = self._rows(inputs, self._checked_length(max_length, are_pairs))
        if not rows.lengths.any():
            raise InputError("the texts have no tokens: give at least one that is not empty")
        return rows.padded(range(len(inputs)), padding=padding)

    def encode_ragged(
        self, texts: Sequence[str] | Sequence[Pair], *, max_length: int | None = None, first: int = 0
    ) -> TokenRows:
        """As `encode`, without padding: rows of any lengths, for thousands of texts; they may have no tokens at all.

        The texts are tokenised in parallel, some hundred at a time, so that little more than ids is held in memory.
        Errors count the texts from `first`.

        Raises:
            InputError, CheckpointError: as `encode` does.
        """
        inputs, are_pairs = _checked_texts(texts)
        limit = self._checked_length(max_length, are_pairs)
        chunks = (inputs[start : start + _CHUNK] for start in range(0, len(inputs), _CHUNK))
        return TokenRows.joined(
            [self._rows(chunk, limit, first + index * _CHUNK) for index, chunk in enumerate(chunks)]
        )

    def tokens(self, texts: Sequence[str] | Sequence[Pair], *, max_length: int | None = None) -> list[list[Token]]:
        """The tokens of each text, or pair of texts, with their places in it: those that `encode` gives ids for.

        Raises:
            InputError, CheckpointError: as `encode` does.
        """
        inputs, are_pairs = _checked_texts(texts)
        return [
            [
                Token(text, number, part, *(place if part is not None else (0, 0)))
                for text, number, part, place in zip(
                    encoding.tokens, encoding.ids, encoding.sequence_ids, encoding.offsets, strict=True
                )
            ]
            for encoding in self._encode(inputs, self._checked_length(max_length, are_pairs))
        ]

    def decode(self, ids: Iterable[int] | NDArray[np.integer], skip_special_tokens: bool = True) -> str:
        """The text of one row of ids. Ids beyond the vocabulary, which a padded embedding can produce, give no text.

        Raises:
            InputError: not a row of integers, or one below 0.
        """
        row = ids.tolist() if isinstance(ids, np.ndarray) else ids
        try:
            numbers = [operator.index(number) for number in row]
        except TypeError as error:
            raise InputError(f"decode takes one row of token ids, [S], found {_described(ids)}") from error
        if any(not 0 <= number < 2**32 for number in numbers):
            raise InputError(
                f"token ids must be integers from 0, found {next(n for n in numbers if not 0 <= n < 2**32)}"
            )
        return self._parts.backend.decode(numbers, skip_special_tokens=skip_special_tokens)

    def copy_to(self, folder: str | Path) -> list[Path]:
        """Copy the tokenizer's files into a folder, made if need be, and return the copies.

        Of a tokenizer that has no files, because it came out of a GGUF file, those that would describe it are written.
        Each is written beside its place and then moved there: an interrupted copy leaves the old file whole.

        Raises:
            ExportError: a file could not be read or written.
        """
        folder = Path(folder)
        copies: list[Path] = []
        texts = self._parts.contents
        for path in [*self._parts.files, *map(Path, texts)]:
            copy, unfinished = folder / path.name, folder / f".{path.name}.partial"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if path.name in texts:
                    unfinished.write_text(texts[path.name], encoding="utf-8", newline="\n")
                    os.replace(unfinished, copy)
                elif not (copy.exists() and copy.samefile(path)):
                    shutil.copyfile(path, unfinished)
                    os.replace(unfinished, copy)
            except OSError as error:
                raise ExportError(f"cannot copy {path} to {folder}: {error.strerror or error}") from error
            finally:
                with contextlib.suppress(OSError):
                    unfinished.unlink(missing_ok=True)
            copies.append(copy)
        return copies

    def _rows(self, inputs: list[str] | list[Pair], max_length: int | None, first: int = 0) -> TokenRows:
        """The ids of texts, of which the first is number `first` of those that were given."""
        encodings = self._encode(inputs, max_length, first, fast=True)
        return TokenRows.of(
            [encoding.ids for encoding in encodings],
            [encoding.type_ids for encoding in encodings],
            pad_id=self._parts.pad_id,
            pad_type_id=self._parts.pad_type_id,
        )

    def _encode(
        self, inputs: list[str] | list[Pair], max_length: int | None, first: int = 0, *, fast: bool = False
    ) -> list[Encoding]:
        """The backend's results; `fast` ones have ids, and not the places of tokens in the text."""
        backend = self._parts.backend
        with self._lock:
            if max_length is None:
                backend.no_truncation()
            else:
                backend.enable_truncation(max_length, direction=self._parts.truncation_side)
            try:
                return backend.encode_batch_fast(inputs) if fast else backend.encode_batch(inputs)
            except TypeError as error:
                raise InputError(f"a text is not valid Unicode: {_first_broken(inputs, first)}") from error
            except Exception as error:  # `tokenizers` raises no narrower class
                raise CheckpointError(
                    f"the tokenizer in {self._parts.source} cannot encode the texts: {error}"
                ) from error

    def _checked_length(self, max_length: int | None, are_pairs: bool) -> int | None:
        if max_length is None:
            return None
        num_special = self._parts.backend.num_special_tokens_to_add(are_pairs)
        if isinstance(max_length, bool) or not isinstance(max_length, int | np.integer) or max_length <= num_special:
            raise InputError(
                f"max_length must be an integer above {num_special}, the number of special tokens, found {max_length!r}"
            )
        return int(max_length)


def _checked_texts(texts: object) -> tuple[list[str] | list[Pair], bool]:
    """The texts as a list that the backend takes, and whether they are pairs."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise InputError(
            f"encode takes a list of texts, or of pairs of texts, found {_described(texts)}; for one, [text]"
        )
    items = list(texts)
    if not items:
        raise InputError("encode takes at least one text, found an empty list")
    are_pairs = _is_pair(items[0])
    checked: list[Pair] = []
    for index, item in enumerate(items):
        if not isinstance(item, str) and not _is_pair(item):
            raise InputError(f"texts[{index}] must be a text or a pair of texts, found {_described(item)}")
        if _is_pair(item) != are_pairs:
            raise InputError(f"texts[0] and texts[{index}]: one is a text, one a pair; give only texts, or only pairs")
        if are_pairs:
            checked.append((item[0], item[1]))
    return (checked if are_pairs else items), are_pairs


def _is_pair(item: object) -> bool:
    return isinstance(item, tuple | list) and len(item) == 2 and all(isinstance(text, str) for text in item)


def _first_broken(inputs: list[str] | list[Pair], first: int) -> str:
    """Where half of a surrogate pair stands alone, which no encoding can write; `first` is the number of the first."""
    for index, item in enumerate(inputs, first):
        for text in (item,) if isinstance(item, str) else item:
            for position, character in enumerate(text):
                if "\ud800" <= character <= "\udfff":
                    return f"texts[{index}] has {character!r}, half of a surrogate pair, at character {position}"
    return "it cannot be encoded as UTF-8"


def _described(given: object) -> str:
    text = repr(given)
    return f"{type(given).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
