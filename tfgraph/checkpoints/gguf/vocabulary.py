"""The vocabulary in a GGUF file's metadata: its tokens, what kind each is, and which have a role."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

from tfgraph.checkpoints.gguf.settings import Settings
from tfgraph.errors import CheckpointError

# role, as `tokenizer_config.json` names it -> the key of its id; "seperator" is how GGUF spells it
_ROLES = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "sep_token": "seperator_token_id",
    "pad_token": "padding_token_id",
    "cls_token": "cls_token_id",
    "mask_token": "mask_token_id",
}


class TokenKind(IntEnum):
    """`tokenizer.ggml.token_type`, as in llama.cpp's `llama_token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Vocabulary(NamedTuple):
    """The tokens of a file.

    Attributes:
        tokens: their texts, in the order of their ids.
        kinds: the `TokenKind` of each, as a plain number.
        roles: `bos_token` and the like, to the id of the token.
        path: the file, for errors.
    """

    tokens: list[str]
    kinds: list[int]
    roles: dict[str, int]
    path: Path

    @property
    def ids(self) -> dict[str, int]:
        """Text to id; of two tokens with the same text the later, as in llama.cpp."""
        return {token: number for number, token in enumerate(self.tokens)}

    def token(self, role: str) -> str | None:
        """The text of the token with a role."""
        return self.tokens[self.roles[role]] if role in self.roles else None

    def of_kinds(self, *kinds: TokenKind) -> list[str]:
        """The texts of the tokens of some kinds, in the order of their ids."""
        return [token for token, kind in zip(self.tokens, self.kinds, strict=True) if kind in kinds and token]


def read_vocabulary(metadata: Mapping[str, Any], path: Path) -> Vocabulary:
    """The vocabulary that the metadata holds.

    Raises:
        CheckpointError: there are no tokens, or the lists and ids do not fit together.
    """
    settings = Settings(metadata, path)
    tokens = settings.texts("tokenizer.ggml.tokens")
    if not tokens:
        raise CheckpointError(f"{path} names a tokenizer and has no tokens under 'tokenizer.ggml.tokens'")
    roles: dict[str, int] = {}
    for role, key in _ROLES.items():
        number = settings.integer(f"tokenizer.ggml.{key}")
        if number is None:
            continue
        if not 0 <= number < len(tokens):
            raise CheckpointError(
                f"{path}: the metadata key 'tokenizer.ggml.{key}' is {number}, and there are {len(tokens)} tokens"
            )
        roles[role] = number
    kinds = settings.numbers("tokenizer.ggml.token_type")
    if kinds is None:
        special = set(roles.values())
        kinds = [int(TokenKind.CONTROL if number in special else TokenKind.NORMAL) for number in range(len(tokens))]
    if len(kinds) != len(tokens):
        raise CheckpointError(f"{path} has {len(tokens)} tokens and the kinds of {len(kinds)}: the file is damaged")
    return Vocabulary(tokens, [int(kind) for kind in kinds], roles, path)
