"""Tokenizers of GGUF files for tests: texts to learn from and to try, and the way through a file and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.gguf_files import write_small
from tfgraph.checkpoints.gguf import open_gguf_checkpoint
from tfgraph.tokenizer import Tokenizer

CORPUS = [
    "The quick brown fox jumps over 13 lazy dogs; they don't mind, it's 2024 and we'll see.",
    "def forward(self, x):\n    return self.weight * x + 1.5e-3\n\n\nclass Model:\n\tpass  # Größe, naïve café",
    "I'M SURE you've SEEN 12345 camelCaseWords, HTTPServer  and   spaces \r\n\r\n über 价格是100元。",
    "  leading and trailing   ",
]
"""What vocabularies are learned from."""

TEXTS = [*CORPUS, "unseen ẞ characters 🙂\u0301 e\u0301 and <|im_end|> 9876543210", "\n", " ", "a", "\t\n x"]
"""What is encoded: the corpus, and characters that are not in it."""


def read(folder: Path, add: Callable[[Any], object], **options: Any) -> Tokenizer:
    """The tokenizer of a small file to which `add` adds one."""
    parts = open_gguf_checkpoint(write_small(folder / "model.gguf", add, **options)).tokenizer
    assert parts is not None
    return Tokenizer(parts)


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of one text."""
    found: list[int] = tokenizer.encode([text])["input_ids"][0].tolist()
    return found
