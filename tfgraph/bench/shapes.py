"""The inputs of an encoder's benchmark: sizes as `8x128`, and random tokens with and without padding."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from tfgraph.errors import InputError
from tfgraph.ir.constant import Array

OUTPUT: Final = "last_hidden_state"
INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
PADDINGS: Final = ("none", "right", "left", "holes")
"""Where a row of a padded batch has padding; the rows have these in turn."""

_TEXT: Final = re.compile(r"(\d{1,6})[x×](\d{1,6})")


@dataclass(frozen=True)
class BatchShape:
    """How many sequences of how many tokens."""

    batch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.batch}x{self.seq}"

    @classmethod
    def parse(cls, text: str) -> BatchShape:
        """Read `8x128`: 8 sequences of 128 tokens.

        Raises:
            InputError: the text is not of that form, or a size is 0.
        """
        match = _TEXT.fullmatch(text.strip().lower())
        batch, seq = (int(match.group(1)), int(match.group(2))) if match else (0, 0)
        if batch < 1 or seq < 1:
            raise InputError(f"{text!r} is no shape: expected BATCHxLENGTH, such as 8x128 for 8 texts of 128 tokens")
        return cls(batch, seq)


def padded_inputs(shape: BatchShape, vocab_size: int, seed: int = 0) -> dict[str, Array]:
    """Random tokens of two types with every kind of padding, row by row those of `PADDINGS` in turn.

    Returns:
        int64 arrays [batch, seq] by input name; each row has a token at least.
    """
    generator = np.random.default_rng(seed)
    batch, seq = shape.batch, shape.seq
    mask = np.ones((batch, seq), np.int64)
    padding = seq // 3
    for row in range(batch):
        match PADDINGS[row % len(PADDINGS)]:
            case "right":
                mask[row, seq - padding :] = 0
            case "left":
                mask[row, :padding] = 0
            case "holes":
                mask[row, 1::3] = 0
    return {
        "input_ids": generator.integers(0, vocab_size, (batch, seq)),
        "attention_mask": mask,
        "token_type_ids": np.sort(generator.integers(0, 2, (batch, seq)), axis=1),
    }


def full_inputs(shape: BatchShape, vocab_size: int, seed: int = 0) -> dict[str, Array]:
    """Random tokens without padding: int64 arrays [batch, seq] by input name."""
    inputs = padded_inputs(shape, vocab_size, seed)
    return {**inputs, "attention_mask": np.ones((shape.batch, shape.seq), np.int64)}
