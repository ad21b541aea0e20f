"""What a node carries besides operands: attributes, and the line of the user's model that it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Attribute: TypeAlias = "int | float | str | bytes | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | Opaque"


@dataclass(frozen=True)
class Opaque:
    """An attribute that passes through untouched: a subgraph, a sparse tensor, whatever only the backend reads.

    `payload` is the backend's own object; `description` is what the text form shows.
    """

    description: str
    payload: Any


@dataclass(frozen=True, slots=True)
class Source:
    """The line of the user's model that a node comes from."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"
