"""How near results are to those in float32: cosines of vectors; and of a decoder's logits, perplexity and top token."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tfgraph.ir.constant import Array


@dataclass(frozen=True)
class Cosines:
    """The cosines between vectors and those of the reference; not a number counts as -1."""

    worst: float
    mean: float

    @classmethod
    def of(cls, vectors: Array, reference: Array) -> Cosines:
        """Of vectors [..., H] and as many of the reference."""
        if vectors.shape != reference.shape:
            return cls(-1.0, -1.0)
        left, right = (each.reshape(-1, each.shape[-1]).astype(np.float64) for each in (vectors, reference))
        lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            cosines = np.nan_to_num((left * right).sum(axis=1) / lengths, nan=-1.0, posinf=-1.0, neginf=-1.0)
        return cls(float(cosines.min()), float(cosines.mean()))

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {"worst_cosine": round(self.worst, 7), "mean_cosine": round(self.mean, 7)}


@dataclass(frozen=True)
class TextScores:
    """How well logits say what comes next in a text.

    Attributes:
        perplexity: e to the mean of the negative logarithms of what was thought of each next token.
        top1: the part of places where the likeliest token is that of the reference; None for the reference itself.
    """

    perplexity: float
    top1: float | None

    @classmethod
    def of(cls, logits: Array, ids: Array, reference: Array | None = None) -> TextScores:
        """Of logits [N, S, V] after each of the tokens [N, S], and as many of the reference."""
        values = logits[:, :-1].astype(np.float64)
        values -= values.max(axis=-1, keepdims=True)
        norms = np.log(np.exp(values).sum(axis=-1))  # [N, S - 1]
        chosen = np.take_along_axis(values, ids[:, 1:, None], axis=-1)[..., 0]
        same = None if reference is None else float((logits.argmax(-1) == reference.argmax(-1)).mean())
        return cls(float(np.exp((norms - chosen).mean())), same)

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)
